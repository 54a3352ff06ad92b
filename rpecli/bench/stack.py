"""Seeds that train together as one program, beside the same seeds one after another and in one process per core.

A call is a few steps of every seed, always the same ones, whose lengths differ as they do in a run. It includes neither the start
of a process nor the check that a stack equals its runs trained one by one.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rpecli.bench import REFERENCE, Log, Options, Size, machine, steps, timing
from rpecli.bench.result import Result, number, times
from rpecli.bench.rows import StackRow
from rpecli.device import n_cores, pick_device, tune_malloc
from rpecli.table import Table
from rpecli.train import loop as train
from rpecli.train import stacked as stack
from rpecli.train import state as train_state

SEEDS, STEPS = 8, 5  # seeds of a stack; steps of each in a call
SIZES = (Size(64, 2, 4, 64, 16), Size(128, 4, 4, 128, 16))
SHORT_SIZES = SIZES[:1]
SERIAL, STACKED = "one after another", "stacked"
SLOWEST = 120.0
CAPTION = f"Milliseconds of one step of all {SEEDS} seeds, and speed over one after another: median of the rounds' ratios."


def run(options: Options, log: Log) -> Result:
    """One row per size, encoding and method to train the seeds."""
    device = pick_device(options.device)
    tune_malloc()  # as a run does
    facts = machine.facts(device, options)
    rows = []
    for size in options.sizes or (SHORT_SIZES if options.short else SIZES):
        for choice in options.encodings or (REFERENCE,):
            log(f"stack {size}: {choice}")
            rows += stack_rows(size, choice, options)
    return Result("stack", facts, [table(rows)], rows)


def trainers(size: Size, choice: str, device: torch.device, seeds: range = range(SEEDS)) -> list[train_state.Trainer]:
    """One per seed, with problems of every length up to the longest as in a run, so that stacked batches need padding."""
    config = steps.config_of(size, choice)
    return [train_state.build_trainer(config.model_copy(update={"seed": seed, "min_length": 1}), device) for seed in seeds]


def stack_rows(size: Size, choice: str, options: Options) -> list[StackRow]:
    """One row per method, or a single one with a note if the runs cannot be stacked."""
    device = pick_device(options.device)
    if reason := stack.why_not_stackable([trainer.config for trainer in trainers(size, choice, device, range(2))], device):
        return [stack_row(size, choice, STACKED, timing.Timing(note=reason), timing.Timing())]
    n_processes = min(n_cores(), SEEDS)
    cases = {
        SERIAL: serial_call(trainers(size, choice, device), options.threads),
        STACKED: stacked_call(trainers(size, choice, device), options.threads),
    }
    with processes(size, choice, device, n_processes) as parallel_call:
        cases[f"{n_processes} processes"] = parallel_call
        timings = machine.stopwatch(device, SLOWEST).interleave(cases, options.repeats)
    return [stack_row(size, choice, method, timings[method], timings[SERIAL]) for method in cases]


def stack_row(size: Size, choice: str, method: str, timed: timing.Timing, serial: timing.Timing) -> StackRow:
    return StackRow(
        size=str(size), encoding=choice, seeds=SEEDS, method=method, step_ms=timed.median * 1000 / STEPS,
        gain=timing.ratio(serial, timed), rounds=timed.rounds, note=timed.note,
    )  # fmt: skip


def serial_call(seeds: list[train_state.Trainer], threads: int) -> timing.Call:
    def call() -> None:
        torch.set_num_threads(threads)
        for trainer in seeds:
            trainer.step = 0  # always the same batches
            for _ in range(STEPS):
                train.step(trainer)
            trainer.losses.clear()

    return call


def stacked_call(seeds: list[train_state.Trainer], threads: int) -> timing.Call:
    stacked = stack.Stack(seeds)

    def call() -> None:
        torch.set_num_threads(threads)
        for trainer in seeds:
            trainer.step = 0
            trainer.losses.clear()
        for _ in range(STEPS):
            stacked.step()

    return call


@contextmanager
def processes(size: Size, choice: str, device: torch.device, count: int) -> Iterator[timing.Call]:
    """A call that lets `count` processes, each with its share of the seeds, train at the same time."""
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # they import nothing from the working folder
    pipes, workers = [], []
    for n in range(count):
        pipe, worker_pipe = context.Pipe()
        arguments = (worker_pipe, size, choice, str(device), range(n, SEEDS, count))
        workers.append(context.Process(target=_work, args=arguments, daemon=True))
        pipes.append(pipe)
        workers[-1].start()
    for pipe in pipes:
        pipe.recv()  # ready

    def call() -> None:
        for pipe in pipes:
            pipe.send("go")
        for pipe in pipes:
            pipe.recv()  # done

    try:
        yield call
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(pipe: Any, size: Size, choice: str, device_name: str, seeds: range) -> None:
    """Trains a share of the seeds whenever the pipe says `go`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    tune_malloc()
    device = torch.device(device_name)
    call = serial_call(trainers(size, choice, device, seeds), threads=1)
    pipe.send("ready")
    while pipe.recv() == "go":
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        pipe.send("done")


def table(rows: list[StackRow]) -> Table:
    records = [
        {"size": row.size, "encoding": row.encoding, "method": row.method, "ms": number(row.step_ms, 1), "gain": times(row.gain),
         "note": row.note}
        for row in rows
    ]  # fmt: skip
    return Table.of(records, "Stacked seeds", caption=CAPTION)
