"""How much of every layer's and head's mean score over strings is a function of i-j: bias included, whatever the encoding.

A model without an encoding that has learned to tell distances shows it here.
"""

from typing import Any

import torch
from torch import Tensor

from rpecli.attention import reference as attention_reference
from rpecli.model import LoadedModel
from rpecli.probes import toeplitz
from rpecli.probes.attention_weights import Layer, layers
from rpecli.probes.inputs import Piece

DARK = -1e4  # scores below it are masking, whatever number an encoding masks with


def measure(loaded: LoadedModel, pieces: list[Piece]) -> list[list[dict[str, Any]]]:
    """Of every layer a fit for each head."""
    sums: list[Tensor] = []
    for piece in pieces:
        added = [_sum(layer) for layer in layers(loaded, piece)]
        sums = [a + b for a, b in zip(sums, added, strict=True)] if sums else added
    n = sum(len(piece.inputs_BxT) for piece in pieces)
    causal = loaded.config.attention == "causal"
    return [[{"head": h + 1, **fit} for h, fit in enumerate(toeplitz.fits([_seen(each / n, causal) for each in layer]))]
            for layer in sums]  # fmt: skip


def _sum(layer: Layer) -> Tensor:
    """Scores added up over sequences, `[H, T, T]`."""
    return layer.scores(0, layer.k_BxHxTxD.shape[2]).cpu().double().sum(0)


def _seen(mean_TxT: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    T = len(mean_TxT)
    dark = attention_reference.causal_mask(T, T) if causal else torch.zeros(T, T, dtype=torch.bool)
    return mean_TxT, ~(dark | ~(mean_TxT > DARK))
