"""Attention for any encoding: picks the kernel from the hooks the encoding has, and owns the scale and the normalizer.

    score, padding, other   query blocks, eager                    memory rows x S
    no bias                 plain fused kernel                     memory linear
    bias, short or trained  dense bias [B or 1, H, T, S]           memory T x S
    bias by distance        query blocks on a view of a vector     memory linear      (evaluation on running positions)
    score by distance       query blocks on a view of products     memory rows x S    (evaluation on running positions, causal)
    any other bias          query blocks, rows of the bias         memory rows x S    (evaluation)

Forward time over that of plain causal attention (8 heads of 32, 2048 to 8192 tokens, a core of machine A in LOG.md): bias by
distance 1.0-1.15, wider queries and keys (FoX) 1.2, score by distance 1.2 (near ones) to 1.7 (all), FIRE's rows 2.4-2.6.
Training on a CPU runs no bias and dense bias on kernels of our own: rpecli/fused.py, and rpecli/attention_bf16.py for bfloat16.

Rows are the last T of S keys. Where attention is causal a row sees the keys up to its own place, whatever their positions are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.attention import cpu_bfloat16 as attention_bf16
from rpecli.attention import cpu_float32 as fused
from rpecli.attention.blocks import _bias_blocks, _curve_blocks, _distance_blocks, _eager_blocks, _falling, _Toeplitz
from rpecli.attention.reference import NORMALIZERS, _without_padding, causal_mask
from rpecli.encoding import DistanceBias, DistanceCurve, Encoding, overrides

DENSE = 256  # keys up to which a dense bias, built once for all layers, costs no more than blocks (measured: LOG.md)


def kernel(encoding: Encoding, normalizer: str = "softmax", by_curve: bool = True) -> str:
    """Which of the ways above serves an encoding: `eager`, `curve` (unless ruled out), `plain`, `distance` or `rows`."""
    if normalizer != "softmax":
        return "eager"
    if by_curve and isinstance(encoding, DistanceCurve) and type(encoding).score in (DistanceCurve.score, Encoding.score):
        return "curve"
    if overrides(encoding, "score"):
        return "eager"
    if not overrides(encoding, "bias"):
        return "plain"
    return "distance" if isinstance(encoding, DistanceBias) else "rows"


def attend(
    encoding: Encoding,
    q_BxHxTxD: Tensor,
    k_BxHxSxD: Tensor,
    v_BxHxSxD: Tensor,
    positions_BxS: Tensor,
    qf: Tensor | None = None,
    kf: Tensor | None = None,
    hidden_BxS: Tensor | None = None,
    running: bool = False,
    normalizer: str = "softmax",
    memo: dict[int, Tensor] | None = None,
) -> Tensor:
    """normalizer(scores) v, `[B, H, T, D]`, in float32, or in the values' dtype where a kernel works in it.

    `positions_BxS` are the keys' positions (`[B or 1, S]`), the queries' are the last T. `hidden_BxS` marks padding keys.
    `running` promises that positions are consecutive, which lets a bias by distance be one vector. `memo` is one dictionary for
    all layers of one pass: where layers share an encoding, and positions run, the dense bias is built once.
    """
    T, S = q_BxHxTxD.shape[2], k_BxHxSxD.shape[2]
    q_pos, k_pos = positions_BxS[:, S - T :], positions_BxS
    qf, kf = _without_padding(qf, hidden_BxS), _without_padding(kf, hidden_BxS)
    trains = torch.is_grad_enabled()
    by_curve = running and T > 1 and not trains and encoding.shape.causal and hidden_BxS is None
    way = kernel(encoding, normalizer, by_curve)
    if way == "curve":
        assert isinstance(encoding, DistanceCurve)
        return _curve_blocks(encoding, q_BxHxTxD, k_BxHxSxD, v_BxHxSxD, qf)
    if v_BxHxSxD.dtype == torch.bfloat16:
        gains = way != "eager" and hidden_BxS is None and _gains_by_bfloat16(encoding, q_BxHxTxD, k_BxHxSxD)
        if not gains:
            v_BxHxSxD = v_BxHxSxD.float()
        if not gains or overrides(encoding, "rotate"):
            q_BxHxTxD, k_BxHxSxD = q_BxHxTxD.float(), k_BxHxSxD.float()
    if way == "eager" or hidden_BxS is not None:
        normal = NORMALIZERS[normalizer]
        return _eager_blocks(encoding, q_BxHxTxD, k_BxHxSxD, v_BxHxSxD, q_pos, k_pos, qf, kf, hidden_BxS, normal)
    q, k = encoding.rotate(q_BxHxTxD, k_BxHxSxD, q_pos, k_pos, qf, kf)
    v, more = v_BxHxSxD, q.shape[-1] - v_BxHxSxD.shape[-1]
    if more:
        v = F.pad(v, (0, more))  # widths that differ fall off the fused kernel, 4-8x slower
    if way == "plain":
        out = _plain(encoding, q, k, v)
    elif trains or S <= DENSE:
        out = _dense(encoding, q, k, v, _remembered(encoding, q_pos, k_pos, running, memo))
    elif running and isinstance(encoding, DistanceBias):
        out = _distance_blocks(encoding, q, k, v)
    else:
        out = _bias_blocks(encoding, q, k, v, q_pos, k_pos)
    return out[..., : v_BxHxSxD.shape[-1]] if more else out


def _plain(encoding: Encoding, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    T, S, causal = q.shape[2], k.shape[2], encoding.shape.causal
    if (ours := _ours(encoding, q, k, v, None)) is not None:
        return ours
    q, k = q.to(v.dtype), k.to(v.dtype)
    if T == S or not causal:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=encoding.shape.scale)
    mask = ~causal_mask(T, S, q.device) if T > 1 else None  # the flag would line up the first rows, not the last
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=encoding.shape.scale)


def _dense(encoding: Encoding, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    if (ours := _ours(encoding, q, k, v, bias)) is not None:
        return ours
    q, k, bias = q.to(v.dtype), k.to(v.dtype), bias.to(v.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=encoding.shape.scale)


def _gains_by_bfloat16(encoding: Encoding, q: Tensor, k: Tensor) -> bool:
    """Whether training has a kernel that is quicker on bfloat16: ours on a CPU, PyTorch's elsewhere."""
    return encoding.shape.causal and attention_bf16.helps(q, k) if q.device.type == "cpu" else torch.is_grad_enabled()


def _ours(encoding: Encoding, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor | None:
    """By a kernel of our own, where one serves and helps."""
    if v.dtype == torch.bfloat16 and v.device.type == "cpu":  # kept so only where the kernel helps
        return attention_bf16.attend(q, k, v, bias, encoding.shape.scale)
    if encoding.shape.causal and fused.helps(q, k, bias):
        return fused.attend(q, k, v, bias, encoding.shape.scale)
    return None


def _remembered(encoding: Encoding, q_pos: Tensor, k_pos: Tensor, running: bool, memo: dict[int, Tensor] | None) -> Tensor:
    """The dense bias, its last rows where an earlier layer has built more of them."""
    T = q_pos.shape[1]
    if memo is None or not running:
        return _dense_bias(encoding, q_pos, k_pos, running)
    if id(encoding) not in memo or memo[id(encoding)].shape[2] < T:
        memo[id(encoding)] = _dense_bias(encoding, q_pos, k_pos, running)
    bias = memo[id(encoding)]
    return bias[:, :, bias.shape[2] - T :]


def _dense_bias(encoding: Encoding, q_pos: Tensor, k_pos: Tensor, running: bool) -> Tensor:
    T, S, causal = q_pos.shape[1], k_pos.shape[1], encoding.shape.causal
    if running and isinstance(encoding, DistanceBias):
        toeplitz: Tensor = _Toeplitz.apply(_falling(encoding, S, -T, q_pos.device), T)
        return toeplitz[None]
    bias = encoding.bias(q_pos, k_pos)
    return bias.masked_fill(causal_mask(T, S, q_pos.device), -torch.inf) if causal else bias
