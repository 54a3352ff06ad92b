"""Where the time of a training step goes: products, attention, pointwise work, optimiser, data, and what is between them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from rpecli import data
from rpecli.attention import dispatch as attention
from rpecli.train import loop as train
from rpecli.train import state as train_state

PARTS = ("products", "attention", "pointwise and other", "optimiser", "data", "between")
PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
OPTIMISER = ("Optimizer.step", "Optimizer.zero_grad", "clip")
STEPS = 4


def shares(trainer: train_state.Trainer) -> dict[str, float]:
    """Shares of a step, by torch's profiler. `between` is Python and the cost of calls, which profiling makes larger than it is.

    Attention is all that happens within `attention.attend`, and the backward pass of what was recorded there, by whatever
    kernel; so what a kernel multiplies counts as attention, not as products.
    """
    with mock.patch.object(attention, "attend", _named("attention", attention.attend)), \
         mock.patch.object(torch.nn.utils, "clip_grad_norm_", _named("clip", torch.nn.utils.clip_grad_norm_)), \
         mock.patch.object(data, "train_batch", _named("data", data.train_batch)), \
         mock.patch.object(data, "frame", _named("data", data.frame)):  # fmt: skip
        train.step(trainer)
        with _quiet(), torch.profiler.profile() as profile:
            for _ in range(STEPS):
                with torch.profiler.record_function("step"):
                    train.step(trainer)
    trainer.losses.clear()
    return _by_part(list(profile.events()), on_gpu=trainer.device.type == "cuda")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the profiler's library writes to stderr when it starts and stops."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _named(name: str, function: Any) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        with torch.profiler.record_function(name):
            return function(*arguments, **options)

    return call


def _by_part(events: list[Any], on_gpu: bool) -> dict[str, float]:
    seen = {event.sequence_nr for event in events if event.sequence_nr >= 0 and _within(event, ("attention",))}
    spent = dict.fromkeys(PARTS, 0.0)
    for event in events:
        seconds = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        spent[_part(event, seen)] += seconds
    total = sum(spent.values())
    return {part: seconds / total for part, seconds in spent.items()} if total else spent


def _part(event: Any, seen: set[int]) -> str:
    names = [each.name for each in _upwards(event)]
    if any(name.startswith(OPTIMISER) for name in names):
        return "optimiser"
    if "data" in names:
        return "data"
    backward = (each.sequence_nr for each in _upwards(event) if "Backward" in each.name or "evaluate_function" in each.name)
    if "attention" in names or any(number in seen for number in backward):
        return "attention"
    if event.name in PRODUCTS:
        return "products"
    return "pointwise and other" if event.name.startswith("aten::") else "between"


def _within(event: Any, names: tuple[str, ...]) -> bool:
    return any(each.name in names for each in _upwards(event))


def _upwards(event: Any) -> Iterator[Any]:
    while event is not None:
        yield event
        event = event.cpu_parent
