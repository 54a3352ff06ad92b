"""Translation invariance of a trained model: the evaluation sequences at later positions and behind a prefix.

    positions   every position is `shift` more, nothing else changes: an encoding of distances alone gives the same answers
    prefix      `shift` random symbols of the task stand before the begin token, at positions 0, 1, ..., and the sequence behind
                them at the same positions as above; the model was never trained on such sequences, so this asks for more

Compared where the model predicts the answer, over the first BLOCKS blocks of the evaluation set; attention over the first. The
numbers become lines of probes.jsonl.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli import data, objective
from rpecli.device import available_memory
from rpecli.evaluate.eval_set import eval_set
from rpecli.evaluate.load import load
from rpecli.evaluate.measure import untrained_tokens
from rpecli.evaluate.memory import peak_memory
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel
from rpecli.probes import store
from rpecli.probes.attention_weights import attention_rows, capture_layers, n_passes
from rpecli.probes.inputs import ProbeBatch, probe_batches, random_prefix
from rpecli.run.directory import Run, Stopped
from rpecli.run.files import RunError
from rpecli.run.records import ShiftLine, ShiftScores
from rpecli.signals import stop_signals
from rpecli.task import Batch

BLOCKS = 1  # 32 sequences: what decides is the spread over seeds, and the whole set took as long as half of the training
SHIFTS = (1, 4, 16, 64, 256)
LONG = 4096  # a shift that takes long enough to be said before
SECONDS = 10.0  # between two lines of progress
Progress = Callable[[str], None]
Kind = Literal["positions", "prefix"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def probe(
    run: Run,
    shifts: tuple[int, ...] = SHIFTS,
    device: str = "auto",
    request: EvalRequest = EvalRequest(),  # noqa: B008 - frozen
    progress: Progress = lambda _: None,
) -> list[ShiftLine]:
    """The lines of a run at its training length, by kind and shift. Measures and saves those that are not there yet.

    `progress` gets how far that is, in words, where it takes long. Raises RunError for a run that is not trained, and Stopped on
    SIGINT or SIGTERM.
    """
    torch.set_num_threads(run.config.threads)
    with run.lock(required=False), stop_signals() as stopped:
        loaded, weights = load(run, device, request)
        length = loaded.config.length
        blocks = eval_set(loaded.config, loaded.task, length, request.folder)
        identity, fingerprint = store.eval_identity(loaded, weights, request), data.fingerprint(blocks)
        keys = {**identity, "length": length, "fingerprint": fingerprint}
        stored = [] if request.overwrite else store.matching_lines(run, KINDS, keys)
        lines = {(line["probe"], line["shift"]): line for line in stored}
        missing = [(kind, shift) for kind in KINDS for shift in shifts if (kind, shift) not in lines]
        if missing:
            _require_memory(loaded, blocks[0], max(shift for _, shift in missing))
        for scores in measure(loaded, length, blocks[:BLOCKS], missing, stopped, progress) if missing else []:
            line: ShiftLine = {**scores, **identity, "length": length, "fingerprint": fingerprint}
            store.append(run, line)
            lines[line["probe"], line["shift"]] = line
        return [lines[kind, shift] for kind in KINDS for shift in shifts]


def _require_memory(loaded: LoadedModel, block: Batch, shift: int) -> None:
    """Raises RunError where the model does not fit behind the longest prefix, or the attention of one sequence's answers."""
    T, n_answers = block.tokens_BxT.shape[1] + shift, int(block.answer_mask_BxT[0].sum())
    rows = 32 * n_answers * T * loaded.config.n_head * n_passes(loaded)
    needed = 256 * shift + max(rows, peak_memory(loaded, T))
    if needed > available_memory():
        raise RunError(f"a shift by {shift} needs about {needed / 2**30:,.0f} GiB, more than is free: give shorter --shifts")


@torch.no_grad()
def measure(
    loaded: LoadedModel,
    length: int,
    blocks: list[Batch],
    shifts: list[tuple[Kind, int]],
    stopped: list[int],
    progress: Progress = lambda _: None,
) -> list[ShiftScores]:
    """The scores of every (kind, shift). Raises Stopped between two forward passes once `stopped` holds a signal."""
    start, sums = time.monotonic(), {shift: ShiftSums() for shift in shifts}
    said, n_measured, n_all = start, 0, len(shifts) * sum(len(block.tokens_BxT) for block in blocks)
    if (longest := max(by for _, by in shifts)) >= LONG:
        progress(f"measuring shifts up to {longest}")
    for batch in probe_batches(loaded, length, blocks, prefix=longest):
        before = answer_state(loaded, batch)
        for kind, by in shifts:
            if stopped:
                raise Stopped(stopped[0])
            if time.monotonic() - said > SECONDS:
                said = time.monotonic()
                progress(f"{100 * n_measured // n_all} % of the shifts are measured")
            shifted = batch.shifted(by, random_prefix(loaded, length, batch, by) if kind == "prefix" else None)
            sums[kind, by].add(batch, before, answer_state(loaded, shifted))
            sums[kind, by].add_untrained(loaded, shifted)
            n_measured += len(batch.inputs_BxT)
    seconds = round((time.monotonic() - start) / len(shifts), 3)
    return [sums[kind, by].scores(kind, by, seconds) for kind, by in shifts]


@dataclass(frozen=True)
class AnswerState:
    """What a model computes where it predicts the answer."""

    logits_NxV: Tensor
    attention: list[Tensor]  # `[N, H, T]` of every layer; empty outside the first block of the evaluation set


def answer_state(loaded: LoadedModel, batch: ProbeBatch) -> AnswerState:
    with capture_layers(loaded.model) as layers:
        hidden_BxTxM = loaded.model(batch.inputs_BxT, batch.positions)
    logits_NxV = loaded.model.head(hidden_BxTxM[batch.answer_mask_BxT])
    attention = [attention_rows(layer, batch.answer_mask_BxT) for layer in layers] if batch.block == 0 else []
    return AnswerState(logits_NxV, attention)


class ShiftSums:
    """Sums over batches of what one shift changes: logits, predictions, attention."""

    def __init__(self) -> None:
        self.n_sequences = self.n_answers = self.n_attended = 0
        self.logits_max = self.kl_max = self.untrained = 0.0
        self.total: dict[str, float] = {}
        self.attention: list[float] = []  # of each layer
        self.on_prefix: list[float] = []

    def add(self, batch: ProbeBatch, before: AnswerState, after: AnswerState) -> None:
        """Adds the change from a batch to the same batch shifted."""
        change_NxV = (after.logits_NxV - before.logits_NxV).double().abs()
        kl_N = kl_divergence(before.logits_NxV, after.logits_NxV)
        target_N = batch.targets_BxT[batch.answer_mask_BxT]
        prediction_N, new_prediction_N = (objective.predict(state.logits_NxV, batch.sets) for state in (before, after))
        self.n_sequences, self.n_answers = self.n_sequences + len(batch.inputs_BxT), self.n_answers + len(target_N)
        self.logits_max = _larger(self.logits_max, change_NxV)
        self.kl_max = _larger(self.kl_max, kl_N)
        added = {
            "logits": change_NxV.mean(1).sum(),
            "kl": kl_N.sum(),
            "changed": (prediction_N != new_prediction_N).sum(),
            "correct_before": (prediction_N == target_N).sum(),
            "correct": (new_prediction_N == target_N).sum(),
            "exact_before": _n_exact(prediction_N == target_N, batch.answer_mask_BxT),
            "exact": _n_exact(new_prediction_N == target_N, batch.answer_mask_BxT),
        }
        for key, value in added.items():
            self.total[key] = self.total.get(key, 0.0) + float(value)
        if before.attention:
            self._add_attention(before.attention, after.attention)

    def _add_attention(self, before: list[Tensor], after: list[Tensor]) -> None:
        prefix = after[0].shape[-1] - before[0].shape[-1]
        attention = [
            float(total_variation(F.pad(a_NxHxT, (prefix, 0)), b_NxHxT).mean(1).sum())
            for a_NxHxT, b_NxHxT in zip(before, after, strict=True)
        ]
        on_prefix = [float(b_NxHxT[..., :prefix].double().sum(-1).mean(1).sum()) for b_NxHxT in after]
        self.attention = [old + new for old, new in zip(self.attention or [0.0] * len(after), attention, strict=True)]
        self.on_prefix = [old + new for old, new in zip(self.on_prefix or [0.0] * len(after), on_prefix, strict=True)]
        self.n_attended += len(after[0])

    def add_untrained(self, loaded: LoadedModel, shifted: ProbeBatch) -> None:
        """Adds the tokens of a shifted batch that use parameters which training never touched."""
        tokens = untrained_tokens(loaded.model, shifted.inputs_BxT, shifted.positions)
        self.untrained += tokens / shifted.inputs_BxT.shape[1]

    def scores(self, kind: Kind, shift: int, seconds: float) -> ShiftScores:
        total, n_answers, n_sequences = self.total, self.n_answers, self.n_sequences
        return {
            "probe": kind,
            "shift": shift,
            "n": n_sequences,
            "logits_mean": _five_digits(total["logits"] / n_answers),
            "logits_max": _five_digits(self.logits_max),
            "kl_mean": _five_digits(total["kl"] / n_answers),
            "kl_max": _five_digits(self.kl_max),
            "changed": round(total["changed"] / n_answers, 6),
            "exact_match_before": total["exact_before"] / n_sequences,
            "exact_match": total["exact"] / n_sequences,
            "token_accuracy_before": round(total["correct_before"] / n_answers, 6),
            "token_accuracy": round(total["correct"] / n_answers, 6),
            "attention": [_five_digits(change / self.n_attended) for change in self.attention],
            "on_prefix": [_five_digits(weight / self.n_attended) for weight in self.on_prefix],
            "untrained_positions": round(self.untrained / n_sequences, 6),
            "seconds": seconds,
        }


def total_variation(a_NxHxT: Tensor, b_NxHxT: Tensor) -> Tensor:
    """Half the sum of absolute differences, `[N, H]`: the share of attention that went elsewhere."""
    return (a_NxHxT.double() - b_NxHxT.double()).abs().sum(-1) / 2


def kl_divergence(before_NxV: Tensor, after_NxV: Tensor) -> Tensor:
    """KL divergence `[N]` in nats of the predictions after from those before; rounding below 0 is 0."""
    log_p, log_q = before_NxV.double().log_softmax(-1), after_NxV.double().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).clamp(min=0)


def _n_exact(is_correct_N: Tensor, answer_mask_BxT: Tensor) -> Tensor:
    """The number of sequences with every answer token right."""
    is_correct_BxT = torch.ones_like(answer_mask_BxT)
    is_correct_BxT[answer_mask_BxT] = is_correct_N
    return is_correct_BxT.all(1).sum()


def _larger(largest: float, values: Tensor) -> float:
    """The largest so far; not a number once one of the values is none, which Python's `max` would forget."""
    return float(torch.cat([values.flatten(), values.new_tensor([largest])]).max())


def _five_digits(value: float) -> float | None:
    """None for what is not a number, or infinite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
