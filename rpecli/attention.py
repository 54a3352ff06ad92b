"""Causal attention for any encoding: picks the kernel from the hooks the encoding has, and owns the scale.

    score                  query blocks, eager softmax        memory rows x S
    no bias                plain fused causal kernel          memory linear
    bias, short or trained dense [B or 1, H, T, S] bias        memory T x S
    bias by distance       query blocks on a view of a vector memory linear      (evaluation on running positions)
    any other bias         query blocks, rows of the bias     memory rows x S    (evaluation)

Rows are the last T of S keys. A causal row sees the keys up to its own place, whatever their positions are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.encoding import DistanceBias, Encoding, overrides

DENSE = 512  # keys up to which a dense bias costs nothing (measured: LOG.md)
CELLS = 1 << 20  # score cells [B, T, S] a block may hold, per head


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
) -> Tensor:
    """softmax(scores) v, `[B, H, T, D]`.

    `positions_BxS` are the keys' positions (`[B or 1, S]`), the queries' are the last T. `hidden_BxS` marks padding keys.
    `running` promises that positions are consecutive, which lets a bias by distance be one vector.
    """
    T, S = q_BxHxTxD.shape[2], k_BxHxSxD.shape[2]
    q_pos, k_pos = positions_BxS[:, S - T :], positions_BxS
    if overrides(encoding, "score") or hidden_BxS is not None:
        return _score_blocks(encoding, q_BxHxTxD, k_BxHxSxD, v_BxHxSxD, q_pos, k_pos, qf, kf, hidden_BxS)
    q, k = encoding.rotate(q_BxHxTxD, k_BxHxSxD, q_pos, k_pos, qf, kf)
    v = v_BxHxSxD if v_BxHxSxD.shape[-1] == q.shape[-1] else F.pad(v_BxHxSxD, (0, q.shape[-1] - v_BxHxSxD.shape[-1]))
    if not overrides(encoding, "bias"):
        out = _plain(q, k, v, encoding.shape.scale)
    elif S <= DENSE or torch.is_grad_enabled():
        mask = _dense_bias(encoding, q_pos, k_pos, running)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=encoding.shape.scale)
    elif running and isinstance(encoding, DistanceBias):
        out = _distance_blocks(encoding, q, k, v)
    else:
        out = _bias_blocks(encoding, q, k, v, q_pos, k_pos)
    return out[..., : v_BxHxSxD.shape[-1]]


def scores(encoding: Encoding, q: Tensor, k: Tensor, x: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
    """Pre-softmax logits `[B, H, T, S]`, scale and bias included, no mask: the plain reference of every kernel.

    `q_BxHxTxD`, `k_BxHxSxD`; `x_BxSxM` where the encoding takes features of the layer's input; `positions` `[S]` or
    `[B or 1, S]` of the keys (0, 1, ... unless given), the queries being the last T of them.
    """
    T, S = q.shape[2], k.shape[2]
    positions = torch.arange(S, device=q.device) if positions is None else positions
    k_pos = positions.expand(1, S) if positions.dim() == 1 else positions
    kf = encoding.features(x) if x is not None else None
    qf = None if kf is None else kf[:, :, S - T :]
    return _logits(encoding, q, k, k_pos[:, S - T :], k_pos, qf, kf)


def causal_mask(T: int, S: int, device: torch.device | str = "cpu") -> Tensor:
    """True where a row may not look: keys after its own place. `[T, S]`, rows the last T of S."""
    return torch.ones(T, S, dtype=torch.bool, device=device).triu(S - T + 1)


def _logits(
    encoding: Encoding, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
) -> Tensor:
    q_turned, k_turned = encoding.rotate(q, k, q_pos, k_pos, qf, kf)
    logits_BxHxTxS = q_turned @ k_turned.transpose(-1, -2) * encoding.shape.scale
    if overrides(encoding, "bias"):
        logits_BxHxTxS = logits_BxHxTxS + encoding.bias(q_pos, k_pos)
    return encoding.score(logits_BxHxTxS, q, k, q_pos, k_pos, qf, kf)


def _plain(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    T, S = q.shape[2], k.shape[2]
    if T == S:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    mask = ~causal_mask(T, S, q.device) if T > 1 else None  # the flag would line up the first rows, not the last
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def _dense_bias(encoding: Encoding, q_pos: Tensor, k_pos: Tensor, running: bool) -> Tensor:
    T, S = q_pos.shape[1], k_pos.shape[1]
    future_TxS = causal_mask(T, S, q_pos.device)
    if running and isinstance(encoding, DistanceBias):
        bias_HxS = encoding.by_distance(torch.arange(S, device=q_pos.device, dtype=torch.float32))
        row_T, column_S = torch.arange(S - T, S, device=q_pos.device), torch.arange(S, device=q_pos.device)
        bias = bias_HxS[:, (row_T[:, None] - column_S).clamp(min=0)][None]
    else:
        bias = encoding.bias(q_pos, k_pos)
    return bias.masked_fill(future_TxS, -torch.inf)


def _distance_blocks(encoding: DistanceBias, q: Tensor, k: Tensor, v: Tensor, rows: int = 256) -> Tensor:
    """Each block of query rows reads its bias from one vector through an overlapping view, so nothing `[T, S]` is built.

    Row r, key j want vector[first + r - j]; strides must be positive, so rows are flipped: then the index falls with both.
    """
    T, S = q.shape[2], k.shape[2]
    distance_S = torch.arange(S - 1, -1, -1, device=q.device, dtype=torch.float32)
    past_HxS = encoding.by_distance(distance_S)  # falling distance: S-1 ... 0
    future_HxR = past_HxS.new_full((past_HxS.shape[0], rows), -torch.inf)
    vector_HxN = torch.cat([past_HxS, future_HxR], dim=1).to(q.dtype)
    out = torch.empty_like(v[:, :, S - T :])
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        last = S - T + stop - 1  # place of the block's last row; it sees the keys 0..last
        begin = S - 1 - last  # where the vector holds distance `last`
        view_HxNxS = vector_HxN[:, begin : begin + last + stop - start].unfold(1, last + 1, 1)
        flipped = q[:, :, start:stop].flip(2)
        done = F.scaled_dot_product_attention(
            flipped, k[:, :, : last + 1], v[:, :, : last + 1], attn_mask=view_HxNxS[None], scale=encoding.shape.scale
        )
        out[:, :, start:stop] = done.flip(2)
    return out


def _bias_blocks(encoding: Encoding, q: Tensor, k: Tensor, v: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
    T, S = q.shape[2], k.shape[2]
    out = torch.empty_like(v[:, :, S - T :])
    rows = max(1, CELLS // (S * q_pos.shape[0]))
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        seen = S - T + stop
        mask = _dense_bias(encoding, q_pos[:, start:stop], k_pos[:, :seen], running=False)
        out[:, :, start:stop] = F.scaled_dot_product_attention(
            q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], attn_mask=mask, scale=encoding.shape.scale
        )
    return out


def _eager(
    encoding: Encoding,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_pos: Tensor,
    k_pos: Tensor,
    qf: Tensor | None,
    kf: Tensor | None,
    hidden_BxS: Tensor | None,
) -> Tensor:
    """Softmax over the dense logits of some rows."""
    logits_BxHxTxS = _logits(encoding, q, k, q_pos, k_pos, qf, kf)
    dark_BxHxTxS = causal_mask(q.shape[2], k.shape[2], q.device)[None, None]
    if hidden_BxS is not None:
        dark_BxHxTxS = dark_BxHxTxS | hidden_BxS[:, None, None, :]
    dark_BxHxTxS = dark_BxHxTxS & ~dark_BxHxTxS.all(-1, keepdim=True)  # a padding row may look anywhere; nobody reads it
    return logits_BxHxTxS.masked_fill(dark_BxHxTxS, -torch.inf).softmax(-1) @ v


def _score_blocks(
    encoding: Encoding,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_pos: Tensor,
    k_pos: Tensor,
    qf: Tensor | None,
    kf: Tensor | None,
    hidden_BxS: Tensor | None,
) -> Tensor:
    """Rows in blocks that keep `[T, S]` bounded; in training the whole at once, since gradients keep every block anyway."""
    T, S = q.shape[2], k.shape[2]
    rows = T if torch.is_grad_enabled() else max(1, CELLS // (S * q.shape[0]))
    done = []
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        seen = S - T + stop
        qf_rows = None if qf is None else qf[:, :, start:stop]
        kf_seen = None if kf is None else kf[:, :, :seen]
        hidden = None if hidden_BxS is None else hidden_BxS[:, :seen]
        q_rows, k_seen, v_seen = q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen]
        done.append(_eager(encoding, q_rows, k_seen, v_seen, q_pos[:, start:stop], k_pos[:, :seen], qf_rows, kf_seen, hidden))
    return torch.cat(done, dim=2)
