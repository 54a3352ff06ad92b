"""The training loop: batch, forward, loss, backward, clip, schedule, update; validate, save, resume.

A run that is killed at any moment and started again ends bit for bit as if it had not been (CPU, same machine): data is a pure
function of the step, and the checkpoint holds weights, optimizer state and counters. Validation sees training lengths only.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rpecli import catalog, data, objective, process, tensor_file
from rpecli.attention.reference import split_heads
from rpecli.config.recipe import Config
from rpecli.device import peak_memory, to_device, tune_malloc
from rpecli.model import Attention, Transformer, max_train_positions
from rpecli.run.code import shipped_code
from rpecli.run.directory import Run, Status, Stopped
from rpecli.run.provenance import now, provenance, sources
from rpecli.run.records import MetricsLine, MetricsScores
from rpecli.signals import stop_signals
from rpecli.task import Batch
from rpecli.train.batches import TrainBatch, draw_batch
from rpecli.train.chosen import Choice
from rpecli.train.scores import scores
from rpecli.train.state import Trainer, build_trainer, load_checkpoint, save_checkpoint

SAVE_SECONDS = 15.0  # between checkpoints
Progress = Callable[[MetricsLine], None]  # a new line of metrics.jsonl


class Diverged(RuntimeError):  # noqa: N818 - what happened, not a mistake in the code
    """The training loss is not finite."""


def train(run: Run, device: str = "auto", progress: Progress | None = None, nproc: int = 1) -> dict[str, Any]:
    """Trains a run to its end, from where it stands, with `nproc` processes, and returns its record.

    Raises Stopped after saving when a signal asks it to stop, Diverged when the loss is not finite.
    """
    from rpecli.train import parallel

    torch.set_num_threads(run.config.threads)
    if run.is_trained:
        return run.record
    with run.lock():
        if run.is_trained:  # by the process that held it
            return run.record
        with parallel.processes(run, device, nproc):
            trainer, resumed = build_or_load(run, parallel.device_here(device))  # a signal ends this at once: nothing is lost
            if process.size() > 1:
                trainer.share = parallel.Share(trainer)
            sets = data.validation_sets(trainer.task, trainer.config)
            with stop_signals() as stopped:
                record = _train(start(run, trainer, resumed), sets, progress, stopped)
        if stopped:  # too late for the run, in time for whatever was to follow
            raise Stopped(stopped[0])
        return record


def _train(session: "TrainingSession", sets: list[Batch], progress: Progress | None, stopped: list[int]) -> dict[str, Any]:
    trainer, config, saved = session.trainer, session.trainer.config, time.monotonic()
    while trainer.step < config.steps:
        step(trainer)
        if should_validate(trainer):
            line = session.validate(sets)
            if progress:
                progress(line)
            if anywhere(trainer, should_stop(config, line)):
                break
        if anywhere(trainer, stopped):
            session.save()
            session.run.update(status=Status.STOPPED)
            raise Stopped(stopped[0])
        if time.monotonic() - saved > SAVE_SECONDS:
            session.save()
            saved = time.monotonic()
    return session.finish()


def step(trainer: Trainer) -> None:
    """One optimizer step on the batch of `trainer.step`."""
    config, model, optimizer = trainer.config, trainer.model, trainer.optimizer
    batch = draw_batch(trainer, trainer.step)
    model.train()
    model.switch(trainer.step >= config.switch_fraction * config.steps)  # rope:then=none: to the encoding of the last steps
    seed_dropout(config, trainer.step, trainer.share.rank if trainer.share else 0)
    loss = trainer.share.backward(batch) if trainer.share else backward(trainer, batch)
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, trainer.step)
    optimizer.step()
    optimizer.zero_grad()
    trainer.step += 1
    trainer.tokens += batch.n_tokens
    trainer.losses.append(loss)


def anywhere(trainer: Trainer, flag: object) -> bool:
    """Whether a flag is set in this process, or in one of those that train the run together."""
    return trainer.share.any(flag) if trainer.share else bool(flag)


def backward(trainer: Trainer, batch: TrainBatch) -> Tensor:
    """Leaves the gradients of the mean loss of a batch in the parameters, and returns that loss."""
    loss = answer_losses(trainer.model, batch, trainer.device).mean() + penalty(trainer)
    loss.backward()
    return loss.detach()


def penalty(trainer: Trainer) -> Tensor | float:
    """What the loss has beside the losses of the targets."""
    config = trainer.config
    if not config.position_penalty:
        return 0.0
    return config.position_penalty * position_score_size(trainer.model, max_train_positions(config, trainer.task))


def seed_dropout(config: Config, step: int, rank: int) -> None:
    """Makes what a step drops a function of the step, so that a resumed run drops the same, and of the process.

    Processes that train a run together have other sequences each: with one seed, they would drop the same units of all of them.
    """
    if config.dropout:
        numbers = [data.data_seed(config), step, *([rank] if rank else [])]
        torch.manual_seed(int(data.task_generator("dropout", config, *numbers).integers(2**62)))


def answer_losses(model: Transformer, batch: TrainBatch, device: torch.device) -> Tensor:
    """The loss of every target that counts, `[N]`; the last layer computes no other place."""
    examples, positions = batch.examples, to_device(batch.positions, device)
    trained_BxT = examples.trained_mask_BxT
    first = int(trained_BxT.any(0).argmax()) if device.type == "cpu" else 0  # elsewhere a mask would turn the flash kernel off
    trained_BxT = trained_BxT[:, first:]
    trained_N = None if trained_BxT.all() else torch.from_numpy(np.flatnonzero(trained_BxT)).to(device)
    targets_N = torch.from_numpy(examples.targets_BxT[:, first:][trained_BxT]).to(device)
    ids_BxT, padding_mask_BxT = torch.from_numpy(examples.inputs_BxT).to(device), to_device(examples.padding_mask_BxT, device)
    hidden = model(ids_BxT, positions, padding_mask_BxT, query_start=first, query_index_N=trained_N)
    return objective.losses(model.head(hidden).flatten(0, -2), targets_N, examples.sets)


def position_score_size(model: Transformer, n_positions: int) -> Tensor:
    """The mean over positions j of sum_{i >= j} (p_i W_q . p_j W_k)^2, summed over layers and heads.

    p is what an encoding adds to the embeddings for a position; 0 for encodings that add nothing. The regularizer of Huang et al.
    2025 (arXiv 2410.02140).
    """
    positions_1xP = torch.arange(n_positions, device=model.embedding.weight.device)[None]
    p_1xPxM = model.embedding.weight.new_zeros(1, n_positions, model.embedding.weight.shape[1])
    for encoding in dict.fromkeys(model.current):
        p_1xPxM = encoding.embed(p_1xPxM, positions_1xP, torch.zeros_like(positions_1xP))
    total = p_1xPxM.new_zeros(())
    for block in model.blocks:
        attention: Attention = block.attention  # type: ignore[assignment]
        q, k = (split_heads(p_1xPxM @ linear.weight.T, attention.n_head) for linear in (attention.q, attention.k))
        total = total + (q @ k.transpose(-1, -2)).tril().square().sum(dim=-2).mean(dim=-1).sum()
    return total


def learning_rate(config: Config, step: int) -> float:
    """Linear warm-up to lr, then down to lr_end x lr at the last step, by a cosine or a line."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    share = min(1.0, (step - config.warmup) / max(1, config.steps - 1 - config.warmup))
    left = 1 - share if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * share))
    return config.lr * (config.lr_end + (1 - config.lr_end) * left)


@dataclass
class TrainingSession:
    """A run that this process trains: its trainer and its clock."""

    run: Run
    trainer: Trainer
    earlier_seconds: float  # of the sessions before this one
    choice: Choice | None = None  # of the checkpoint that is kept, where it is not the last
    start: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return round(self.earlier_seconds + time.monotonic() - self.start, 3)

    def validate(self, sets: list[Batch]) -> MetricsLine:
        """A new line of metrics.jsonl. Raises Diverged."""
        try:
            scores = validate(self.trainer, sets)
        except Diverged:
            self.run.update(diverged=self.trainer.step)
            raise
        if self.choice:
            scores["checkpoint_match"] = self.choice.look()
        line: MetricsLine = {**scores, "seconds": self.seconds()}
        self.run.append_metrics(line)
        return line

    def save(self) -> None:
        save_checkpoint(self.trainer, self.run, self.choice.state if self.choice else {})
        self.run.update(step=self.trainer.step, tokens=self.trainer.tokens, seconds=self.seconds())

    def finish(self) -> dict[str, Any]:
        """Writes the weights, then the record that says so; returns the record."""
        tensor_file.write(self.run.weights_file, self.choice.weights if self.choice else self.trainer.model.state())
        seconds, tokens = self.seconds(), self.trainer.tokens
        record = self.run.update(
            status=Status.TRAINED,
            step=self.trainer.step,
            tokens=tokens,
            seconds=seconds,
            finished=now(),
            weights=catalog.fingerprint(self.run.weights_file),
            steps_to_accuracy=steps_to_accuracy(self.run.metrics()),
            peak_memory=peak_memory(self.trainer.device),
            tokens_per_second=round(tokens / max(seconds, 1e-9)),
            **({"checkpoint": self.choice.record} if self.choice else {}),
        )
        self.run.checkpoint_file.unlink(missing_ok=True)
        return record


def build_or_load(run: Run, device: torch.device) -> tuple[Trainer, bool]:
    """A new trainer, or that of the run's checkpoint, and which of the two; validations after the checkpoint are removed."""
    trainer = new_or_loaded(run, device)
    if resumed := run.checkpoint_file.exists():
        run.cut_metrics(trainer.step)
    return trainer, resumed


def new_or_loaded(run: Run, device: torch.device) -> Trainer:
    """The trainer of `build_or_load`, with no file changed."""
    trainer = build_trainer(run.config, device)
    tune_malloc()
    if run.checkpoint_file.exists():
        load_checkpoint(trainer, run)
    return trainer


def start(run: Run, trainer: Trainer, resumed: bool, stacked: int | None = None) -> TrainingSession:
    """Records that a run is started or resumed; `stacked` is how many runs train as one."""
    record, choice = run.record, Choice.of(run, trainer, resumed)
    if not resumed:
        run.metrics_file.unlink(missing_ok=True)
        code = {"sources": sources(run.config), "code": shipped_code(run.config)}
        run.update(**code)  # that trains it, not that created it
    stacked = stacked or (record.get("stacked") if resumed else None)
    state = {"status": Status.TRAINING, "error": None, "started": now(), "stacked": stacked, **process.this_process()}
    state |= {"diverged": 0} if "diverged" in record else {}
    if trainer.share or "processes" in record:
        state["processes"] = trainer.share.size if trainer.share else 1
    run.update(**state, **_facts(trainer), **provenance())
    return TrainingSession(run, trainer, record.get("seconds", 0.0) if resumed else 0.0, choice)


def should_validate(trainer: Trainer) -> bool:
    """Whether a validation follows the step just done."""
    return trainer.step % trainer.config.validate_every == 0 or trainer.step == trainer.config.steps


def should_stop(config: Config, line: MetricsLine) -> bool:
    """Whether a line of metrics.jsonl ends the run before its last step."""
    return config.stop_at is not None and line["exact_match"] >= config.stop_at


@torch.no_grad()
def validate(trainer: Trainer, sets: list[Batch]) -> MetricsScores:
    """A line of metrics.jsonl: mean training loss since the last one, token accuracy and exact match within training lengths."""
    trainer.model.eval()
    loss = torch.stack(trainer.losses).mean().item() if trainer.losses else math.nan
    trainer.losses.clear()
    if not math.isfinite(loss):
        raise Diverged(
            f"the loss is {loss} before step {trainer.step}: lower lr (now {trainer.config.lr}) or clip, or warm up longer"
        )
    token_accuracy, exact_match = zip(*(scores(trainer, batch) for batch in sets), strict=True)
    return {
        "step": trainer.step,
        "tokens": trainer.tokens,
        "loss": round(loss, 6),
        "lr": learning_rate(trainer.config, trainer.step - 1),
        "token_accuracy": round(float(np.mean(token_accuracy)), 6),
        "exact_match": round(float(np.mean(exact_match)), 6),
    }


def steps_to_accuracy(lines: list[MetricsLine]) -> dict[str, int | None]:
    """Steps and tokens of the first validation with 90 % and 99 % token accuracy; None where there is none."""
    first_at: dict[str, int | None] = {}
    for percent in (90, 99):
        line = next((line for line in lines if line["token_accuracy"] >= percent / 100), None)
        step, tokens = (line["step"], line["tokens"]) if line else (None, None)
        first_at |= {f"steps_to_{percent}": step, f"tokens_to_{percent}": tokens}
    return first_at


def _facts(trainer: Trainer) -> dict[str, Any]:
    """The fields of run.json about the model and where it trains."""
    on_cuda = trainer.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(trainer.device) if on_cuda else trainer.device.type,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "sequence": trainer.task.sequence(trainer.config.length),
        "steps": trainer.config.steps,
        "length": trainer.config.length,
    }
