"""Attention for evaluation on long inputs, by blocks of rows, so that no `[T, S]` tensor is ever whole."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.attention.reference import Normalizer, _scored, causal_mask
from rpecli.encoding import DistanceBias, DistanceCurve, Encoding

CELLS = 1 << 17  # score cells [B, T, S] a block may hold, per head: more fall out of the caches (1 << 20: 2 to 4 times slower)


ROWS = 32  # rows a block holds at least, since a few encodings do work on all keys for every block


CURVE_ROWS = 64  # rows of a block where scores go by distance


def _falling(encoding: DistanceBias, S: int, below: int, device: torch.device) -> Tensor:
    """Biases of distances S-1, S-2, ... down to below + 1, `[H, N]`; of the future minus infinity where attention is causal."""
    falling_N = torch.arange(S - 1, below, -1, device=device, dtype=torch.float32)
    vector_HxN = encoding.by_distance(falling_N)
    return vector_HxN.masked_fill(falling_N < 0, -torch.inf) if encoding.shape.causal else vector_HxN


class _Toeplitz(torch.autograd.Function):
    """A vector `[H, T+S-1]` of falling distances to `[H, T, S]`, row r the last but T-1-r; its gradient sums over diagonals.

    Three times as quick at 512 tokens as a look-up by index, whose gradient adds cell by cell.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(vector_HxN: Tensor, T: int) -> Tensor:
        return vector_HxN.unfold(1, vector_HxN.shape[1] - T + 1, 1).flip(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad_HxTxS: Tensor) -> tuple[Tensor, None]:
        H, T, S = grad_HxTxS.shape
        wider_HxK = F.pad(grad_HxTxS.flip(1), (0, T)).reshape(H, T * (T + S))
        return wider_HxK[:, :-T].reshape(H, T, T + S - 1).sum(1), None  # rows one shorter: each moves one to the right


def _distance_blocks(encoding: DistanceBias, q: Tensor, k: Tensor, v: Tensor, rows: int = 256) -> Tensor:
    """Each block of query rows reads its bias from one vector through an overlapping view, so nothing `[T, S]` is built.

    Row r, key j want the bias of distance r - j. The vector holds falling distances, so the index grows with j; strides must
    be positive, so the rows of a block are flipped, and the index grows with the flipped row as well.
    """
    T, S, causal = q.shape[2], k.shape[2], encoding.shape.causal
    least = 1 - rows if causal else 1 - S - rows
    vector_HxN = _falling(encoding, S, least - 1, q.device).to(q.dtype)
    out = torch.empty_like(v[:, :, S - T :])
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        last = S - T + stop - 1  # place of the block's last row
        seen = last + 1 if causal else S
        begin = S - 1 - last  # where the vector holds distance `last`
        view_HxNxS = vector_HxN[:, begin : begin + seen + stop - start - 1].unfold(1, seen, 1)
        flipped = q[:, :, start:stop].flip(2)
        done = F.scaled_dot_product_attention(
            flipped, k[:, :, :seen], v[:, :, :seen], attn_mask=view_HxNxS[None], scale=encoding.shape.scale
        )
        out[:, :, start:stop] = done.flip(2)
    return out


def _curve_blocks(encoding: DistanceCurve, q: Tensor, k: Tensor, v: Tensor, qf: Tensor | None, most: int = CURVE_ROWS) -> Tensor:
    """Scores by distance of a block of query rows, for a few heads at a time, and each row's read at its own offset.

    `asks_r . vectors[d]` for falling distances d is a matrix whose row r has the score of key j at column j - r + n - 1, n rows
    in all: a view with rows one shorter than the matrix's. Far keys all have the score of `reach`; less that score, which
    softmax does not see, they need none, so only a band of the mask is ever written.
    """
    B, H, T, S = *q.shape[:3], k.shape[2]
    asks_BxHxTxR, (q, k) = encoding.asks(q, qf), encoding.alone(q, k)
    rows = min(most, T)
    heads = max(1, 2 * CELLS // (B * S * rows))  # one at 8192 keys: 1.7 times plain attention there, with four 2.0
    near = S if encoding.reach is None else min(encoding.reach, S)  # distances that have a vector of their own
    farthest = min(S - 1, near + rows - 2)
    vectors_HxRxN = encoding.vectors(torch.arange(farthest, -rows, -1, device=q.device))
    if encoding.reach is not None:
        vectors_HxRxN = vectors_HxRxN - encoding.vectors(torch.full((1,), encoding.reach, device=q.device))
    vectors_HxRxN = vectors_HxRxN.expand(H, -1, -1)
    out = torch.empty_like(v[:, :, S - T :])
    for these in (slice(h, h + heads) for h in range(0, H, heads)):
        far_BxHxTxS = None  # zeros, but for the band at its right end
        for start, stop in _short_first(T, rows):
            n, seen = stop - start, S - T + stop
            band = min(seen, near + n - 1)
            columns = vectors_HxRxN[these, :, farthest - band + 1 : farthest + n]
            curve_BxHxTxN = asks_BxHxTxR[:, these, start:stop] @ columns
            curve_BxHxTxN[..., band:] = -torch.inf  # the future
            mask = _skewed(curve_BxHxTxN, band)
            if band < seen:
                if far_BxHxTxS is None or far_BxHxTxS.shape[2] != n:
                    far_BxHxTxS = mask.new_zeros(*mask.shape[:3], S)
                far_BxHxTxS[..., S - band :] = mask
                mask = far_BxHxTxS[..., S - seen :]
            out[:, these, start:stop] = F.scaled_dot_product_attention(
                q[:, these, start:stop], k[:, these, :seen], v[:, these, :seen], attn_mask=mask, scale=encoding.shape.scale
            )
    return out


def _skewed(x_BxHxTxN: Tensor, width: int) -> Tensor:
    """Row r of n from column n - 1 - r on, as a view: `[B, H, n, width]`."""
    x, (B, H, n, N) = x_BxHxTxN, x_BxHxTxN.shape
    return x.as_strided((B, H, n, width), (x.stride(0), x.stride(1), N - 1, 1), x.storage_offset() + n - 1)


def _short_first(T: int, rows: int) -> list[tuple[int, int]]:
    """Blocks of `rows` rows, what is left over before the others."""
    cuts = [0, *range(T % rows or rows, T + 1, rows)]
    return list(pairwise(cuts))


def rows_at_once(S: int, batch: int) -> int:
    """Rows of a block of scores with S keys of so many sequences."""
    return max(ROWS, CELLS // (S * batch))


def _bias_blocks(encoding: Encoding, q: Tensor, k: Tensor, v: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
    T, S = q.shape[2], k.shape[2]
    out = torch.empty_like(v[:, :, S - T :])
    rows = rows_at_once(S, q_pos.shape[0])
    for start in reversed(range(0, T, rows)):  # the largest mask first, for the heap's sake: see _eager_blocks
        stop = min(start + rows, T)
        seen = S - T + stop if encoding.shape.causal else S
        mask = _fresh(encoding, encoding.bias(q_pos[:, start:stop], k_pos[:, :seen]))
        if encoding.shape.causal:  # only the last columns: a pass over all of them takes a tenth of FIRE's time
            n = stop - start
            mask[..., seen - n :].masked_fill_(causal_mask(n, n, q.device), -torch.inf)
        out[:, :, start:stop] = F.scaled_dot_product_attention(
            q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], attn_mask=mask, scale=encoding.shape.scale
        )
    return out


def _fresh(encoding: Encoding, bias: Tensor) -> Tensor:
    """A bias that may be written into: a copy of one that is a view, or that the encoding keeps."""
    kept = {each.untyped_storage().data_ptr() for each in (*encoding.parameters(), *encoding.buffers())}
    return bias.clone() if not bias.is_contiguous() or bias.untyped_storage().data_ptr() in kept else bias


def _eager_blocks(
    encoding: Encoding,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_pos: Tensor,
    k_pos: Tensor,
    qf: Tensor | None,
    kf: Tensor | None,
    hidden_BxS: Tensor | None,
    normal: Normalizer,
) -> Tensor:
    """Rows in blocks that keep `[T, S]` bounded; in training the whole at once, since gradients keep every block anyway."""
    T, S, causal = q.shape[2], k.shape[2], encoding.shape.causal
    rows = T if torch.is_grad_enabled() else rows_at_once(S, q.shape[0])
    q_turned, k_turned = encoding.rotate(q, k, q_pos, k_pos, qf, kf)  # of all rows: a block's are not the last of the keys
    # one tensor for all blocks, and the block with most keys first: else the heap is left with gaps that the next one does not
    # fit, and grows by every block (path-attention at 16,385 tokens: 2.5 GB, so 0.15)
    out = None if rows >= T else torch.empty_like(v[:, :, S - T :])
    for start in reversed(range(0, T, rows)):
        stop = min(start + rows, T)
        seen = S - T + stop if causal else S
        turned = q_turned[:, :, start:stop], k_turned[:, :, :seen]
        qf_rows = None if qf is None else qf[:, :, start:stop]
        kf_seen = None if kf is None else kf[:, :, :seen]
        q_rows, k_seen = q[:, :, start:stop], k[:, :, :seen]
        logits_BxHxTxS = _scored(encoding, turned, q_rows, k_seen, q_pos[:, start:stop], k_pos[:, :seen], qf_rows, kf_seen)
        dark = causal_mask(stop - start, seen, q.device) if causal else torch.zeros(1, seen, dtype=torch.bool, device=q.device)
        dark_BxHxTxS = dark[None, None] if hidden_BxS is None else dark | hidden_BxS[:, None, None, :seen]
        done_BxHxTxD = normal(logits_BxHxTxS, dark_BxHxTxS) @ v[:, :, :seen]
        if out is None:
            return done_BxHxTxD
        out[:, :, start:stop] = done_BxHxTxD
    assert out is not None
    return out
