"""What is wrong with the arguments of `rpe.attention`, told before a kernel fails on them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rpecli.encoding import Encoding, overrides


def check(encoding: Any, tensors: Mapping[str, Any]) -> None:
    """Raises ValueError for what is no encoding, no tensor, or of another shape; of `tensors` q, k and v are needed."""
    if not isinstance(encoding, Encoding):
        raise ValueError(f"encoding {encoding!r:.60} is none: write rpe.encoding('rope', d_model=64, n_head=4)")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) and (tensor is not None or name in "qkv"):
            raise ValueError(f"{name} is no tensor but {type(tensor).__name__}: write a torch.Tensor")
    q, k, v, x, positions, mask = (tensors[name] for name in ("q", "k", "v", "x", "positions", "padding_mask"))
    _check_heads(encoding, q, k, v)
    B, S, M = len(k), k.shape[2], encoding.shape.d_model
    if overrides(encoding, "features"):
        if x is None:
            raise ValueError(
                "this encoding computes features of each token: give x, the layer's normalized input [B, S, d_model]"
            )
        if x.shape != (B, S, M):
            raise ValueError(f"x {list(x.shape)}: write the layer's normalized input [B, S, d_model] = {[B, S, M]}")
    for name, tensor in (("positions", positions), ("padding_mask", mask)):
        if tensor is not None and tensor.shape not in ((B, S), (1, S)):
            raise ValueError(f"{name} {list(tensor.shape)}: write [B, S] = {[B, S]}, one for each of the S keys")
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"padding_mask has {mask.dtype}: write torch.bool, True for tokens that nobody attends to")


def _check_heads(encoding: Encoding, q: Tensor, k: Tensor, v: Tensor) -> None:
    H, D = encoding.shape.n_head, encoding.shape.d_head
    fit = q.dim() == k.dim() == 4 and q.shape[:2] == k.shape[:2] and v.shape == k.shape and q.shape[3] == k.shape[3]
    if not fit or q.shape[2] > k.shape[2] or (k.shape[1], k.shape[3]) != (H, D):
        shapes = f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}"
        raise ValueError(f"{shapes}: write [B, H, T, D], [B, H, S, D] with H = {H} heads of D = {D}")
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if not tensor.is_floating_point():
            raise ValueError(f"{name} has {tensor.dtype}: write torch.float32, bfloat16, float16 or float64")
