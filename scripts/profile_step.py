"""Prints where the time of a training step goes: `python scripts/profile_step.py --encoding rope --size 256x6x8x512x8`.

The shares are those of torch's profiler, which makes Python and the cost of calls larger than they are.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

import torch

from rpecli import data
from rpecli.attention import dispatch as attention
from rpecli.bench import REFERENCE, parse_dtypes, parse_size
from rpecli.bench.steps import config_of
from rpecli.device import pick_device, tune_malloc
from rpecli.table import Table
from rpecli.train import loop as train
from rpecli.train import state as train_state

PARTS = ("matrix products", "attention", "pointwise and other", "optimizer", "data", "between")
MATRIX_PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
OPTIMIZER = ("Optimizer.step", "Optimizer.zero_grad", "clip")
REGIONS = [(attention, "attend", "attention"), (data, "train_batch", "data"), (data, "shift_targets", "data"),
           (torch.nn.utils, "clip_grad_norm_", "clip")]  # fmt: skip


def shares(trainer: train_state.Trainer, steps: int = 4) -> dict[str, float]:
    """The share of every part in the time of a step; "between" is Python and the cost of calls."""
    seconds = dict.fromkeys(PARTS, 0.0)
    events = record(trainer, steps)
    for event, part in zip(events, parts(events), strict=True):
        seconds[part] += event.self_device_time_total if trainer.device.type == "cuda" else event.self_cpu_time_total
    total = sum(seconds.values())
    return {part: seconds[part] / total for part in PARTS}


def record(trainer: train_state.Trainer, steps: int) -> list[Any]:
    """The profiler's events of some steps, after a step to warm up."""
    with contextlib.ExitStack() as stack:
        for owner, name, region in REGIONS:
            stack.enter_context(mock.patch.object(owner, name, _in_region(region, getattr(owner, name))))
        train.step(trainer)
        stack.enter_context(_silent_stderr())
        with torch.profiler.profile() as profile:
            for _ in range(steps):
                with torch.profiler.record_function("step"):
                    train.step(trainer)
    trainer.losses.clear()
    return list(profile.events())


def _in_region(region: str, function: Any) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        with torch.profiler.record_function(region):
            return function(*arguments, **options)

    return call


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Hides what the profiler's library writes to stderr when it starts and stops."""
    sys.stderr.flush()
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def parts(events: Iterable[Any]) -> list[str]:
    """The part of a step that every event belongs to.

    Attention is everything within `attention.attend`, and the backward pass of what was recorded there, by whatever kernel;
    so the matrix products of a kernel count as attention.
    """
    forward = {event.sequence_nr for event in events if event.sequence_nr >= 0 and "attention" in _names(event)}
    return [_part(event, forward) for event in events]


def _part(event: Any, attention_forward: set[int]) -> str:
    names = _names(event)
    if any(name.startswith(OPTIMIZER) for name in names):
        return "optimizer"
    if "data" in names:
        return "data"
    backward = {
        parent.sequence_nr for parent in _parents(event) if "Backward" in parent.name or "evaluate_function" in parent.name
    }
    if "attention" in names or backward & attention_forward:
        return "attention"
    if event.name in MATRIX_PRODUCTS:
        return "matrix products"
    return "pointwise and other" if event.name.startswith("aten::") else "between"


def _names(event: Any) -> list[str]:
    return [parent.name for parent in _parents(event)]


def _parents(event: Any) -> Iterator[Any]:
    """The event, the event that contains it, and so on."""
    while event is not None:
        yield event
        event = event.cpu_parent


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Print where the time of a training step goes.")
    parser.add_argument("--encoding", default=REFERENCE)
    parser.add_argument("--size", default="64x2x4x64x128", help="width x layers x heads x length x batch")
    parser.add_argument("--dtype", default="float32,bfloat16", help="of matrix products")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    tune_malloc()
    records = []
    for dtype in parse_dtypes(arguments.dtype):
        config = config_of(parse_size(arguments.size), arguments.encoding, dtype)
        trainer = train_state.build_trainer(config, pick_device(arguments.device))
        percents = {part: f"{share:.1%}" for part, share in shares(trainer, arguments.steps).items()}
        records.append({"encoding": arguments.encoding, "size": arguments.size, "dtype": dtype} | percents)
    print(Table.of(records).markdown())


if __name__ == "__main__":
    main()
