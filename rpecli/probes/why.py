"""Where a run's heads look and why, as plain values: by distance and length, by rule, by term; and how alike runs look.

Over the first block of the evaluation strings of each length; distances, entropies and rules of the rows that say the answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rpecli import attention, data, recipe, run, task
from rpecli.evaluate import available, load, strings
from rpecli.order import Order
from rpecli.probes import similarity, terms, toeplitz
from rpecli.probes.look import Looks, named
from rpecli.probes.pieces import Piece, pieces
from rpecli.probes.weights import Layer, at_rows, tap
from rpecli.train import Trainer

LENGTHS = "1x,2x,4x"
KEPT = 1 << 24  # cells of attention that a run keeps to be compared with others
DARK = -1e4  # scores below it are masking, whatever number an encoding masks with


@dataclass
class Run:
    """One run's numbers, and its attention where it says the answers of the training length."""

    data: dict[str, Any]
    task: str
    strings: str
    attended: list[Tensor] = field(default_factory=list)


def inspect(
    paths: Sequence[Path],
    lengths: str = LENGTHS,
    device: str = "auto",
    order: Order = Order(),  # noqa: B008 - frozen
    threads: int | None = None,
) -> dict[str, Any]:
    """`{"runs": [...], "similarity": [...]}`. Raises run.RunError that names what cannot be read."""
    torch.set_num_threads(threads or run.cores())
    made = [look_into(path, lengths, device, order) for path in paths]
    return {"runs": [each.data for each in made], "similarity": list(_similar(made))}


@torch.no_grad()
def look_into(path: Path, lengths: str, device: str, order: Order) -> Run:
    trainer, weights = load(path, device, order)
    config, info = trainer.config, run.read(path)
    wanted, left_out, other = _lengths(trainer, lengths)
    blocks = {n: strings(config, trainer.task, n)[:1] for n in wanted}
    for n in wanted:
        _fits(trainer, n, blocks[n][0])
    seen = {n: list(pieces(trainer, n, blocks[n])) for n in wanted}
    looks = {n: _looks(trainer, seen[n]) for n in wanted}
    made = Run({}, config.task, data.fingerprint(blocks[config.length]))
    made.data = {
        "run": path.name, "task": info["task"], "encoding": info["encoding"], "as": order.encoding,
        "group": info.get("group"), "seed": info["seed"], "weights": weights, "normalizer": config.normalizer,
        "positions": data.fixed_kind(config), "trained": config.length, "causal": _causal(trainer),
        "left_out": left_out,
        "lengths": [{"length": n, "fingerprint": data.fingerprint(blocks[n])} | _length(seen[n], looks[n], _causal(trainer))
                    for n in wanted],
        "look_back": named([{n: looks[n][layer] for n in wanted} for layer in range(config.n_layer)], config.length, other),
        "terms": terms.measure(trainer.model, seen[config.length]) if terms.applies(trainer.model) else None,
        "scores": _scores(trainer, seen[config.length]),
    }  # fmt: skip
    made.attended = _attended(trainer, seen[config.length])
    return made


def _causal(trainer: Trainer) -> bool:
    return trainer.config.attention == "causal"


def _lengths(trainer: Trainer, lengths: str) -> tuple[list[int], list[int], int]:
    """What is looked at, half the training length among it; what the task has no problems of; the length that tells growth."""
    config, longest = trainer.config, trainer.task.longest()
    half = max(config.min_length, config.length // 2)
    asked = {half, config.length, *recipe.parse_lengths(lengths, config.length)}
    found = {n for n in asked if longest is None or n <= longest}
    other = half if half < config.length else min((n for n in found if n > config.length), default=config.length)
    return sorted(found), sorted(asked - found), other


def _fits(trainer: Trainer, length: int, batch: task.Batch) -> None:
    """Attention at one sequence's answers, in float32 and float64, has to fit."""
    needed = 32 * int(batch.answer_BxT[0].sum()) * batch.answer_BxT.shape[1] * trainer.config.n_head
    if needed > available():
        raise run.RunError(f"length {length}: its attention needs about {needed / 2**30:.0f} GiB: give shorter --lengths")


def _layers(trainer: Trainer, piece: Piece) -> list[Layer]:
    with tap(trainer.model) as layers:
        trainer.model(piece.inputs_BxT, piece.positions)
    return layers


def _looks(trainer: Trainer, seen: list[Piece]) -> list[Looks]:
    config, T = trainer.config, seen[0].inputs_BxT.shape[1]
    sums = [Looks(config.n_head, T) for _ in range(config.n_layer)]
    for piece in seen:
        i_N = piece.answer_BxT.nonzero()[:, 1]
        t_N = (piece.answer_BxT.cumsum(1) - 1)[piece.answer_BxT]
        for each, layer in zip(sums, _layers(trainer, piece), strict=True):
            each.add(at_rows(layer, piece.answer_BxT), i_N, t_N, layer.causal)
    return sums


def _length(seen: list[Piece], looks: list[Looks], causal: bool) -> dict[str, Any]:
    n = sum(len(piece.inputs_BxT) for piece in seen)
    layers = []
    for each in looks:
        lines = each.by_distance(causal)
        layers.append([{"head": h + 1, **each.facts(h), "by_distance": line} for h, line in enumerate(lines)])
    return {"sequence": seen[0].inputs_BxT.shape[1], "n": n, "layers": layers}


def _scores(trainer: Trainer, seen: list[Piece]) -> list[list[dict[str, Any]]]:
    """How much of every layer's and head's mean score, bias included, is a function of i-j."""
    sums: list[Tensor] = []
    for piece in seen:
        added = [layer.scores(0, piece.inputs_BxT.shape[1]).cpu().double().sum(0) for layer in _layers(trainer, piece)]
        sums = [a + b for a, b in zip(sums, added, strict=True)] if sums else added
    n = sum(len(piece.inputs_BxT) for piece in seen)
    return [[{"head": h + 1, **_fit(each / n, _causal(trainer))} for h, each in enumerate(layer)] for layer in sums]


def _fit(mean_TxT: Tensor, causal: bool) -> dict[str, float | None]:
    T = len(mean_TxT)
    dark = attention.causal_mask(T, T) if causal else torch.zeros(T, T, dtype=torch.bool)
    return toeplitz.fit(mean_TxT, ~(dark | ~(mean_TxT > DARK)))


def _attended(trainer: Trainer, seen: list[Piece]) -> list[Tensor]:
    """Attention at the answers of as many sequences as KEPT allows a run of 8 heads, which every run of a task shares."""
    piece = seen[0]
    rows = int(piece.answer_BxT[0].sum()) * piece.answer_BxT.shape[1] * 8
    keep_BxT = piece.answer_BxT.clone()
    keep_BxT[max(1, KEPT // rows) :] = False
    return [at_rows(layer, keep_BxT).cpu() for layer in _layers(trainer, piece)]


def _similar(made: list[Run]) -> Iterator[dict[str, Any]]:
    """Every pair of runs on the same strings of the same task; others cannot be compared."""
    for n, first in enumerate(made):
        for second in made[n + 1 :]:
            same = (first.task, first.strings, first.data["trained"], first.data["causal"]) == (
                second.task, second.strings, second.data["trained"], second.data["causal"])  # fmt: skip
            if same:
                layers = similarity.pair(first.attended, second.attended)
                yield {"runs": [first.data["run"], second.data["run"]], "task": first.data["task"], "layers": layers}
