"""Where a run's heads look and why, as plain values: by distance and length, by rule, by term; and how alike runs look.

Over the first block of the evaluation strings of each length; distances, entropies and rules of the rows that say the answer.
A run's numbers become a line of its probes.jsonl, a pair's similarity one of the run whose name comes first: what is there
already is not measured again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rpecli import data, task
from rpecli.config import ranges as config_ranges
from rpecli.device import available_memory, n_cores
from rpecli.evaluate import hf_dataset as export
from rpecli.evaluate.measure import load
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel
from rpecli.probes import mean_scores as scores
from rpecli.probes import score_terms as terms
from rpecli.probes import similarity
from rpecli.probes import store as kept
from rpecli.probes.attention_weights import at_rows, layers
from rpecli.probes.head_patterns import Looks, named
from rpecli.probes.inputs import Piece, pieces, strings_at
from rpecli.run import directory as run
from rpecli.run.files import RunError

LENGTHS = "1x,2x,4x"
KEPT = 1 << 24  # cells of attention that a run keeps to be compared with others
WHOLE = 1 << 24  # cells of a layer's scores [H, T, T] up to which whole matrices are looked at: terms, functions of i-j


@dataclass(frozen=True)
class Looked:
    """A run, how it was looked at, and what was seen."""

    path: Path
    request: EvalRequest
    task: str
    way: dict[str, Any]
    data: dict[str, Any]

    @property
    def name(self) -> dict[str, Any]:
        return {"run": self.path.name, **self.way}

    @property
    def ground(self) -> tuple[Any, ...]:
        """What two runs must share to be compared: task, strings and direction."""
        trained = self.data["trained"]
        return self.task, trained, self.data["fingerprints"][str(trained)], self.way["eval_seed"], self.data["causal"]


def inspect(
    paths: Sequence[Path],
    lengths: str = LENGTHS,
    device: str = "auto",
    requests: Mapping[Path, EvalRequest] | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """`{"runs": [...], "similarity": [...]}`. Raises run.RunError that names what cannot be read."""
    torch.set_num_threads(threads or n_cores())
    made = [look_into(path, lengths, device, (requests or {}).get(path, EvalRequest())) for path in paths]
    return {"runs": [each.data for each in made], "similarity": list(_similar(made, device))}


@torch.no_grad()
def look_into(path: Path, lengths: str, device: str, request: EvalRequest) -> Looked:
    """One run, from its probes.jsonl if it has been looked at in this way, else measured and kept there."""
    with run.lock(path):
        loaded, weights = load(path, device, request)
        wanted, left_out = _lengths(loaded, lengths, request.folder)
        sets = {n: strings_at(loaded, n, request.folder) for n in wanted}
        way = kept.way(loaded, weights, request)
        same = way | {"fingerprints": {str(n): data.fingerprint(blocks) for n, blocks in sets.items()}}
        found = [] if request.overwrite else kept.lines(path, ["why"], same)
        if not found:
            found = [{"probe": "why", **same, **_measured(loaded, {n: blocks[0] for n, blocks in sets.items()})}]
            kept.append(path, found[0])
    line = {key: value for key, value in found[-1].items() if key != "probe"}
    return Looked(path, request, loaded.config.task, way, kept.facts(path, request) | line | {"left_out": left_out})


def _lengths(loaded: LoadedModel, lengths: str, folder: Path | None) -> tuple[list[int], list[int]]:
    """What is looked at, the training length and half of it among it; what there are no strings of."""
    config, longest = loaded.config, loaded.task.longest()
    asked = {config.length, *config_ranges.parse_lengths(lengths, config.length)}
    if folder is None:
        asked.add(_half(loaded))
        there = {n for n in asked if longest is None or n <= longest}
    else:
        there = asked & set(export.lengths_of(folder)) | {config.length}
    return sorted(there), sorted(asked - there)


def _half(loaded: LoadedModel) -> int:
    return max(loaded.config.min_length, loaded.config.length // 2)


def _measured(loaded: LoadedModel, blocks: dict[int, task.Batch]) -> dict[str, Any]:
    config, causal = loaded.config, loaded.config.attention == "causal"
    for n, block in blocks.items():
        _fits(loaded, n, block)
    seen = {n: list(pieces(loaded, n, [block])) for n, block in blocks.items()}
    looks = {n: _looks(loaded, each) for n, each in seen.items()}
    by_layer = [{n: each[layer] for n, each in looks.items()} for layer in range(config.n_layer)]
    return {
        "normalizer": config.normalizer,
        "trained": config.length,
        "causal": causal,
        "lengths": [{"length": n, **_length(loaded, seen[n], looks[n], causal)} for n in blocks],
        "patterned_heads": named(by_layer, config.length, _other(loaded, list(blocks))),
    }


def _other(loaded: LoadedModel, lengths: list[int]) -> int:
    """The length that tells how a rule grows: half the training length, else the next one above."""
    trained = loaded.config.length
    half = [n for n in lengths if n == _half(loaded) and n < trained]
    return half[0] if half else min((n for n in lengths if n != trained), key=lambda n: (n < trained, n), default=trained)


def _fits(loaded: LoadedModel, length: int, batch: task.Batch) -> None:
    """Attention at one sequence's answers, and whole scores where they are looked at, in float32 and float64, have to fit."""
    T, H = batch.tokens_BxT.shape[1], loaded.config.n_head
    whole = T * T * H * (128 + 8 * loaded.config.n_layer) if _whole(loaded, T) else 0
    needed = max(32 * int(batch.answer_BxT[0].sum()) * T * H, whole)
    if needed > available_memory():
        raise RunError(f"length {length}: its attention needs about {needed / 2**30:.0f} GiB: give shorter --lengths")


def _whole(loaded: LoadedModel, T: int) -> bool:
    return loaded.config.n_head * T * T <= WHOLE


def _looks(loaded: LoadedModel, seen: list[Piece]) -> list[Looks]:
    config, T = loaded.config, seen[0].inputs_BxT.shape[1]
    sums = [Looks(config.n_head, T) for _ in range(config.n_layer)]
    for piece in seen:
        i_N = piece.answer_BxT.nonzero()[:, 1]
        t_N = (piece.answer_BxT.cumsum(1) - 1)[piece.answer_BxT]
        for each, layer in zip(sums, layers(loaded, piece), strict=True):
            each.add(at_rows(layer, piece.answer_BxT), i_N, t_N, layer.causal)
    return sums


def _length(loaded: LoadedModel, seen: list[Piece], looks: list[Looks], causal: bool) -> dict[str, Any]:
    """What is said of one length; no terms where no position is added, nor where the matrices are too large."""
    T = seen[0].inputs_BxT.shape[1]
    whole = _whole(loaded, T)
    found = []
    for each in looks:
        lines = each.by_distance(causal)
        found.append([{"head": h + 1, **each.facts(h), "by_distance": line} for h, line in enumerate(lines)])
    return {
        "sequence": T,
        "n": sum(len(piece.inputs_BxT) for piece in seen),
        "layers": found,
        "scores": scores.measure(loaded, seen) if whole else None,
        "terms": terms.measure(loaded.model, seen) if whole and terms.applies(loaded.model) else None,
    }


# -------------------------------------------------------------------------------------------------------------- similarity


def _similar(made: list[Looked], device: str) -> Iterator[dict[str, Any]]:
    """Every pair of runs on the same strings of the same task; others cannot be compared."""
    for ground in dict.fromkeys(each.ground for each in made):
        here = sorted((each for each in made if each.ground == ground), key=lambda each: str(each.name))
        see = cache(partial(_attended, here, device))
        for n in range(len(here)):
            yield from _pairs(here, n, see)


def _pairs(here: list[Looked], n: int, see: Callable[[int], list[Tensor]]) -> Iterator[dict[str, Any]]:
    """A run with each that comes after it by name; what its probes.jsonl lacks is measured and kept there."""
    first, others = here[n], range(n + 1, len(here))
    mine = {**first.way, "length": first.data["trained"], "fingerprint": first.ground[2]}
    have = {str(line["other"]): line for line in kept.lines(first.path, ["similarity"], mine)} if others else {}
    for m in others:
        second = here[m]
        line = have.get(str(second.name))
        if line is None or first.request.overwrite or second.request.overwrite:
            line = {"probe": "similarity", **mine, "other": second.name, "layers": similarity.pair(see(n), see(m))}
            with run.lock(first.path):
                kept.append(first.path, line)
        both = {key: [each.data[key] for each in (first, second)] for key in ("run", "encoding_override", "label")}
        yield {
            "runs": both["run"],
            "encoding_overrides": both["encoding_override"],
            "labels": both["label"],
            "task": first.data["task"],
            "layers": line["layers"],
        }


@torch.no_grad()
def _attended(here: list[Looked], device: str, n: int) -> list[Tensor]:
    """Attention at the answers of as many sequences as KEPT allows a run of 8 heads, which every run of a task shares."""
    each = here[n]
    loaded, _ = load(each.path, device, each.request)
    length = loaded.config.length
    piece = next(pieces(loaded, length, strings_at(loaded, length, each.request.folder)[:1]))
    rows = int(piece.answer_BxT[0].sum()) * piece.answer_BxT.shape[1] * 8
    keep_BxT = piece.answer_BxT.clone()
    keep_BxT[max(1, KEPT // rows) :] = False
    return [at_rows(layer, keep_BxT).cpu() for layer in layers(loaded, piece)]
