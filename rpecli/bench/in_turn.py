"""The cost of encodings in a model of one's own: training steps of several configs that take turns, and attention alone."""

import time
from collections.abc import Callable

import torch

from rpecli.bench import Log, Options, attention, machine, timing
from rpecli.config.recipe import Config
from rpecli.device import tune_malloc
from rpecli.train import loop
from rpecli.train.state import build_trainer

STEPS = 8  # of a call: the same batches for every config, of several lengths
SLOWEST = 20.0  # seconds of a call that is timed once
ROUNDS = 5
WARM = 2  # steps that allocate, before a few are timed
ATTENTION_LENGTH = 2048


def step_timings(
    configs: dict[str, Config], device: torch.device, log: Log, is_over: Callable[[], bool] = lambda: False
) -> dict[str, timing.Timing]:
    """The time of STEPS training steps of each config, by its name, all on the same batches; none begins when it `is_over`."""
    torch.set_num_threads(max(config.threads for config in configs.values()))
    tune_malloc()
    log(f"timing training steps of {', '.join(configs)}, in turn")
    calls = {name: _steps(config, device) for name, config in configs.items()}
    return machine.stopwatch(device, SLOWEST, 0.0).interleave(calls, ROUNDS, is_over)


def _steps(config: Config, device: torch.device) -> timing.Call:
    trainer = build_trainer(config.model_copy(update={"curriculum": 0.0}), device)

    def call() -> None:
        trainer.step = 0
        for _ in range(STEPS):
            loop.step(trainer)
        trainer.losses.clear()

    return call


def attention_ratios(
    encodings: list[str], options: Options, log: Log, is_over: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """The time of attention alone over that of plain attention, at ATTENTION_LENGTH tokens; none begins when it `is_over`."""
    return {row.encoding: row.ratio for row in attention.time_length(encodings, ATTENTION_LENGTH, options, log, is_over)}


def quick_step(
    config: Config, device: torch.device, clock: Callable[[], float] = time.perf_counter, warm: int = WARM, steps: int = STEPS
) -> tuple[float, float]:
    """Seconds and tokens of a training step, from a few of them: for plans of what is to be trained."""
    torch.set_num_threads(config.threads)
    tune_malloc()
    trainer = build_trainer(config.model_copy(update={"curriculum": 0.0}), device)
    for _ in range(warm):
        loop.step(trainer)
    start, tokens = clock(), trainer.tokens
    for _ in range(steps):
        loop.step(trainer)
    float(trainer.losses[-1])  # waits for the device
    return (clock() - start) / steps, (trainer.tokens - tokens) / steps
