"""Translation invariance of a trained model: the same strings at later positions and behind fillers, lines of probes.jsonl.

    positions   every position is `shift` more, nothing else changes: what an encoding of distances alone cannot notice
    fillers     `shift` random symbols of the task before the begin token at positions 0, 1, ..., the content behind them at the
                same positions as above: "Suddenly, the cat sat". The model was never trained on such strings, so this asks more

Compared at the places that say the answer, over the evaluation strings; attention over the first of their blocks.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli import data, task
from rpecli.device import n_cores, stop_signals
from rpecli.evaluate.measure import load
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel
from rpecli.probes import store as kept
from rpecli.probes.attention_weights import at_rows, tap
from rpecli.probes.inputs import Piece, fillers, pieces, strings_at
from rpecli.run import directory as run

SHIFTS = (1, 4, 16, 64, 256)
KINDS = ("positions", "prefix")

Seen = tuple[Tensor, list[Tensor]]  # logits [N, V] at answers, attention [N, H, T] of every layer there


def probe(
    path: Path,
    shifts: tuple[int, ...] = SHIFTS,
    device: str = "auto",
    request: EvalRequest = EvalRequest(),  # noqa: B008 - frozen
    threads: int | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """The lines of a run at its training length, kind by kind; measures and appends those that are not there yet, or all again.

    Raises run.RunError for a run that is not trained, run.Stopped when a signal asks it to stop.
    """
    torch.set_num_threads(threads or n_cores())
    with run.lock(path), stop_signals() as stopped:
        loaded, weights = load(path, device, request)
        length = loaded.config.length
        blocks = strings_at(loaded, length, request.folder)
        same = kept.way(loaded, weights, request) | {"length": length, "fingerprint": data.fingerprint(blocks)}
        have = {} if request.overwrite else known(path, same)
        missing = [(kind, by) for kind in KINDS for by in shifts if (kind, by) not in have]
        for line in measure(loaded, length, blocks, missing, stopped) if missing else []:
            kept.append(path, line | same)
            if progress:
                progress(line)
        have = known(path, same)
        return [have[kind, by] for kind in KINDS for by in shifts]


def known(path: Path, same: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """Lines of probes.jsonl that agree with `same`, by kind and shift; the last of several."""
    return {(line["probe"], line["shift"]): line for line in kept.lines(path, KINDS, same)}


@torch.no_grad()
def measure(
    loaded: LoadedModel, length: int, blocks: list[task.Batch], moves: list[tuple[str, int]], stopped: list[int]
) -> list[dict[str, Any]]:
    """A line for each (kind, shift)."""
    start, sums = time.monotonic(), {move: Sums() for move in moves}
    for piece in pieces(loaded, length, blocks, more=max(by for _, by in moves)):
        before = see(loaded, piece)
        for kind, by in moves:
            if stopped:
                raise run.Stopped(stopped[0])
            there = piece.moved(by, fillers(loaded, length, piece, by) if kind == "prefix" else None)
            sums[kind, by].add(loaded, piece, there, before, see(loaded, there))
    seconds = round((time.monotonic() - start) / len(moves), 3)
    return [{"probe": kind, "shift": by, **sums[kind, by].line(), "seconds": seconds} for kind, by in moves]


def see(loaded: LoadedModel, piece: Piece) -> Seen:
    """Logits at the places that say the answer, and attention there (of the first block; of others none)."""
    with tap(loaded.model) as layers:
        hidden_BxTxM = loaded.model(piece.inputs_BxT, piece.positions)
    logits_NxV = loaded.model.head(hidden_BxTxM[piece.answer_BxT])
    return logits_NxV, [at_rows(layer, piece.answer_BxT) for layer in layers] if piece.block == 0 else []


class Sums:
    """What adds up over pieces: changes of logits, of predictions, of attention."""

    def __init__(self) -> None:
        self.sequences = self.answers = self.watched = 0
        self.largest = self.largest_kl = 0.0
        self.total: dict[str, float] = {}
        self.moved: list[float] = []
        self.on_fillers: list[float] = []

    def add(self, loaded: LoadedModel, piece: Piece, there: Piece, before: Seen, after: Seen) -> None:
        (logits_NxV, attended), (new_NxV, newly) = before, after
        change_NxV = (new_NxV - logits_NxV).double().abs()
        kl_N = _kl(logits_NxV, new_NxV)
        target_N = piece.targets_BxT[piece.answer_BxT]
        right_N, newly_right_N = ((each.argmax(-1) == target_N) for each in (logits_NxV, new_NxV))
        self.sequences, self.answers = self.sequences + len(piece.inputs_BxT), self.answers + len(target_N)
        self.largest = max(self.largest, float(change_NxV.max()))
        self.largest_kl = max(self.largest_kl, float(kl_N.max()))
        added: dict[str, Any] = {
            "logits": change_NxV.mean(1).sum(),
            "kl": kl_N.sum(),
            "changed": (logits_NxV.argmax(-1) != new_NxV.argmax(-1)).sum(),
            "right_before": right_N.sum(),
            "right": newly_right_N.sum(),
            "exact_before": _exact(right_N, piece.answer_BxT),
            "exact": _exact(newly_right_N, piece.answer_BxT),
            "untrained": _untrained(loaded, there),
        }
        for key, value in added.items():
            self.total[key] = self.total.get(key, 0.0) + float(value)
        self._attention(attended, newly)

    def _attention(self, attended: list[Tensor], newly: list[Tensor]) -> None:
        if not attended:
            return
        extra = newly[0].shape[-1] - attended[0].shape[-1]
        moved = [float(total_variation(F.pad(a, (extra, 0)), b).mean(1).sum()) for a, b in zip(attended, newly, strict=True)]
        there = [float(b[..., :extra].double().sum(-1).mean(1).sum()) for b in newly]
        self.moved = [a + b for a, b in zip(self.moved or [0.0] * len(moved), moved, strict=True)]
        self.on_fillers = [a + b for a, b in zip(self.on_fillers or [0.0] * len(there), there, strict=True)]
        self.watched += len(newly[0])

    def line(self) -> dict[str, Any]:
        t, n = self.total, self.answers
        return {
            "n": self.sequences,
            "logits_mean": _digits(t["logits"] / n),
            "logits_max": _digits(self.largest),
            "kl_mean": _digits(t["kl"] / n),
            "kl_max": _digits(self.largest_kl),
            "changed": round(t["changed"] / n, 6),
            "exact_match_before": t["exact_before"] / self.sequences,
            "exact_match": t["exact"] / self.sequences,
            "token_accuracy_before": round(t["right_before"] / n, 6),
            "token_accuracy": round(t["right"] / n, 6),
            "attention": [_digits(each / self.watched) for each in self.moved],
            "on_prefix": [_digits(each / self.watched) for each in self.on_fillers],
            "untrained_positions": round(t["untrained"] / self.sequences, 6),
        }


def total_variation(a_NxHxT: Tensor, b_NxHxT: Tensor) -> Tensor:
    """Half the sum of differences, `[N, H]`: the share of weight that went elsewhere."""
    return (a_NxHxT.double() - b_NxHxT.double()).abs().sum(-1) / 2


def _kl(before_NxV: Tensor, after_NxV: Tensor) -> Tensor:
    """KL divergence in nats of the moved prediction from the first; rounding below 0 is 0."""
    p, q = before_NxV.double().log_softmax(-1), after_NxV.double().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).clamp(min=0)


def _exact(right_N: Tensor, answer_BxT: Tensor) -> Tensor:
    """How many sequences have every answer token right."""
    right_BxT = torch.ones_like(answer_BxT)
    right_BxT[answer_BxT] = right_N
    return right_BxT.all(1).sum()


def _untrained(loaded: LoadedModel, piece: Piece) -> float:
    """Share of tokens at positions that training never touched, times the sequences."""
    where = piece.positions if piece.positions.dim() < 3 else piece.positions[0]
    where_BxT = where.expand(piece.inputs_BxT.shape)
    return max(each.untrained(where_BxT, piece.inputs_BxT) for each in loaded.model.current) / where_BxT.shape[1]


def _digits(value: float) -> float:
    return float(f"{value:.5g}")
