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

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.attention import cpu_bfloat16 as attention_bf16
from rpecli.attention import cpu_float32 as fused
from rpecli.encoding import DistanceBias, DistanceCurve, Encoding, overrides

DENSE = 256  # keys up to which a dense bias, built once for all layers, costs no more than blocks (measured: LOG.md)
CELLS = 1 << 17  # score cells [B, T, S] a block may hold, per head: more fall out of the caches (1 << 20: 2 to 4 times slower)
ROWS = 32  # rows a block holds at least, since a few encodings do work on all keys for every block
CURVE_ROWS = 64  # rows of a block where scores go by distance


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


def scores(
    encoding: Encoding,
    q: Tensor,
    k: Tensor,
    x: Tensor | None = None,
    positions: Tensor | None = None,
    hidden_BxS: Tensor | None = None,
) -> Tensor:
    """Pre-softmax logits `[B, H, T, S]`, scale and bias included, no mask: the plain reference of every kernel.

    `q_BxHxTxD`, `k_BxHxSxD`; `x_BxSxM` where the encoding takes features of the layer's input; `positions` `[S]` or
    `[B or 1, S]` of the keys (0, 1, ... unless given), the queries being the last T of them. `hidden_BxS` marks padding keys,
    which are not masked either.
    """
    T, S = q.shape[2], k.shape[2]
    positions = torch.arange(S, device=q.device) if positions is None else positions
    k_pos = positions.expand(1, S) if positions.dim() == 1 else positions
    kf = _without_padding(encoding.features(x) if x is not None else None, hidden_BxS)
    qf = None if kf is None else kf[:, :, S - T :]
    return _logits(encoding, q, k, k_pos[:, S - T :], k_pos, qf, kf)


def _without_padding(f: Tensor | None, hidden_BxS: Tensor | None) -> Tensor | None:
    """Features of the last tokens, 0 where they are padding: what adds up over tokens must not depend on it."""
    if f is None or hidden_BxS is None:
        return f
    return f.masked_fill(hidden_BxS[:, None, hidden_BxS.shape[1] - f.shape[2] :, None], 0.0)


def causal_mask(T: int, S: int, device: torch.device | str = "cpu") -> Tensor:
    """True where a row may not look: keys after its own place. `[T, S]`, rows the last T of S."""
    return torch.ones(T, S, dtype=torch.bool, device=device).triu(S - T + 1)


def stick_breaking(logits: Tensor, dark: Tensor) -> Tensor:
    """att_ij = sigmoid(z_ij) prod_{j<l<i} (1 - sigmoid(z_il)), the token itself left out; rows need not sum to 1.

    Tan et al. 2024, "Scaling Stick-Breaking Attention", arXiv 2410.17980. `dark` is true where a row may not look.
    """
    S = logits.shape[-1]
    itself = torch.ones(logits.shape[-2], S, dtype=torch.bool, device=logits.device).triu(S - logits.shape[-2])
    dark = dark | itself
    kept = F.logsigmoid(-logits).masked_fill(dark, 0.0)
    between = F.pad(kept[..., 1:], (0, 1)).flip(-1).cumsum(-1).flip(-1)  # over the keys behind j
    return (F.logsigmoid(logits) + between).exp().masked_fill(dark, 0.0)


def softmax(logits: Tensor, dark: Tensor) -> Tensor:
    """Softmax over the keys that are not `dark`; a row that sees none (padding) may look anywhere, nobody reads it."""
    return logits.masked_fill(dark & ~dark.all(-1, keepdim=True), -torch.inf).softmax(-1)


Normalizer = Callable[[Tensor, Tensor], Tensor]
NORMALIZERS: dict[str, Normalizer] = {"softmax": softmax, "stick-breaking": stick_breaking}


def _logits(
    encoding: Encoding, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
) -> Tensor:
    return _scored(encoding, encoding.rotate(q, k, q_pos, k_pos, qf, kf), q, k, q_pos, k_pos, qf, kf)


def _scored(
    encoding: Encoding,
    turned: tuple[Tensor, Tensor],
    q: Tensor,
    k: Tensor,
    q_pos: Tensor,
    k_pos: Tensor,
    qf: Tensor | None,
    kf: Tensor | None,
) -> Tensor:
    """Logits of queries and keys, raw and `turned`."""
    logits_BxHxTxS = turned[0] @ turned[1].transpose(-1, -2) * encoding.shape.scale
    if overrides(encoding, "bias"):
        logits_BxHxTxS = logits_BxHxTxS + encoding.bias(q_pos, k_pos)
    return encoding.score(logits_BxHxTxS, q, k, q_pos, k_pos, qf, kf)


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
