"""How alike runs attend: 1 - JS/ln 2, from the Jensen-Shannon divergence at the same places of the same sequences.

Heads have no common order, so they are compared twice: as the mean over a layer's heads, and in the pairing that makes them most
alike (Hungarian method). Layers are compared with the layer of the same number.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rpecli.evaluate.eval_set import eval_set
from rpecli.evaluate.load import load
from rpecli.probes import store
from rpecli.probes.attention_weights import attention_rows, layer_inputs
from rpecli.probes.inputs import probe_batches
from rpecli.probes.store import InspectedRun
from rpecli.run.records import LayerSimilarity, SimilarityLine, eval_identity_of

MAX_CELLS = 1 << 24  # of attention that a run of 8 heads keeps to be compared with others


def divergence(a_NxT: Tensor, b_NxT: Tensor) -> float:
    """Mean Jensen-Shannon divergence in nats of the rows of two matrices, each row normalised to a distribution."""
    a, b = (matrix.double() / matrix.double().sum(-1, keepdim=True).clamp(min=1e-12) for matrix in (a_NxT, b_NxT))
    mixture_entropy = torch.special.entr((a + b) / 2).sum(-1)
    return max(0.0, float((mixture_entropy - (torch.special.entr(a) + torch.special.entr(b)).sum(-1) / 2).mean()))


def layer_similarity(a_NxHxT: Tensor, b_NxGxT: Tensor) -> LayerSimilarity:
    """Similarity of the attention of two layers: of their means over heads, and of their best pairing of heads."""
    cost = [[divergence(a, b) for b in b_NxGxT.unbind(1)] for a in a_NxHxT.unbind(1)]
    pairs = [(int(a), int(b)) for a, b in zip(*linear_sum_assignment(cost), strict=True)]
    return {
        "mean": _similarity(divergence(a_NxHxT.mean(1), b_NxGxT.mean(1))),
        "paired": _similarity(sum(cost[a][b] for a, b in pairs) / len(pairs)),
        "pairs": [[a + 1, b + 1] for a, b in pairs],
    }


def _similarity(js_divergence: float) -> float:
    return round(1 - min(1.0, js_divergence / math.log(2)), 6)


def run_similarity(first: list[Tensor], second: list[Tensor]) -> list[LayerSimilarity]:
    """Similarity layer by layer, as far as both runs have one."""
    return [layer_similarity(a, b) for a, b in zip(first, second, strict=False)]


def compare_runs(inspected: Sequence[InspectedRun], device: str) -> Iterator[dict[str, Any]]:
    """The similarity of every two runs of the same task on the same evaluation set; other pairs cannot be compared."""
    for condition in dict.fromkeys(run.comparable_by for run in inspected):
        runs = sorted((run for run in inspected if run.comparable_by == condition), key=lambda run: str(run.name))
        attention = cache(partial(_answer_attention, runs, device))
        for number in range(len(runs) - 1):
            yield from _compare_with_later(runs, number, attention)


def _compare_with_later(
    runs: list[InspectedRun], number: int, attention: Callable[[int], list[Tensor]]
) -> Iterator[dict[str, Any]]:
    """Compares a run with those that come after it by name. What its probes.jsonl lacks is measured and added there."""
    first = runs[number]
    length, fingerprint = first.line["train_length"], first.fingerprint
    keys = {**first.identity, "length": length, "fingerprint": fingerprint}
    stored = {
        (line["other"]["run"], eval_identity_of(line["other"])): line
        for line in store.matching_lines(first.run, ["similarity"], keys)
    }
    for other in range(number + 1, len(runs)):
        second = runs[other]
        name = second.run.name, eval_identity_of(second.name)
        if name in stored and not (first.request.overwrite or second.request.overwrite):
            line: SimilarityLine = stored[name]
        else:
            layers = run_similarity(attention(number), attention(other))
            line = {"probe": "similarity", **first.identity, "length": length, "fingerprint": fingerprint,
                    "other": second.name, "layers": layers}  # fmt: skip
            with first.run.lock(required=False):
                store.append(first.run, line)
        names = [store.run_names(inspected.run, inspected.request) for inspected in (first, second)]
        yield {
            "runs": [name["run"] for name in names],
            "encoding_overrides": [name["encoding_override"] for name in names],
            "labels": [name["label"] for name in names],
            "task": names[0]["task"],
            "layers": line["layers"],
        }


@torch.no_grad()
def _answer_attention(runs: list[InspectedRun], device: str, number: int) -> list[Tensor]:
    """A run's attention `[N, H, T]` at the answers of as many sequences as MAX_CELLS allows: the same for all runs of a task."""
    request = runs[number].request
    loaded, _ = load(runs[number].run, device, request)
    length = loaded.config.length
    block = eval_set(loaded.config, loaded.task, length, request.folder)[:1]
    batch = next(probe_batches(loaded, length, block))
    cells = int(batch.answer_mask_BxT[0].sum()) * batch.answer_mask_BxT.shape[1] * 8  # of one sequence
    rows_BxT = batch.answer_mask_BxT.clone()
    rows_BxT[max(1, MAX_CELLS // cells) :] = False
    return [attention_rows(layer, rows_BxT).cpu() for layer in layer_inputs(loaded, batch)]
