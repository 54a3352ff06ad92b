"""The four terms of an absolute encoding's first-layer score, q_i.k_j = (content + position)_i W (content + position)_j.

The layer norm before it is linear once its own mean and spread are given, h = w (c - mean c)/s + w (p - mean p)/s + b with s of
the sum, so the four terms add up to the whole score exactly. The constant b counts as content.

Shares are of the variance within rows (each row centred over the keys it sees): softmax drops what is constant along a row.
`share` divides by the sum of the four variances; `covariance` is each term's covariance with the whole score over the score's
variance: these sum to 1 as well, and one below 0 works against the rest.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from rpecli.attention import reference as attention_reference
from rpecli.encoding import overrides
from rpecli.model import Block, Transformer
from rpecli.probes import toeplitz
from rpecli.probes.attention_weights import scaled
from rpecli.probes.inputs import Piece

TERMS = ("content-content", "content-position", "position-content", "position-position")  # query first


def applies(model: Transformer) -> bool:
    """Whether positions are added to this model's embeddings."""
    return any(overrides(each, "embed") for each in model.current)


@torch.no_grad()
def split(model: Transformer, piece: Piece) -> Tensor:
    """The terms `[4, B, H, T, T]`, scale included, in the order of TERMS."""
    block: Block = model.blocks[0]  # type: ignore[assignment]
    token_BxTxM = model.embedding(piece.inputs_BxT)
    positions = piece.positions if piece.positions.dim() < 3 else piece.positions[0]
    x_BxTxM = token_BxTxM
    for each in dict.fromkeys(model.current):
        x_BxTxM = each.embed(x_BxTxM, positions, piece.inputs_BxT)
    norm = block.norm1
    spread_BxTx1 = (x_BxTxM.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
    content, position = (
        (part - part.mean(-1, keepdim=True)) / spread_BxTx1 * norm.weight for part in (token_BxTxM, x_BxTxM - token_BxTxM)
    )
    parts = (content + norm.bias, position)
    attention = block.attention
    q = [scaled(attention, _heads(attention.q(part), attention.n_head)) for part in parts]
    k = [_heads(attention.k(part), attention.n_head) for part in parts]
    return torch.stack([a @ b.transpose(-1, -2) * model.current[0].shape.scale for a in q for b in k])


def _heads(x_BxTxM: Tensor, n_head: int) -> Tensor:
    return x_BxTxM.unflatten(-1, (n_head, -1)).transpose(1, 2)


def measure(model: Transformer, pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """A head each: shares of the four terms, and how much of the position term, mean over strings, is a function of i-j."""
    causal = model.current[0].shape.causal
    sums: list[Tensor] = []
    for piece in pieces:
        terms = split(model, piece).cpu().double()
        T = terms.shape[-1]
        seen_TxT = ~attention_reference.causal_mask(T, T) if causal else torch.ones(T, T, dtype=torch.bool)
        n_Tx1 = seen_TxT.sum(1, keepdim=True)
        centred = (terms - (terms * seen_TxT).sum(-1, keepdim=True) / n_Tx1) * seen_TxT
        own_4xH = (centred**2).sum((1, 3, 4))
        with_all_4xH = (centred * centred.sum(0)).sum((1, 3, 4))
        added = [own_4xH, with_all_4xH, terms[3].sum(0), torch.tensor(float(terms.shape[1]))]
        sums = [a + b for a, b in zip(sums, added, strict=True)] if sums else added
    own_4xH, with_all_4xH, position_HxTxT, count = sums
    fits = toeplitz.fits([(each / count, seen_TxT) for each in position_HxTxT])
    return [_head(own_4xH[:, n], with_all_4xH[:, n], fit, n) for n, fit in enumerate(fits)]


def _head(own_4: Tensor, with_all_4: Tensor, fit: toeplitz.Fit, head: int) -> dict[str, Any]:
    share = (own_4 / own_4.sum().clamp(min=1e-300)).tolist()
    covariance = (with_all_4 / with_all_4.sum().clamp(min=1e-300)).tolist()
    return {
        "head": head + 1,
        "share": {name: round(value, 6) for name, value in zip(TERMS, share, strict=True)},
        "covariance": {name: round(value, 6) for name, value in zip(TERMS, covariance, strict=True)},
        "toeplitz": fit,
    }
