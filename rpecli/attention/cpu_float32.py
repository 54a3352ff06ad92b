"""Causal attention for training on a CPU, `softmax(q k^T scale + bias) v` by blocks of rows, forward and backward.

PyTorch's fused CPU kernel works on the half of the scores that the causal mask hides: in the backward pass always, in the forward
pass where a bias comes with the mask. A bias that wants a gradient turns the kernel off altogether. Here each block of rows meets
only the keys it sees, and the gradient of a bias comes from four products a block.

    8 sequences of 512, 8 heads of 32, forward and backward, one core of machine A in LOG.md: no bias 59 ms against 89,
    fixed 62 against 93, learned 83 against 232. Below SHORTEST tokens a single call is as quick or quicker.
"""

from typing import Any

import torch
from torch import Tensor

from rpecli.encoding import in_transform

SHORTEST = 192  # tokens from which blocks are quicker than one call
SHORTEST_LEARNED = 128  # the same where the bias wants a gradient
ROWS = 64  # rows of a block
CELLS = 1 << 18  # score cells of a block and the heads taken with it, where a bias wants a gradient: what the caches hold

_NAME = "_scaled_dot_product_flash_attention_for_cpu"
_flash: Any = getattr(torch.ops.aten, _NAME, None)  # private, so perhaps not in every version
_flash_backward: Any = getattr(torch.ops.aten, _NAME + "_backward", None)


def helps(q_BxHxTxD: Tensor, k_BxHxSxD: Tensor, bias: Tensor | None) -> bool:
    """Whether `attend` can serve these and is quicker: training on a CPU, long enough, one bias for all sequences."""
    q, k = q_BxHxTxD, k_BxHxSxD
    here = q.device.type == "cpu" and q.dtype == torch.float32 and _flash_backward is not None
    learned = bias is not None and bias.requires_grad
    long = k.shape[2] >= (SHORTEST_LEARNED if learned else SHORTEST)
    return here and long and torch.is_grad_enabled() and (bias is None or len(bias) == 1) and not in_transform()


def attend(q_BxHxTxD: Tensor, k_BxHxSxD: Tensor, v_BxHxSxD: Tensor, bias_1xHxTxS: Tensor | None, scale: float) -> Tensor:
    """`[B, H, T, D]` of the last T of S tokens. The bias (`[1, H or 1, T, S]`) is minus infinity behind a row's own place."""
    out: Tensor = _Blocks.apply(q_BxHxTxD, k_BxHxSxD, v_BxHxSxD, bias_1xHxTxS, scale)
    return out


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        out_BxTxHxD, sums_BxHxT = torch.empty_like(q.transpose(1, 2)), q.new_empty(q.shape[:3])
        for rows, seen in blocks(q.shape[2], k.shape[2]):
            mask = _mask(q, bias, rows, seen)
            done, sums = _flash(q[:, :, rows], k[:, :, seen], v[:, :, seen], 0.0, False, attn_mask=mask, scale=scale)
            out_BxTxHxD[:, rows], sums_BxHxT[:, :, rows] = done.transpose(1, 2), sums
        out = out_BxTxHxD.transpose(1, 2)
        ctx.save_for_backward(q, k, v, bias, out, sums_BxHxT)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, out, sums_BxHxT = ctx.saved_tensors
        if ctx.needs_input_grad[3]:
            return *_backward_of_bias(grad_out, q, k, v, bias, out, sums_BxHxT, ctx.scale), None
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for rows, seen in blocks(q.shape[2], k.shape[2]):
            there = k[:, :, seen], v[:, :, seen], out[:, :, rows], sums_BxHxT[:, :, rows]
            mask = _mask(q, bias, rows, seen)
            found = _flash_backward(grad_out[:, :, rows], q[:, :, rows], *there, 0.0, False, attn_mask=mask, scale=ctx.scale)
            dq[:, :, rows], dk_seen, dv_seen = found
            dk[:, :, seen] += dk_seen
            dv[:, :, seen] += dv_seen
        return dq, dk, dv, None, None


def blocks(T: int, S: int) -> list[tuple[slice, slice]]:
    """Rows of each block, the last T of S tokens, and the keys that its last row sees."""
    ends = [min(start + ROWS, T) for start in range(0, T, ROWS)]
    return [(slice(start, end), slice(0, S - T + end)) for start, end in zip(range(0, T, ROWS), ends, strict=True)]


def _mask(like: Tensor, bias: Tensor | None, rows: slice, seen: slice) -> Tensor:
    """What a block adds to its scores, `[1, H or 1, rows, keys]`."""
    if bias is not None:
        return bias[:, :, rows, seen]
    R, S = rows.stop - rows.start, seen.stop
    return like.new_full((1, 1, R, S), -torch.inf).triu(S - R + 1)


def _backward_of_bias(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, out: Tensor, sums_BxHxT: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """p = exp(s - sums), dv = p^T do, ds = p (do v^T - do.o), dbias = ds summed over sequences, dq = ds k, dk = ds^T q."""
    (B, H, T, _), S = q.shape, k.shape[2]
    slope_NxTx1 = (grad_out * out).sum(-1).reshape(B * H, T, 1)
    sums_NxTx1 = sums_BxHxT.reshape(B * H, T, 1)
    q, k, v, grad_out = (each.flatten(0, 1) for each in (q, k, v, grad_out))
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    bias_HxTxS = bias[0].expand(H, T, S)
    dbias_HxTxS = q.new_zeros(H, T, S)
    for these, heads in _groups(B, H, S):
        for rows, seen in blocks(T, S):
            n, of_bias = len(heads), (slice(heads.start, heads.stop), rows, seen)
            q_NxRxD, k_NxSxD, grad_NxRxD = q[these, rows], k[these, seen], grad_out[these, rows]
            p_NxRxS = torch.bmm(q_NxRxD, k_NxSxD.transpose(1, 2)).mul_(scale).sub_(sums_NxTx1[these, rows])
            p_NxRxS.unflatten(0, (-1, n)).add_(bias_HxTxS[of_bias])
            p_NxRxS.exp_()
            dv[these, seen].baddbmm_(p_NxRxS.transpose(1, 2), grad_NxRxD)
            ds_NxRxS = torch.bmm(grad_NxRxD, v[these, seen].transpose(1, 2)).sub_(slope_NxTx1[these, rows]).mul_(p_NxRxS)
            dbias_HxTxS[of_bias] += ds_NxRxS.unflatten(0, (-1, n)).sum(0)
            dq[these, rows] = torch.bmm(ds_NxRxS, k_NxSxD)
            dk[these, seen].baddbmm_(ds_NxRxS.transpose(1, 2), q_NxRxD)
    dbias = dbias_HxTxS if len(bias[0]) > 1 else dbias_HxTxS.sum(0, keepdim=True)
    dq, dk, dv = (each.unflatten(0, (B, H)) for each in (dq.mul_(scale), dk.mul_(scale), dv))
    return dq, dk, dv, dbias[None]


def _groups(B: int, H: int, S: int) -> list[tuple[slice, range]]:
    """Slices of the B x H pairs, and the heads in each: some heads of one sequence, or all heads of some sequences."""
    most = max(1, CELLS // (ROWS * S))
    if most >= H:
        step = most // H * H
        return [(slice(first, min(first + step, B * H)), range(H)) for first in range(0, B * H, step)]
    step = max(n for n in range(1, most + 1) if H % n == 0)
    return [(slice(first, first + step), range(first % H, first % H + step)) for first in range(0, B * H, step)]
