"""How much of every head's mean score over sequences is a function of i-j: bias included, whatever the encoding.

A model without an encoding that has learned to tell distances shows it here.
"""

from torch import Tensor

from rpecli.attention import reference as attention_reference
from rpecli.model import LoadedModel
from rpecli.probes import toeplitz
from rpecli.probes.attention_weights import layer_inputs
from rpecli.probes.inputs import ProbeBatch
from rpecli.run.records import HeadFit


def measure(loaded: LoadedModel, batches: list[ProbeBatch]) -> list[list[HeadFit]]:
    """One fit per head, layer by layer."""
    sums: list[Tensor] = []  # `[H, T, T]` of each layer
    for batch in batches:
        layers = layer_inputs(loaded, batch)
        scores = [layer.scores(0, layer.k_BxHxTxD.shape[2]).cpu().double().sum(0) for layer in layers]
        sums = [old + new for old, new in zip(sums, scores, strict=True)] if sums else scores
    n = sum(len(batch.inputs_BxT) for batch in batches)
    causal = loaded.config.attention == "causal"
    fits = [toeplitz.fits([_with_visible_pairs(sum_TxT / n, causal) for sum_TxT in layer]) for layer in sums]
    return [[{"head": n_head + 1, **fit} for n_head, fit in enumerate(layer)] for layer in fits]


def _with_visible_pairs(mean_TxT: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    visible_TxT = mean_TxT > attention_reference.MASKED
    return mean_TxT, visible_TxT & ~attention_reference.causal_mask(*mean_TxT.shape) if causal else visible_TxT
