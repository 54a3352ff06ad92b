"""Many runs at a time, a process each: a crash costs one run, a stop saves all of them, started again does what is missing.

Children are forked from a server that has torch loaded: importing it anew took 2 s of CPU a run, and torch._dynamo, which the
first optimizer loads, 1 s more. They say nothing to this process but their exit code: progress is read from the run
directories, so a run looks the same from wherever it was started.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from rpecli.device import n_cores
from rpecli.launch import job as order
from rpecli.launch import worker as work
from rpecli.launch.job import Job
from rpecli.run import directory as run
from rpecli.run.files import RunError

TICK = 0.2  # seconds between looks at the children while none ends
GRACE = 20.0  # seconds a child gets to save after SIGTERM


@dataclass(frozen=True)
class Event:
    """Something to show: a run `started`, `ended` (with its exit code), or a `tick` with those at work."""

    kind: str
    path: Path | None = None
    code: int = 0
    active: tuple[Path, ...] = ()


def execute(todo: list[Job], at_once: int) -> Iterator[Event]:
    """Runs every job and yields what happens. Closing the generator, or Ctrl-C, stops the children and lets them save.

    Runs that train together are one child; when it ends, however it does, each has a job of its own for what is left.
    """
    runs = sum(len(job.paths) for job in todo)
    threads = max(1, n_cores() // max(1, min(at_once, runs)))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # for the server, before it loads torch
    context = _context()
    waiting = [replace(job, threads=threads) for job in todo]
    children: dict[Path, tuple[Job, Any]] = {}
    try:
        while waiting or children:
            while waiting and len(children) < at_once:
                job = waiting.pop(0)
                process = context.Process(target=work.child, args=(job,))
                process.start()
                children[job.path] = job, process
                yield from (Event("started", path) for path in job.paths)
            wait([process.sentinel for _, process in children.values()], TICK)
            for path, (job, process) in list(children.items()):
                if (code := process.exitcode) is not None:
                    del children[path]
                    if job.others and code not in (order.SAVED, order.INTERRUPTED):
                        waiting = job.each() + waiting
                        continue
                    for each in job.paths:
                        _note_death(each, code)
                        yield Event("ended", each, code)
            yield Event("tick", active=tuple(path for job, _ in children.values() for path in job.paths))
    finally:
        _stop([process for _, process in children.values()])


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    modules = ["rpecli.launch.worker", "rpecli.train.loop", "rpecli.evaluate.measure", "scipy.stats", "torch._dynamo"]
    context.set_forkserver_preload(modules)
    return context


def _note_death(path: Path, code: int) -> None:
    """A child that was killed, or left without a word, could not write its own end."""
    if code in (0, order.FAILED, order.BUSY, order.SAVED, order.INTERRUPTED):
        return
    how = f"killed by signal {-code}" + (", out of memory perhaps" if code == -9 else "") if code < 0 else f"exit code {code}"
    with suppress(RunError), run.lock(path):
        failed = {"status": "failed"} if run.read(path)["status"] != "trained" else {}
        run.update(path, **failed, error=f"the process ended: {how}")


def _stop(children: list[Any]) -> None:
    for child in children:
        child.terminate()
    until = time.monotonic() + GRACE
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
        if child.exitcode is None:
            child.kill()
