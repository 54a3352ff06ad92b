"""Attention for evaluation on long inputs, by blocks of rows, so that no `[T, S]` tensor is ever whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.attention.reference import Normalizer, causal_mask, compute_logits
from rpecli.encoding import DistanceBias, DistanceCurve, Encoding, QueryKey

CELLS = 1 << 17  # scores [B, T, S] of a block, per head: more fall out of the CPU's caches (1 << 20: 2 to 4 times slower)


@dataclass(frozen=True)
class BlockSizes:
    """From how many keys on evaluation goes by blocks of rows, and how large these are."""

    dense_keys: int = 256  # keys up to which a dense bias, built once for all layers, costs no more than blocks (LOG.md)
    cells: int = CELLS
    min_rows: int = 32  # a few encodings do work on all keys for every block
    curve_rows: int = 64  # of a block whose scores go by distance

    def rows(self, S: int, batch: int) -> int:
        """Rows of a block of scores with S keys of so many sequences."""
        return max(self.min_rows, self.cells // (S * batch))


def falling_bias(encoding: DistanceBias, S: int, below: int, device: torch.device) -> Tensor:
    """Biases `[H, N]` of the distances S-1, S-2, ... down to below + 1; minus infinity for the future in causal attention."""
    distance_N = torch.arange(S - 1, below, -1, device=device, dtype=torch.float32)
    bias_HxN = encoding.by_distance(distance_N)
    return bias_HxN.masked_fill(distance_N < 0, -torch.inf) if encoding.shape.causal else bias_HxN


class Toeplitz(torch.autograd.Function):
    """A vector `[H, T+S-1]` of falling distances to `[H, T, S]`, row r the last but T-1-r; its gradient sums over diagonals.

    Three times as fast at 512 tokens as indexing, whose gradient adds cell by cell.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(bias_HxN: Tensor, T: int) -> Tensor:
        return bias_HxN.unfold(1, bias_HxN.shape[1] - T + 1, 1).flip(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad_HxTxS: Tensor) -> tuple[Tensor, None]:
        H, T, S = grad_HxTxS.shape
        wide_HxK = F.pad(grad_HxTxS.flip(1), (0, T)).reshape(H, T * (T + S))
        return wide_HxK[:, :-T].reshape(H, T, T + S - 1).sum(1), None  # rows one shorter: each moves one to the right


def distance_blocks(encoding: DistanceBias, qk: QueryKey, v: Tensor, rows: int = 256) -> Tensor:
    """Each block of rows reads its bias from one vector through an overlapping view, so that nothing `[T, S]` is built.

    Row r and key j need the bias of distance r - j. The vector holds falling distances, so that the index grows with j. Strides
    must be positive, so the rows of a block are flipped: the index then grows with the flipped row as well.
    """
    (T, S), q, k = qk.lengths, qk.q_BxHxTxD, qk.k_BxHxSxD
    below = -rows if encoding.shape.causal else -S - rows
    bias_HxN = falling_bias(encoding, S, below, q.device).to(q.dtype)
    out = torch.empty_like(v[:, :, S - T :])
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        last = S - T + stop - 1  # place of the block's last row
        keys = last + 1 if encoding.shape.causal else S
        begin = S - 1 - last  # where the vector holds distance `last`
        mask_HxNxS = bias_HxN[:, begin : begin + keys + stop - start - 1].unfold(1, keys, 1)
        y = F.scaled_dot_product_attention(
            q[:, :, start:stop].flip(2), k[:, :, :keys], v[:, :, :keys], attn_mask=mask_HxNxS[None], scale=encoding.shape.scale
        )
        out[:, :, start:stop] = y.flip(2)
    return out


def curve_blocks(encoding: DistanceCurve, qk: QueryKey, v: Tensor, sizes: BlockSizes) -> Tensor:
    """Scores by distance of a block of rows, for a few heads at a time, each row read at its own offset.

    `query_weights_r . distance_basis(d)` for falling distances d is a matrix whose row r has the score of key j at column
    j - r + n - 1, with n rows in all: a view with rows one shorter than the matrix's. All far keys have the score of
    `max_distance`. That score is subtracted, which the softmax does not see, so only a band of the mask is ever written.
    """
    (T, S), (B, H) = qk.lengths, qk.q_BxHxTxD.shape[:2]
    weights_BxHxTxR, (q, k) = encoding.query_weights(qk), encoding.content_qk(qk)
    rows = min(sizes.curve_rows, T)
    heads = max(1, 2 * sizes.cells // (B * S * rows))  # one at 8192 keys: 1.7 times plain attention there, with four 2.0
    near = S if encoding.max_distance is None else min(encoding.max_distance, S)  # distances with a vector of their own
    farthest = min(S - 1, near + rows - 2)
    basis_HxRxN = encoding.distance_basis(torch.arange(farthest, -rows, -1, device=q.device))
    if encoding.max_distance is not None:
        basis_HxRxN = basis_HxRxN - encoding.distance_basis(torch.full((1,), encoding.max_distance, device=q.device))
    basis_HxRxN = basis_HxRxN.expand(H, -1, -1)
    out = torch.empty_like(v[:, :, S - T :])
    for group in (slice(h, h + heads) for h in range(0, H, heads)):
        far_BxHxTxS = None  # zeros, except for the band at its right end
        for start, stop in _short_first(T, rows):
            n, keys = stop - start, S - T + stop
            band = min(keys, near + n - 1)
            columns_HxRxN = basis_HxRxN[group, :, farthest - band + 1 : farthest + n]
            curve_BxHxTxN = weights_BxHxTxR[:, group, start:stop] @ columns_HxRxN
            curve_BxHxTxN[..., band:] = -torch.inf  # the future
            mask = _skewed(curve_BxHxTxN, band)
            if band < keys:
                if far_BxHxTxS is None or far_BxHxTxS.shape[2] != n:
                    far_BxHxTxS = mask.new_zeros(*mask.shape[:3], S)
                far_BxHxTxS[..., S - band :] = mask
                mask = far_BxHxTxS[..., S - keys :]
            out[:, group, start:stop] = F.scaled_dot_product_attention(
                q[:, group, start:stop], k[:, group, :keys], v[:, group, :keys], attn_mask=mask, scale=encoding.shape.scale
            )
    return out


def _skewed(x_BxHxTxN: Tensor, width: int) -> Tensor:
    """Row r of n from column n - 1 - r on, as a view: `[B, H, n, width]`."""
    x, (B, H, n, N) = x_BxHxTxN, x_BxHxTxN.shape
    return x.as_strided((B, H, n, width), (x.stride(0), x.stride(1), N - 1, 1), x.storage_offset() + n - 1)


def _short_first(T: int, rows: int) -> Iterator[tuple[int, int]]:
    """Blocks of `rows` rows; a shorter block comes first."""
    return pairwise([0, *range(T % rows or rows, T + 1, rows)])


def bias_blocks(encoding: Encoding, qk: QueryKey, v: Tensor, sizes: BlockSizes) -> Tensor:
    """A block of rows of the bias at a time."""
    T, S = qk.lengths
    out = torch.empty_like(v[:, :, S - T :])
    rows = sizes.rows(S, qk.q_pos_BxT.shape[0])
    for start in reversed(range(0, T, rows)):  # the largest mask first, for the heap's sake: see eager_blocks
        stop = min(start + rows, T)
        keys = S - T + stop if encoding.shape.causal else S
        block = qk.block(start, stop, keys)
        mask = _writable(encoding, encoding.bias(block.q_pos_BxT, block.k_pos_BxS))
        if encoding.shape.causal:  # only the last columns: a pass over all of them takes a tenth of FIRE's time
            n = stop - start
            mask[..., keys - n :].masked_fill_(causal_mask(n, n, v.device), -torch.inf)
        out[:, :, start:stop] = F.scaled_dot_product_attention(
            block.q_BxHxTxD, block.k_BxHxSxD, v[:, :, :keys], attn_mask=mask, scale=encoding.shape.scale
        )
    return out


def _writable(encoding: Encoding, bias: Tensor) -> Tensor:
    """A bias that may be written to, of one head if all have the same: a copy if it is a view or belongs to the encoding."""
    bias = bias[:, :1] if bias.stride(1) == 0 else bias
    own = {tensor.untyped_storage().data_ptr() for tensor in (*encoding.parameters(), *encoding.buffers())}
    return bias.clone() if not bias.is_contiguous() or bias.untyped_storage().data_ptr() in own else bias


def eager_blocks(
    encoding: Encoding, qk: QueryKey, v: Tensor, padding_mask_BxS: Tensor | None, normalizer: Normalizer, sizes: BlockSizes
) -> Tensor:
    """Rows in blocks that keep `[T, S]` bounded; all rows at once in training, since gradients keep every block anyway."""
    (T, S), causal = qk.lengths, encoding.shape.causal
    rows = T if torch.is_grad_enabled() else sizes.rows(S, v.shape[0])
    q_rotated, k_rotated = encoding.rotate(qk)  # of all rows, since a block's rows are not the last of the keys
    # one tensor for all blocks, and the block with most keys first: else the heap is left with gaps that the next one does not
    # fit, and grows by every block (path-attention at 16,385 tokens: 2.5 GB, so 0.15)
    out = None if rows >= T else torch.empty_like(v[:, :, S - T :])
    for start in reversed(range(0, T, rows)):
        stop = min(start + rows, T)
        keys = S - T + stop if causal else S
        rotated = q_rotated[:, :, start:stop], k_rotated[:, :, :keys]
        logits_BxHxTxS = compute_logits(encoding, qk.block(start, stop, keys), rotated)
        masked = causal_mask(stop - start, keys, v.device) if causal else torch.zeros(1, keys, dtype=torch.bool, device=v.device)
        masked_BxHxTxS = masked[None, None] if padding_mask_BxS is None else masked | padding_mask_BxS[:, None, None, :keys]
        y_BxHxTxD = normalizer(logits_BxHxTxS, masked_BxHxTxS) @ v[:, :, :keys]
        if out is None:
            return y_BxHxTxD
        out[:, :, start:stop] = y_BxHxTxD
    assert out is not None
    return out
