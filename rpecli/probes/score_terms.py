"""The four terms of an absolute encoding's first-layer score, q_i.k_j = (content + position)_i W (content + position)_j.

The layer norm before it is linear once its mean and standard deviation s are given, h = w (c - mean c)/s + w (p - mean p)/s + b
with s of the sum, so the four terms add up to the score exactly. Constants count as content: b, and the biases of `block: gpt2`.

Shares are of the variance within rows (each row centered over its visible keys): softmax drops what is constant along a row.
`share` divides by the sum of the four variances; `covariance` is each term's covariance with the score over the score's
variance: these too sum to 1, and a negative one works against the other terms.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.attention.reference import causal_mask, split_heads
from rpecli.blocks import Linear
from rpecli.encoding import overrides
from rpecli.model import Block, Transformer
from rpecli.probes import toeplitz
from rpecli.probes.inputs import ProbeBatch
from rpecli.run.records import SCORE_TERMS, HeadTerms


def adds_positions(model: Transformer) -> bool:
    """Whether an encoding adds something to the embeddings, and scores are products of these, so that there are four terms."""
    block: Block = model.blocks[0]  # type: ignore[assignment]
    mixed = block.canon or block.attention.norms or block.attention.shifts
    is_product = not mixed and not any(overrides(model.current[0], hook) for hook in ("rotate", "bias", "score"))
    return is_product and any(overrides(encoding, "embed") for encoding in model.current)


@torch.no_grad()
def score_terms(model: Transformer, batch: ProbeBatch) -> Tensor:
    """The terms `[4, B, H, T, T]`, scaled as the scores, in the order of SCORE_TERMS."""
    block: Block = model.blocks[0]  # type: ignore[assignment]
    token_BxTxM = model.embedding(batch.inputs_BxT)
    positions_BxT = batch.positions if batch.positions.dim() < 3 else batch.positions[0]
    x_BxTxM = model.embed(batch.inputs_BxT, positions_BxT, batch.inputs_BxT)
    parts, attention, T = _normalized_parts(block.norm1, x_BxTxM, token_BxTxM), block.attention, token_BxTxM.shape[1]  # type: ignore[arg-type]
    queries = [
        attention.scale_queries(part, T, model.current[0].on_scores) for part in _projected(attention.q, parts, attention.n_head)
    ]
    keys = _projected(attention.k, parts, attention.n_head)
    return torch.stack([q @ k.transpose(-1, -2) * model.current[0].shape.scale for q in queries for k in keys])


def _normalized_parts(norm: nn.LayerNorm | nn.RMSNorm, x_BxTxM: Tensor, token_BxTxM: Tensor) -> tuple[Tensor, Tensor]:
    """What the tokens and the positions add to norm(x); the bias of the norm counts as of the tokens."""
    bias = norm.bias if isinstance(norm, nn.LayerNorm) else None
    parts = [token_BxTxM, x_BxTxM - token_BxTxM]
    if bias is not None:  # a LayerNorm takes the mean off, an RMSNorm does not
        x_BxTxM, *parts = (part - part.mean(-1, keepdim=True) for part in (x_BxTxM, *parts))
    rms_BxTx1 = (x_BxTxM.square().mean(-1, keepdim=True) + (norm.eps or 0)).sqrt()
    content_BxTxM, position_BxTxM = (part / rms_BxTx1 * norm.weight for part in parts)
    return (content_BxTxM if bias is None else content_BxTxM + bias), position_BxTxM


def _projected(linear: Linear, parts: tuple[Tensor, Tensor], n_head: int) -> list[Tensor]:
    """The projections of the parts, whose sum is that of their sum: the bias goes with the first."""
    content, position = (F.linear(part, linear.weight) for part in parts)
    return [split_heads(part, n_head) for part in (content if linear.bias is None else content + linear.bias, position)]


def measure(model: Transformer, batches: Iterable[ProbeBatch]) -> list[HeadTerms]:
    """The shares of the four terms per head, and how much of the mean position-position term is a function of i-j."""
    causal = model.current[0].shape.causal
    sums: list[Tensor] = []
    for batch in batches:
        terms_4xBxHxTxT = score_terms(model, batch).cpu().double()
        T = terms_4xBxHxTxT.shape[-1]
        visible_TxT = ~causal_mask(T, T) if causal else torch.ones(T, T, dtype=torch.bool)
        n_keys_Tx1 = visible_TxT.sum(1, keepdim=True)
        row_mean = (terms_4xBxHxTxT * visible_TxT).sum(-1, keepdim=True) / n_keys_Tx1
        centered = (terms_4xBxHxTxT - row_mean) * visible_TxT
        variance_4xH = (centered**2).sum((1, 3, 4))
        covariance_4xH = (centered * centered.sum(0)).sum((1, 3, 4))
        of_batch = [variance_4xH, covariance_4xH, terms_4xBxHxTxT[3].sum(0), torch.tensor(float(terms_4xBxHxTxT.shape[1]))]
        sums = [old + new for old, new in zip(sums, of_batch, strict=True)] if sums else of_batch
    variance_4xH, covariance_4xH, position_HxTxT, n = sums
    fits = toeplitz.fits([(position_TxT / n, visible_TxT) for position_TxT in position_HxTxT])
    return [
        {"head": head + 1, "share": _shares(variance_4), "covariance": _shares(covariance_4), "toeplitz": fit}
        for head, (variance_4, covariance_4, fit) in enumerate(zip(variance_4xH.T, covariance_4xH.T, fits, strict=True))
    ]


def _shares(values_4: Tensor) -> dict[str, float]:
    shares = (values_4 / values_4.sum().clamp(min=1e-300)).tolist()
    return {term: round(share, 6) for term, share in zip(SCORE_TERMS, shares, strict=True)}
