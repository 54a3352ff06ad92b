"""Runs many jobs at a time, one process per job: a crash costs one run, and stopping the command saves all runs.

Children are forked from a server that has torch loaded: importing it anew took 2 s of CPU per run, and torch._dynamo, which the
first optimizer loads, 1 s more. A child reports nothing but its exit code: progress is read from the run directories, so a run
looks the same from wherever it was started.
"""

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from rpecli.device import n_cores
from rpecli.launch import worker
from rpecli.launch.job import BUSY, FAILED, INTERRUPTED, SAVED, Job
from rpecli.run.directory import Run
from rpecli.run.files import RunError

TICK = 0.2  # seconds between looks at the children while none ends
GRACE = 20.0  # seconds a child gets to save after SIGTERM


@dataclass(frozen=True)
class Event:
    """Something to show: a run `started`, `ended` (with its exit code), or a `tick`; and the runs that a process works on."""

    kind: str
    run: Run | None = None
    code: int = 0
    active: tuple[Run, ...] = ()


class JobQueue:
    """Jobs that wait for a process, those to start next first."""

    def __init__(self, jobs: list[Job]):
        self.waiting = deque(jobs)

    def end(self, job: Job, code: int) -> list[Event]:
        """The events of a job that has ended. A stack has none, unless it was stopped: its runs come next, one job per run."""
        if job.stacked_with and code not in (SAVED, INTERRUPTED):
            self.waiting.extendleft(reversed(job.unstacked()))
            return []
        return [Event("ended", run, code) for run in job.runs]


def default_processes(runs: list[Run]) -> int:
    """As many processes as there are runs, or fewer, so that every thread of each has a core."""
    return max(1, min(len(runs), n_cores() // max(run.config.threads for run in runs)))


def execute(jobs: list[Job], max_processes: int, say: worker.Say = print, context: Any = None) -> Iterator[Event]:
    """Does every job and yields what happens. Closing the generator, or Ctrl-C, stops the children and lets them save.

    With `max_processes` 0 the jobs run one by one in this process and print through `say`, until one of them is stopped.
    `context` makes the processes, as those of multiprocessing do; unless given, a server forks them.
    """
    return _in_processes(jobs, max_processes, context) if max_processes else _in_this_process(jobs, say)


def _in_this_process(jobs: list[Job], say: worker.Say) -> Iterator[Event]:
    queue = JobQueue(jobs)
    while queue.waiting:
        job = queue.waiting.popleft()
        code = worker.run_job(job, say)
        yield from queue.end(job, code)
        if code in (SAVED, INTERRUPTED):
            return


def _in_processes(jobs: list[Job], max_processes: int, context: Any) -> Iterator[Event]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # while the server loads torch; a run then sets its own number of threads
    context = context or _server_context()
    queue = JobQueue(jobs)
    children: list[tuple[Job, Any]] = []
    try:
        while queue.waiting or children:
            while queue.waiting and len(children) < max_processes:
                job = queue.waiting.popleft()
                process = context.Process(target=worker.child_main, args=(job,))
                process.start()
                children.append((job, process))
                yield from (Event("started", run) for run in job.runs)
            wait([process.sentinel for _, process in children], TICK)
            for job, process in list(children):
                if (code := process.exitcode) is None:
                    continue
                children.remove((job, process))
                for event in queue.end(job, code):
                    assert event.run
                    record_death(event.run, code)
                    yield event
            yield Event("tick", active=tuple(run for job, _ in children for run in job.runs))
    finally:
        stop([process for _, process in children])


def _server_context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    modules = ["rpecli.launch.worker", "rpecli.train.loop", "rpecli.evaluate.measure", "rpecli.probes.inspect",
               "rpecli.probes.invariance", "scipy.stats", "torch._dynamo"]  # fmt: skip
    context.set_forkserver_preload(modules)
    return context


def record_death(run: Run, code: int) -> None:
    """Records the end of a child that could not do so itself: it was killed, or has an exit code that no job has."""
    if code in (0, FAILED, BUSY, SAVED, INTERRUPTED):
        return
    how = f"killed by signal {-code}" + (", out of memory perhaps" if code == -9 else "") if code < 0 else f"exit code {code}"
    with suppress(RunError):
        worker.record_failure(run, f"the process ended: {how}")


def stop(processes: list[Any], grace: float = GRACE) -> None:
    """Asks children to save and end, and kills those that have not ended after `grace` seconds."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + grace
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
