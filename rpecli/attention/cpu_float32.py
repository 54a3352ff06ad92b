"""Causal attention for training on a CPU, `softmax(q k^T scale + bias) v` by blocks of rows, forward and backward.

PyTorch's fused CPU kernel also computes the half of the scores that the causal mask hides: always in the backward pass, and in
the forward pass if a bias comes with the mask. A bias that needs a gradient turns that kernel off altogether. Here each block of
rows meets only the keys it sees, and the gradient of a bias takes four products per block.

    8 sequences of 512, 8 heads of 32, forward and backward, one core of machine A in LOG.md, PyTorch's time in brackets:
    no bias 59 ms (89), fixed bias 62 ms (93), learned bias 83 ms (232). Below SHORTEST tokens one call is as fast or faster.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rpecli.encoding import inside_functorch

SHORTEST = 192  # tokens from which blocks are faster than one call
SHORTEST_LEARNED = 128  # the same if the bias needs a gradient

# PyTorch's fused CPU kernel as operators of its own. They are private, and may be missing in another version (then `helps` says
# no), but the public function gives no log-sum-exp, without which the backward pass would compute the forward pass again.
_flash: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_flash_backward: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)


@dataclass(frozen=True)
class Tiles:
    """Rows of a block, and, if a bias needs a gradient, the scores of a block and of the heads computed with it."""

    rows: int = 64
    cells: int = 1 << 18  # what the CPU's caches hold


def helps(q_BxHxTxD: Tensor, k_BxHxSxD: Tensor, bias: Tensor | None) -> bool:
    """Whether `attend` applies and is faster: training on a CPU, long enough, one bias for all sequences."""
    q, k = q_BxHxTxD, k_BxHxSxD
    available = q.device.type == "cpu" and q.dtype == torch.float32 and _flash_backward is not None
    learned = bias is not None and bias.requires_grad
    long = k.shape[2] >= (SHORTEST_LEARNED if learned else SHORTEST)
    return available and long and torch.is_grad_enabled() and (bias is None or len(bias) == 1) and not inside_functorch()


def attend(
    q_BxHxTxD: Tensor, k_BxHxSxD: Tensor, v_BxHxSxD: Tensor, bias_1xHxTxS: Tensor | None, scale: float, tiles: Tiles = Tiles()
) -> Tensor:
    """`[B, H, T, D]` of the last T of S tokens. The bias (`[1, H or 1, T, S]`) is minus infinity after a row's own place."""
    out: Tensor = _Blocks.apply(q_BxHxTxD, k_BxHxSxD, v_BxHxSxD, bias_1xHxTxS, scale, tiles)
    return out


def blocks(T: int, S: int, rows: int) -> list[tuple[slice, slice]]:
    """Rows of each block, the last T of S tokens, and the keys that its last row sees."""
    return [(slice(start, end), slice(0, S - T + end)) for start, end in _ranges(T, rows)]


def _ranges(n: int, step: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + step, n)) for start in range(0, n, step))


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, tiles: Tiles) -> Tensor:
        out_BxTxHxD, lse_BxHxT = torch.empty_like(q.transpose(1, 2)), q.new_empty(q.shape[:3])
        for rows, keys in blocks(q.shape[2], k.shape[2], tiles.rows):
            mask = _mask(q, bias, rows, keys)
            y, lse = _flash(q[:, :, rows], k[:, :, keys], v[:, :, keys], 0.0, False, attn_mask=mask, scale=scale)
            out_BxTxHxD[:, rows], lse_BxHxT[:, :, rows] = y.transpose(1, 2), lse
        out = out_BxTxHxD.transpose(1, 2)
        ctx.save_for_backward(q, k, v, bias, out, lse_BxHxT)
        ctx.scale, ctx.tiles = scale, tiles
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.needs_input_grad[3]:
            return *_backward_with_bias(ctx, grad_out), None, None
        q, k, v, bias, out, lse_BxHxT = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for rows, keys in blocks(q.shape[2], k.shape[2], ctx.tiles.rows):
            forward = k[:, :, keys], v[:, :, keys], out[:, :, rows], lse_BxHxT[:, :, rows]
            mask = _mask(q, bias, rows, keys)
            dq[:, :, rows], dk_block, dv_block = _flash_backward(
                grad_out[:, :, rows], q[:, :, rows], *forward, 0.0, False, attn_mask=mask, scale=ctx.scale
            )
            dk[:, :, keys] += dk_block
            dv[:, :, keys] += dv_block
        return dq, dk, dv, None, None, None


def _mask(like: Tensor, bias: Tensor | None, rows: slice, keys: slice) -> Tensor:
    """What a block adds to its scores, `[1, H or 1, rows, keys]`."""
    if bias is not None:
        return bias[:, :, rows, keys]
    R, S = rows.stop - rows.start, keys.stop
    return like.new_full((1, 1, R, S), -torch.inf).triu(S - R + 1)


def _backward_with_bias(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """p = exp(s - lse), dv = p^T do, ds = p (do v^T - do.o), dbias = ds summed over sequences, dq = ds k, dk = ds^T q."""
    q, k, v, bias, out, lse_BxHxT = ctx.saved_tensors
    (B, H, T, _), S = q.shape, k.shape[2]
    do_o_NxTx1 = (grad_out * out).sum(-1).reshape(B * H, T, 1)
    lse_NxTx1 = lse_BxHxT.reshape(B * H, T, 1)
    q, k, v, grad_out = (x.flatten(0, 1) for x in (q, k, v, grad_out))
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    bias_HxTxS = bias[0].expand(H, T, S)
    dbias_HxTxS = q.new_zeros(H, T, S)
    for group, heads in _groups(B, H, max(1, ctx.tiles.cells // (ctx.tiles.rows * S))):
        for rows, keys in blocks(T, S, ctx.tiles.rows):
            n, of_bias = len(heads), (slice(heads.start, heads.stop), rows, keys)
            q_NxRxD, k_NxSxD, grad_NxRxD = q[group, rows], k[group, keys], grad_out[group, rows]
            p_NxRxS = torch.bmm(q_NxRxD, k_NxSxD.transpose(1, 2)).mul_(ctx.scale).sub_(lse_NxTx1[group, rows])
            p_NxRxS.unflatten(0, (-1, n)).add_(bias_HxTxS[of_bias])
            p_NxRxS.exp_()
            dv[group, keys].baddbmm_(p_NxRxS.transpose(1, 2), grad_NxRxD)
            ds_NxRxS = torch.bmm(grad_NxRxD, v[group, keys].transpose(1, 2)).sub_(do_o_NxTx1[group, rows]).mul_(p_NxRxS)
            dbias_HxTxS[of_bias] += ds_NxRxS.unflatten(0, (-1, n)).sum(0)
            dq[group, rows] = torch.bmm(ds_NxRxS, k_NxSxD)
            dk[group, keys].baddbmm_(ds_NxRxS.transpose(1, 2), q_NxRxD)
    dbias = dbias_HxTxS if len(bias[0]) > 1 else dbias_HxTxS.sum(0, keepdim=True)
    dq, dk, dv = (x.unflatten(0, (B, H)) for x in (dq.mul_(ctx.scale), dk.mul_(ctx.scale), dv))
    return dq, dk, dv, dbias[None]


def _groups(B: int, H: int, most: int) -> Iterator[tuple[slice, range]]:
    """Slices of at most so many of the B x H pairs, and the heads in each: heads of one sequence, or all heads of sequences."""
    if most >= H:
        return ((slice(start, end), range(H)) for start, end in _ranges(B * H, most // H * H))
    step = max(n for n in range(1, most + 1) if H % n == 0)
    return ((slice(start, end), range(start % H, start % H + step)) for start, end in _ranges(B * H, step))
