"""Causal attention for training on a CPU with its products in bfloat16, by blocks of rows, forward and backward.

PyTorch's fused CPU kernel is slower in bfloat16 than in float32; batched products are 3 to 4 times as fast. So these are the
plain formulas, on the keys that each block of rows sees, with the weights kept for the backward pass of short sequences.

    forward and backward of 8192 tokens, no bias, one core of machine A in LOG.md, cpu_float32's or PyTorch's time in brackets:
    64 tokens, 4 heads of 16   5.5 ms (9.6)      128 tokens, 4 heads of 32   12 ms (27)     512 tokens, 8 heads of 32   29 ms (60)

Scores and weights are rounded to bfloat16, as in PyTorch's autocast; softmax, and sums over keys or sequences, are float32.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rpecli.attention.cpu_float32 import blocks
from rpecli.encoding import inside_functorch

SHORTEST = 64  # tokens from which it is faster: batches of many short shapes, each new to oneDNN, are not


@dataclass(frozen=True)
class Tiles:
    """Rows of a block, the tokens up to which weights are kept and not computed again, and the dtype of the products."""

    rows: int = 64
    kept_tokens: int = 2048  # 2 bytes for each pair of each head
    dtype: torch.dtype = torch.bfloat16


def helps(q_BxHxTxD: Tensor, k_BxHxSxD: Tensor) -> bool:
    """Whether `attend` applies and is faster: training on a CPU, long enough."""
    long_on_cpu = q_BxHxTxD.device.type == "cpu" and k_BxHxSxD.shape[2] >= SHORTEST
    return long_on_cpu and torch.is_grad_enabled() and not inside_functorch()


def attend(
    q_BxHxTxD: Tensor, k_BxHxSxD: Tensor, v_BxHxSxD: Tensor, bias: Tensor | None, scale: float, tiles: Tiles = Tiles()
) -> Tensor:
    """`[B, H, T, D]`, in bfloat16, of the last T of S tokens, in any dtype.

    The bias (`[1 or B, 1 or H, T, S]`) is minus infinity after a row's own place.
    """
    out: Tensor = _Blocks.apply(q_BxHxTxD, k_BxHxSxD, v_BxHxSxD, bias, scale, tiles)
    return out


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, tiles: Tiles) -> Tensor:
        (B, H, T, _), S, parts = q.shape, k.shape[2], blocks(q.shape[2], k.shape[2], tiles.rows)
        q_blocks = [_flat(q[:, :, rows], tiles.dtype) for rows, _ in parts]
        k_NxSxD, v_NxSxD = _flat(k, tiles.dtype), _flat(v, tiles.dtype)
        rounded_bias = None if bias is None else bias.to(tiles.dtype)
        out_BxTxHxD, weights = v_NxSxD.new_empty(B, T, H, v.shape[-1]), []
        for q_NxRxD, (rows, keys) in zip(q_blocks, parts, strict=True):
            p_NxRxS = _weights(q_NxRxD, k_NxSxD[:, keys], _rows_of(rounded_bias, rows, keys), H, scale)
            out_BxTxHxD[:, rows] = torch.bmm(p_NxRxS, v_NxSxD[:, keys]).unflatten(0, (B, H)).transpose(1, 2)
            weights.append(p_NxRxS)
        ctx.save_for_backward(k_NxSxD, v_NxSxD, rounded_bias, *q_blocks, *(weights if tiles.kept_tokens >= S else []))
        ctx.scale, ctx.parts, ctx.shape, ctx.bias_shape = scale, parts, (B, H, T), None if bias is None else bias.shape
        return out_BxTxHxD.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """dv = p^T do, ds = p (do v^T - rowsum(p do v^T)), dq = ds k, dk = ds^T q, dbias = ds summed over what shares it."""
        k_NxSxD, v_NxSxD, bias, *tensors = ctx.saved_tensors
        (B, H, T), scale, n_blocks = ctx.shape, ctx.scale, len(ctx.parts)
        q_blocks, weights = tensors[:n_blocks], tensors[n_blocks:]
        dq_BxTxHxD = k_NxSxD.new_empty(B, T, H, k_NxSxD.shape[-1])
        dbias = k_NxSxD.new_zeros(ctx.bias_shape, dtype=torch.float32) if ctx.needs_input_grad[3] else None
        dk_NxSxD, dv_NxSxD = torch.empty_like(k_NxSxD), torch.empty_like(v_NxSxD)
        for n, (rows, keys) in reversed(list(enumerate(ctx.parts))):
            beta = 0 if n == n_blocks - 1 else 1  # the last block sees every key: it writes what the others add to
            q_NxRxD, do_NxRxD, k_block = q_blocks[n], _flat(grad_out[:, :, rows], k_NxSxD.dtype), k_NxSxD[:, keys]
            p_NxRxS = weights[n] if weights else _weights(q_NxRxD, k_block, _rows_of(bias, rows, keys), H, scale)
            dp_NxRxS = torch.bmm(do_NxRxD, v_NxSxD[:, keys].transpose(1, 2))
            # private, but 4 times as fast as p * (dp - rowsum(p * dp)): 0.7 ms, not 2.8 ms, for 512 blocks of 64 x 128
            ds_NxRxS = torch._softmax_backward_data(dp_NxRxS, p_NxRxS, -1, p_NxRxS.dtype)
            dq_BxTxHxD[:, rows] = _bmm(ds_NxRxS, k_block, scale).unflatten(0, (B, H)).transpose(1, 2)
            dk_NxSxD[:, keys].baddbmm_(ds_NxRxS.transpose(1, 2), q_NxRxD, beta=beta, alpha=scale)
            dv_NxSxD[:, keys].baddbmm_(p_NxRxS.transpose(1, 2), do_NxRxD, beta=beta)
            if dbias is not None:
                ds_BxHxRxS, p_BxHxRxS = (x.unflatten(0, (B, H)) for x in (ds_NxRxS, p_NxRxS))
                dbias[:, :, rows, keys] = _bias_gradient(ds_BxHxRxS, p_BxHxRxS, ctx.bias_shape)
        dk, dv = (x.unflatten(0, (B, H)) for x in (dk_NxSxD, dv_NxSxD))
        return dq_BxTxHxD.transpose(1, 2), dk, dv, dbias, None, None


def _weights(q_NxRxD: Tensor, k_NxSxD: Tensor, bias: Tensor | None, H: int, scale: float) -> Tensor:
    """Softmax `[N, R, S]` of a block's queries with the keys it sees."""
    R, S = q_NxRxD.shape[1], k_NxSxD.shape[1]
    if bias is None:
        mask_RxS = q_NxRxD.new_full((R, S), -torch.inf).triu(S - R + 1)
        return torch.baddbmm(mask_RxS, q_NxRxD, k_NxSxD.transpose(1, 2), alpha=scale).softmax(-1)
    s_NxRxS = _bmm(q_NxRxD, k_NxSxD.transpose(1, 2), scale)
    s_NxRxS.unflatten(0, (-1, H)).add_(bias)
    return s_NxRxS.softmax(-1)


def _rows_of(bias: Tensor | None, rows: slice, keys: slice) -> Tensor | None:
    return None if bias is None else bias[:, :, rows, keys]


def _flat(x_BxHxTxD: Tensor, dtype: torch.dtype) -> Tensor:
    """`[B x H, T, D]`, copied and rounded in one pass."""
    return torch.empty(x_BxHxTxD.shape, dtype=dtype).copy_(x_BxHxTxD).flatten(0, 1)


def _bmm(a: Tensor, b: Tensor, factor: float) -> Tensor:
    """factor a b, batched, as one operation."""
    return torch.baddbmm(a.new_empty(1), a, b, beta=0, alpha=factor)


def _bias_gradient(ds_BxHxRxS: Tensor, p_BxHxRxS: Tensor, bias_shape: torch.Size) -> Tensor:
    """Gradients of scores summed over the sequences and the heads that share a bias, each row less its sum, which is rounding.

    A softmax does not see what all keys have in common, so a row sums to 0; rounded to bfloat16, to enough that the gradients of
    a network over distances are off by 4 % at 512 tokens, and by 9 % at 1024. The weights say where to take it away.
    """
    ds, p = (_summed_as(x, bias_shape) for x in (ds_BxHxRxS, p_BxHxRxS))
    return torch.addcmul(ds, p, ds.sum(-1, keepdim=True) / p.sum(-1, keepdim=True, dtype=torch.float32), value=-1)


def _summed_as(ds_BxHxRxS: Tensor, bias_shape: torch.Size) -> Tensor:
    """Gradients of scores summed over the sequences and the heads that share a bias."""
    dims = [dim for dim in (0, 1) if bias_shape[dim] == 1]
    return ds_BxHxRxS.sum(dims, keepdim=True, dtype=torch.float32) if dims else ds_BxHxRxS
