"""Trains one run directory, top to bottom: resume, batch, step, validate, save.

A run that is killed at any moment and started again ends bit for bit as if it had not been (CPU, same machine): data is a pure
function of the step, and the checkpoint holds weights, optimizer state and counters. Validation sees training lengths only.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from rpecli import data, task
from rpecli.config.recipe import Config
from rpecli.device import n_cores, peak_memory, pick_device, stop_signals, tune_malloc
from rpecli.model import LoadedModel, Transformer
from rpecli.run import directory as run
from rpecli.run import provenance as run_provenance
from rpecli.run.files import append_line, read_lines, write_bytes
from rpecli.train.state import Trainer, _checkpoint, _plain, _resume, build

SAVE_SECONDS = 15.0  # between checkpoints
Progress = Callable[[dict[str, Any]], None]


class Diverged(RuntimeError):  # noqa: N818 - what happened, not a mistake in the code
    """The loss is no number any more."""


def train(path: Path, device: str = "auto", threads: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Trains the run at `path` to its end, from where it stands, and returns its record.

    Raises run.Stopped after saving when a signal asks it to stop, Diverged when the loss is no number.
    """
    with run.lock(path):
        info = run.read(path)
        if info["status"] == "trained" and (path / "weights.safetensors").exists():
            return info
        with stop_signals() as stopped:
            done = _train(path, pick_device(device), threads, progress, stopped)
        if stopped:  # too late for the run, in time for whatever was to follow
            raise run.Stopped(stopped[0])
        return done


def _train(
    path: Path, device: torch.device, threads: int | None, progress: Progress | None, stopped: list[int]
) -> dict[str, Any]:
    kept = run.read(path)["threads"] if (path / "checkpoint.safetensors").exists() else None
    torch.set_num_threads(kept or threads or n_cores())  # the order of sums decides the last bit
    sitting = begin(path, device)
    trainer, config = sitting.trainer, sitting.trainer.config
    sets, saved = data.validation_sets(trainer.task, config), time.monotonic()
    while trainer.step < config.steps:
        step(trainer)
        if due(trainer):
            line = sitting.validate(sets)
            if progress:
                progress(line)
            if enough(config, line):
                break
        if stopped or time.monotonic() - saved > SAVE_SECONDS:
            sitting.save()
            saved = time.monotonic()
        if stopped:
            run.update(path, status="stopped")
            raise run.Stopped(stopped[0])
    return sitting.finish()


@dataclass
class Sitting:
    """A run directory that this process trains: its trainer and its clock."""

    path: Path
    trainer: Trainer
    before: float  # seconds of earlier sittings
    start: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return round(self.before + time.monotonic() - self.start, 3)

    def validate(self, sets: list[task.Batch]) -> dict[str, Any]:
        """A new line of metrics.jsonl. Raises Diverged."""
        line = validate(self.trainer, sets) | {"seconds": self.seconds()}
        append_line(self.path / "metrics.jsonl", line)
        return line

    def save(self) -> None:
        _checkpoint(self.trainer, self.path)
        run.update(self.path, step=self.trainer.step, tokens=self.trainer.tokens, seconds=self.seconds())

    def finish(self) -> dict[str, Any]:
        """The weights, then the word that they are there; returns the record."""
        write_bytes(self.path / "weights.safetensors", save(_plain(self.trainer.model.state())))
        seconds, tokens = self.seconds(), self.trainer.tokens
        facts = {
            "step": self.trainer.step,
            "tokens": tokens,
            "seconds": seconds,
            "finished": run_provenance.now(),
            "curve": curve(self.path),
            "peak_memory": peak_memory(self.trainer.device),
        }
        done = run.update(self.path, status="trained", **facts, tokens_per_second=round(tokens / max(seconds, 1e-9)))
        (self.path / "checkpoint.safetensors").unlink(missing_ok=True)
        return done


def begin(path: Path, device: torch.device, stacked: int | None = None) -> Sitting:
    """Takes a run up where it stands, and says so in its record; `stacked` is how many train as one."""
    config, info = run.config_of(path), run.read(path)
    trainer = build(config, device)
    tune_malloc()
    resumes = (path / "checkpoint.safetensors").exists()
    if resumes:
        _resume(trainer, path)
    else:
        (path / "metrics.jsonl").unlink(missing_ok=True)
        run.update(path, sources=run_provenance.sources(config))  # of the code that trains it, not of the code that named it
    how = stacked or (info.get("stacked") if resumes else None)
    run.update(
        path,
        status="training",
        error=None,
        started=run_provenance.now(),
        stacked=how,
        **_facts(trainer),
        **run_provenance.provenance(),
    )
    return Sitting(path, trainer, info.get("seconds", 0.0) if resumes else 0.0)


def due(trainer: Trainer) -> bool:
    """Whether a validation follows the step just done."""
    return trainer.step % trainer.config.validate_every == 0 or trainer.step == trainer.config.steps


def enough(config: Config, line: dict[str, Any]) -> bool:
    """Whether a line of metrics.jsonl ends the run before its last step."""
    return config.stop_at is not None and line["exact_match"] >= config.stop_at


def step(trainer: Trainer) -> None:
    """One batch: forward, loss on the answers and end tokens, backward, clip, AdamW."""
    config, model = trainer.config, trainer.model
    backward(trainer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    for group in trainer.optimizer.param_groups:
        group["lr"] = learning_rate(config, trainer.step)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    trainer.step += 1


def backward(trainer: Trainer) -> None:
    """Draws the batch of the step and leaves the gradients of its loss in the parameters; both are counted."""
    config, model = trainer.config, trainer.model
    batch = data.train_batch(trainer.task, config, trainer.step)
    positions = data.train_positions(trainer.task, config, batch, trainer.step)
    model.train()
    model.switch(trainer.step >= config.switch_fraction * config.steps)
    loss = losses(model, data.frame(batch, config), positions, trainer.device).mean()
    loss.backward()
    trainer.tokens += batch.tokens_BxT.size
    trainer.losses.append(loss.detach())


def losses(model: Transformer, batch: data.Framed, positions: np.ndarray | None, device: torch.device) -> Tensor:
    """Cross-entropy of every answer token and every end token, `[N]`; the last layer reads out of nothing else."""
    scored_BxT = batch.answer_BxT | batch.end_BxT
    first = int(scored_BxT.any(0).argmax()) if device.type == "cpu" else 0  # elsewhere a mask would turn the flash kernel off
    scored_BxT = scored_BxT[:, first:]
    at_N = None if scored_BxT.all() else torch.from_numpy(np.flatnonzero(scored_BxT)).to(device)
    places = None if positions is None else torch.from_numpy(positions).to(device)
    targets_N = torch.from_numpy(batch.targets_BxT[:, first:][scored_BxT]).to(device)
    return losses_at(model, torch.from_numpy(batch.inputs_BxT).to(device), places, at_N, targets_N, first=first)


def losses_at(
    model: Transformer,
    ids_BxT: Tensor,
    positions: Tensor | None,
    at_N: Tensor | None,
    targets_N: Tensor,
    padding_mask_BxT: Tensor | None = None,
    first: int = 0,
) -> Tensor:
    """Cross-entropy `[N]` of the places `at_N` in the flattened batch, or of all, `first` tokens of each sequence left out.

    Nothing on the way asks a tensor for a number.
    """
    logits = model.head(model(ids_BxT, positions, padding_mask_BxT, query_start=first, query_index_N=at_N))
    return F.cross_entropy(logits.flatten(0, -2), targets_N, reduction="none")


def learning_rate(config: Config, step: int) -> float:
    """Linear warm-up to lr, then a cosine down to lr_end x lr at the last step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - 1 - config.warmup)
    return config.lr * (config.lr_end + (1 - config.lr_end) * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


@torch.no_grad()
def validate(trainer: Trainer, sets: list[task.Batch]) -> dict[str, Any]:
    """A line of metrics.jsonl: mean training loss since the last one, token accuracy and exact match within training lengths."""
    trainer.model.eval()
    loss = torch.stack(trainer.losses).mean().item() if trainer.losses else math.nan
    trainer.losses.clear()
    if not math.isfinite(loss):
        raise Diverged(
            f"the loss is {loss} before step {trainer.step}: lower lr (now {trainer.config.lr}) or clip, or warm up longer"
        )
    token, exact = [], []
    for batch in sets:
        framed = data.frame(batch, trainer.config)
        right_BxT = predictions(trainer, batch) == torch.from_numpy(framed.targets_BxT)
        answer_BxT = torch.from_numpy(framed.answer_BxT)
        token.append((right_BxT & answer_BxT).sum().item() / answer_BxT.sum().item())
        exact.append((right_BxT | ~answer_BxT).all(1).float().mean().item())
    rate = learning_rate(trainer.config, trainer.step - 1)
    line = {"step": trainer.step, "tokens": trainer.tokens, "loss": round(loss, 6), "lr": rate}
    return line | {"token_accuracy": round(float(np.mean(token)), 6), "exact_match": round(float(np.mean(exact)), 6)}


def predictions(loaded: LoadedModel, batch: task.Batch) -> Tensor:
    """The model's likeliest token at every place, `[B, T]`."""
    framed = data.frame(batch, loaded.config)
    drawn = data.fixed_positions(loaded.task, loaded.config, batch, "validation positions", framed.inputs_BxT.shape[1])
    places = None if drawn is None else torch.from_numpy(drawn).to(loaded.device)
    inputs_BxT = torch.from_numpy(framed.inputs_BxT).to(loaded.device)
    return loaded.model.head(loaded.model(inputs_BxT, places)).argmax(-1).cpu()


def curve(path: Path) -> dict[str, int | None]:
    """Steps and tokens to 90 % and 99 % token accuracy in validation; None where it was never reached."""
    lines = read_lines(path / "metrics.jsonl")
    found: dict[str, int | None] = {}
    for percent in (90, 99):
        first = next((line for line in lines if line["token_accuracy"] >= percent / 100), None)
        for what, key in (("steps", "step"), ("tokens", "tokens")):
            found[f"{what}_to_{percent}"] = first[key] if first else None
    return found


def _facts(trainer: Trainer) -> dict[str, Any]:
    """What run.json says of the model and the machine it runs on."""
    device = trainer.device.type
    name = torch.cuda.get_device_name(trainer.device) if device == "cuda" else device
    sequence = trainer.task.sequence(trainer.config.length)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    return {"device": name, "threads": torch.get_num_threads(), "parameters": parameters, "sequence": sequence,
            "steps": trainer.config.steps, "length": trainer.config.length, "pid": os.getpid()}  # fmt: skip
