"""Seeds that train together as one program, beside the same seeds one after another and beside a process for each core.

A call is a few steps of every seed, always the same ones, in which lengths differ as they do in a run. Starting a process, and
the check that a stack equals its runs alone, are not in it.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rpecli.bench import Options, Size, goals, machine, steps, timing
from rpecli.bench.table import Result, Table, number, times
from rpecli.device import n_cores, pick_device, tune_malloc
from rpecli.train import loop as train
from rpecli.train import stacked as stack
from rpecli.train import state as train_state

SEEDS, STEPS = 8, 5  # seeds of a stack; steps of each in a call
SIZES = (Size(64, 2, 4, 64, 16), Size(128, 4, 4, 128, 16))
SHORT = SIZES[:1]
ALONE, STACKED = "one after another", "stacked"
SLOWEST = 120.0
Say = Callable[[str], None]
Row = dict[str, Any]


def run(options: Options, say: Say) -> Result:
    """One row of the table a size, encoding and way to train its seeds."""
    device = pick_device(options.device)
    tune_malloc()  # as a run does
    facts = machine.facts(device, options.threads, options.repeats)
    rows = []
    for size in options.sizes or (SHORT if options.short else SIZES):
        for choice in options.encodings or (goals.REFERENCE,):
            say(f"stack {size}: {choice}")
            rows += seeds_of(size, choice, options, device)
    return Result("stack", facts, [table(rows, device)], rows)


def trainers(size: Size, choice: str, device: torch.device, seeds: range = range(SEEDS)) -> list[train_state.Trainer]:
    """Problems of every length up to the longest, as in a run: what makes stacked batches need padding."""
    config = steps.config_of(size, choice)
    each = (config.model_copy(update={"seed": seed, "min_length": 1}) for seed in seeds)
    return [train_state.build(own, device) for own in each]


def seeds_of(size: Size, choice: str, options: Options, device: torch.device) -> list[Row]:
    if why := stack.refusal([trainer.config for trainer in trainers(size, choice, device, range(2))], device):
        return [_row(size, choice, STACKED, timing.Timing("", note=why), timing.Timing(""))]
    count = min(n_cores(), SEEDS)
    cases = {ALONE: alone(trainers(size, choice, device), options.threads)}
    cases[STACKED] = stacked(trainers(size, choice, device), options.threads)
    wait = machine.wait_for(device)
    with processes(size, choice, device, count) as together:
        cases[f"{count} processes"] = together
        found = timing.interleave(cases, options.repeats, wait, SLOWEST)
    return [_row(size, choice, name, found[name], found[ALONE]) for name in cases]


def alone(made: list[train_state.Trainer], threads: int) -> timing.Call:
    def call() -> None:
        torch.set_num_threads(threads)
        for trainer in made:
            trainer.step = 0  # always the same batches
            for _ in range(STEPS):
                train.step(trainer)
            trainer.losses.clear()

    return call


def stacked(made: list[train_state.Trainer], threads: int) -> timing.Call:
    whole = stack.Stack(made)

    def call() -> None:
        torch.set_num_threads(threads)
        for trainer in made:
            trainer.step = 0
            trainer.losses.clear()
        for _ in range(STEPS):
            whole.step()

    return call


@contextmanager
def processes(size: Size, choice: str, device: torch.device, count: int) -> Iterator[timing.Call]:
    """A call that lets `count` processes, each with its share of the seeds, do their steps at the same time."""
    context = multiprocessing.get_context("spawn")
    ends, made = [], []
    for n in range(count):
        ours, theirs = context.Pipe()
        made.append(
            context.Process(
                target=_worker,
                args=(theirs, size, choice, str(device), range(n, SEEDS, count)),
                daemon=True,
            )
        )
        ends.append(ours)
        made[-1].start()
    for end in ends:
        end.recv()  # ready

    def call() -> None:
        for end in ends:
            end.send("go")
        for end in ends:
            end.recv()

    try:
        yield call
    finally:
        for end in ends:
            end.send("stop")
        for process in made:
            process.join()


def _worker(end: Any, size: Size, choice: str, device: str, seeds: range) -> None:
    tune_malloc()
    where = torch.device(device)
    call = alone(trainers(size, choice, where, seeds), threads=1)
    end.send("ready")
    while end.recv() == "go":
        call()
        if where.type == "cuda":
            torch.cuda.synchronize()
        end.send("done")


def _row(size: Size, choice: str, way: str, case: timing.Timing, base: timing.Timing) -> Row:
    return {"size": str(size), "encoding": choice, "seeds": SEEDS, "way": way, "step_ms": case.median * 1000 / STEPS,
            "gain": timing.ratio(base, case), "rounds": case.rounds, "note": case.note}  # fmt: skip


def table(rows: list[Row], device: torch.device) -> Table:
    goal = goals.STACKED.get(device.type, 1.0)
    about = (
        f"Milliseconds of a step of all {SEEDS} seeds, and how many times as quick as one after another: the median of the "
        f"rounds' ratios. Goal for {STACKED}: {goal}x."
    )
    lines = [
        {"size": row["size"], "encoding": row["encoding"], "way": row["way"], "ms": number(row["step_ms"], 1),
         "gain": times(row["gain"]), "verdict": goals.at_least(row["gain"], goal) if row["way"] == STACKED else "-",
         "note": row["note"]}
        for row in rows
    ]  # fmt: skip
    return Table("Stacked seeds", lines, about)
