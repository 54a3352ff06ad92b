"""Attention for any encoding: picks the kernel from the hooks the encoding has, and owns the scale and the normalizer.

    score, padding, other   query blocks, eager                    memory rows x S
    no bias                 plain fused kernel                     memory linear
    bias, short or trained  dense bias [B or 1, H, T, S]           memory T x S
    bias by distance        query blocks on a view of a vector     memory linear      (evaluation on running positions)
    any other bias          query blocks, rows of the bias         memory rows x S    (evaluation)

Rows are the last T of S keys. Where attention is causal a row sees the keys up to its own place, whatever their positions are.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.encoding import DistanceBias, Encoding, overrides

DENSE = 512  # keys up to which a dense bias costs nothing (measured: LOG.md)
CELLS = 1 << 20  # score cells [B, T, S] a block may hold, per head


def kernel(encoding: Encoding, normalizer: str = "softmax") -> str:
    """Which of the ways above serves an encoding: `eager`, `plain`, `distance` or `rows`."""
    if overrides(encoding, "score") or normalizer != "softmax":
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
) -> Tensor:
    """normalizer(scores) v, `[B, H, T, D]`.

    `positions_BxS` are the keys' positions (`[B or 1, S]`), the queries' are the last T. `hidden_BxS` marks padding keys.
    `running` promises that positions are consecutive, which lets a bias by distance be one vector.
    """
    T, S = q_BxHxTxD.shape[2], k_BxHxSxD.shape[2]
    q_pos, k_pos = positions_BxS[:, S - T :], positions_BxS
    qf, kf = _without_padding(qf, hidden_BxS), _without_padding(kf, hidden_BxS)
    way = kernel(encoding, normalizer)
    if way == "eager" or hidden_BxS is not None:
        normal = NORMALIZERS[normalizer]
        return _eager_blocks(encoding, q_BxHxTxD, k_BxHxSxD, v_BxHxSxD, q_pos, k_pos, qf, kf, hidden_BxS, normal)
    q, k = encoding.rotate(q_BxHxTxD, k_BxHxSxD, q_pos, k_pos, qf, kf)
    v = F.pad(v_BxHxSxD, (0, q.shape[-1] - v_BxHxSxD.shape[-1]))  # widths that differ fall off the fused kernel, 4-8x slower
    if way == "plain":
        out = _plain(encoding, q, k, v)
    elif S <= DENSE or torch.is_grad_enabled():
        mask = _dense_bias(encoding, q_pos, k_pos, running)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=encoding.shape.scale)
    elif running and isinstance(encoding, DistanceBias):
        out = _distance_blocks(encoding, q, k, v)
    else:
        out = _bias_blocks(encoding, q, k, v, q_pos, k_pos)
    return out[..., : v_BxHxSxD.shape[-1]]


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
    if T == S or not causal:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=encoding.shape.scale)
    mask = ~causal_mask(T, S, q.device) if T > 1 else None  # the flag would line up the first rows, not the last
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=encoding.shape.scale)


def _dense_bias(encoding: Encoding, q_pos: Tensor, k_pos: Tensor, running: bool) -> Tensor:
    T, S = q_pos.shape[1], k_pos.shape[1]
    if running and isinstance(encoding, DistanceBias):
        far = 0 if encoding.shape.causal else 1 - S
        bias_HxN = encoding.by_distance(torch.arange(far, S, device=q_pos.device, dtype=torch.float32))
        row_T, column_S = torch.arange(S - T, S, device=q_pos.device), torch.arange(S, device=q_pos.device)
        bias = bias_HxN[:, (row_T[:, None] - column_S - far).clamp(min=0)][None]
    else:
        bias = encoding.bias(q_pos, k_pos)
    return bias.masked_fill(causal_mask(T, S, q_pos.device), -torch.inf) if encoding.shape.causal else bias


def _distance_blocks(encoding: DistanceBias, q: Tensor, k: Tensor, v: Tensor, rows: int = 256) -> Tensor:
    """Each block of query rows reads its bias from one vector through an overlapping view, so nothing `[T, S]` is built.

    Row r, key j want the bias of distance r - j. The vector holds falling distances, so the index grows with j; strides must
    be positive, so the rows of a block are flipped, and the index grows with the flipped row as well.
    """
    T, S, causal = q.shape[2], k.shape[2], encoding.shape.causal
    least = 1 - rows if causal else 1 - S - rows
    falling_N = torch.arange(S - 1, least - 1, -1, device=q.device, dtype=torch.float32)
    vector_HxN = encoding.by_distance(falling_N).to(q.dtype)
    if causal:
        vector_HxN = vector_HxN.masked_fill(falling_N < 0, -torch.inf)
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


def _bias_blocks(encoding: Encoding, q: Tensor, k: Tensor, v: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
    T, S = q.shape[2], k.shape[2]
    out = torch.empty_like(v[:, :, S - T :])
    rows = max(1, CELLS // (S * q_pos.shape[0]))
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        seen = S - T + stop if encoding.shape.causal else S
        mask = _dense_bias(encoding, q_pos[:, start:stop], k_pos[:, :seen], running=False)
        out[:, :, start:stop] = F.scaled_dot_product_attention(
            q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], attn_mask=mask, scale=encoding.shape.scale
        )
    return out


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
    rows = T if torch.is_grad_enabled() else max(1, CELLS // (S * q.shape[0]))
    q_turned, k_turned = encoding.rotate(q, k, q_pos, k_pos, qf, kf)  # of all rows: a block's are not the last of the keys
    done = []
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        seen = S - T + stop if causal else S
        turned = q_turned[:, :, start:stop], k_turned[:, :, :seen]
        qf_rows = None if qf is None else qf[:, :, start:stop]
        kf_seen = None if kf is None else kf[:, :, :seen]
        q_rows, k_seen = q[:, :, start:stop], k[:, :, :seen]
        logits_BxHxTxS = _scored(encoding, turned, q_rows, k_seen, q_pos[:, start:stop], k_pos[:, :seen], qf_rows, kf_seen)
        dark = causal_mask(stop - start, seen, q.device) if causal else torch.zeros(1, seen, dtype=torch.bool, device=q.device)
        dark_BxHxTxS = dark[None, None] if hidden_BxS is None else dark | hidden_BxS[:, None, None, :seen]
        done.append(normal(logits_BxHxTxS, dark_BxHxTxS) @ v[:, :, :seen])
    return torch.cat(done, dim=2)
