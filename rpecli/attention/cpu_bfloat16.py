"""Causal attention for training on a CPU with its products in bfloat16, by blocks of rows, forward and backward.

PyTorch's fused CPU kernel is slower in bfloat16 than in float32; batched products are 3 to 4 times as fast. So here are the plain
formulas, on the keys that each block of rows sees, with weights kept for the backward pass up to KEPT tokens.

    forward and backward of 8192 tokens, no bias, one core of machine A in LOG.md, beside the float32 kernel that would serve:
    64 tokens, 4 heads of 16   5.5 ms  9.6      128 tokens, 4 heads of 32   12 ms  27      512 tokens, 8 heads of 32   29 ms  60

Scores and weights are rounded to bfloat16, as PyTorch's autocast does; softmax, and sums over keys or sequences, are float32.
"""

from typing import Any

import torch
from torch import Tensor

from rpecli.attention.cpu_float32 import blocks
from rpecli.encoding import in_transform

DTYPE = torch.bfloat16
SHORTEST = 64  # tokens from which it is quicker: batches of many short shapes, each new to oneDNN, are not
KEPT = 2048  # tokens up to which weights are kept (2 bytes for each pair of each head), not computed again


def helps(q_BxHxTxD: Tensor, k_BxHxSxD: Tensor) -> bool:
    """Whether `attend` can serve these and is quicker: training on a CPU, long enough."""
    here = q_BxHxTxD.device.type == "cpu" and k_BxHxSxD.shape[2] >= SHORTEST
    return here and torch.is_grad_enabled() and not in_transform()


def attend(q_BxHxTxD: Tensor, k_BxHxSxD: Tensor, v_BxHxSxD: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """`[B, H, T, D]`, in bfloat16, of the last T of S tokens, in any dtype.

    The bias (`[1 or B, 1 or H, T, S]`) is minus infinity behind a row's own place.
    """
    out: Tensor = _Blocks.apply(q_BxHxTxD, k_BxHxSxD, v_BxHxSxD, bias, scale)
    return out


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        (B, H, T, _), S = q.shape, k.shape[2]
        q_blocks, k_NxSxD, v_NxSxD = [_whole(q[:, :, rows]) for rows, _ in blocks(T, S)], _whole(k), _whole(v)
        rounded = None if bias is None else bias.to(DTYPE)
        out_BxTxHxD, kept = v_NxSxD.new_empty(B, T, H, v.shape[-1]), []
        for q_NxRxD, (rows, seen) in zip(q_blocks, blocks(T, S), strict=True):
            p_NxRxS = _weights(q_NxRxD, k_NxSxD[:, seen], rounded, rows, H, scale)
            out_BxTxHxD[:, rows] = torch.bmm(p_NxRxS, v_NxSxD[:, seen]).unflatten(0, (B, H)).transpose(1, 2)
            kept.append(p_NxRxS)
        ctx.save_for_backward(k_NxSxD, v_NxSxD, rounded, *q_blocks, *(kept if S <= KEPT else []))
        ctx.scale, ctx.size, ctx.bias_shape = scale, (B, H, T), None if bias is None else bias.shape
        return out_BxTxHxD.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        """dv = p^T do, ds = p (do v^T - rowsum(p do v^T)), dq = ds k, dk = ds^T q, dbias = ds summed over what shares it."""
        k_NxSxD, v_NxSxD, rounded, *more = ctx.saved_tensors
        (B, H, T), S, scale = ctx.size, k_NxSxD.shape[1], ctx.scale
        cut = blocks(T, S)
        q_blocks, kept = more[: len(cut)], more[len(cut) :]
        dq_BxTxHxD = k_NxSxD.new_empty(B, T, H, k_NxSxD.shape[-1])
        dbias = k_NxSxD.new_zeros(ctx.bias_shape, dtype=torch.float32) if ctx.needs_input_grad[3] else None
        dk_NxSxD, dv_NxSxD = torch.empty_like(k_NxSxD), torch.empty_like(v_NxSxD)
        for n, (rows, seen) in reversed(list(enumerate(cut))):
            more_of = 0 if n == len(cut) - 1 else 1  # the last block sees every key, and so sets what the others add to
            q_NxRxD, do_NxRxD, there = q_blocks[n], _whole(grad_out[:, :, rows]), k_NxSxD[:, seen]
            p_NxRxS = kept[n] if kept else _weights(q_NxRxD, there, rounded, rows, H, scale)
            dp_NxRxS = torch.bmm(do_NxRxD, v_NxSxD[:, seen].transpose(1, 2))
            ds_NxRxS = torch._softmax_backward_data(dp_NxRxS, p_NxRxS, -1, p_NxRxS.dtype)
            dq_BxTxHxD[:, rows] = _product(ds_NxRxS, there, scale).unflatten(0, (B, H)).transpose(1, 2)
            dk_NxSxD[:, seen].baddbmm_(ds_NxRxS.transpose(1, 2), q_NxRxD, beta=more_of, alpha=scale)
            dv_NxSxD[:, seen].baddbmm_(p_NxRxS.transpose(1, 2), do_NxRxD, beta=more_of)
            if dbias is not None:
                dbias[:, :, rows, seen] = _shared(ds_NxRxS.unflatten(0, (B, H)), ctx.bias_shape)
        dk, dv = (each.unflatten(0, (B, H)) for each in (dk_NxSxD, dv_NxSxD))
        return dq_BxTxHxD.transpose(1, 2), dk, dv, dbias, None


def _weights(q_NxRxD: Tensor, k_NxSxD: Tensor, bias: Tensor | None, rows: slice, H: int, scale: float) -> Tensor:
    """Softmax `[N, R, S]` of a block's queries with the keys it sees."""
    R, S = q_NxRxD.shape[1], k_NxSxD.shape[1]
    if bias is None:
        mask_RxS = q_NxRxD.new_full((R, S), -torch.inf).triu(S - R + 1)
        return torch.baddbmm(mask_RxS, q_NxRxD, k_NxSxD.transpose(1, 2), alpha=scale).softmax(-1)
    s_NxRxS = _product(q_NxRxD, k_NxSxD.transpose(1, 2), scale)
    s_NxRxS.unflatten(0, (-1, H)).add_(bias[:, :, rows, :S])
    return s_NxRxS.softmax(-1)


def _whole(x_BxHxTxD: Tensor) -> Tensor:
    """`[B x H, T, D]` in bfloat16, copied and rounded in one go."""
    return torch.empty(x_BxHxTxD.shape, dtype=DTYPE).copy_(x_BxHxTxD).flatten(0, 1)


def _product(a: Tensor, b: Tensor, factor: float) -> Tensor:
    """factor a b, batched, as one operation."""
    return torch.baddbmm(a.new_empty(1), a, b, beta=0, alpha=factor)


def _shared(ds_BxHxRxS: Tensor, bias_shape: torch.Size) -> Tensor:
    """Gradients of scores summed over the sequences and the heads that share a bias."""
    dims = [dim for dim in (0, 1) if bias_shape[dim] == 1]
    return ds_BxHxRxS.sum(dims, keepdim=True, dtype=torch.float32) if dims else ds_BxHxRxS
