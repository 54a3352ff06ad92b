"""Runs many jobs at a time, one process per job: a crash costs one run, and stopping the command saves all runs.

Progress is read from the run directories, so a run looks the same from wherever it was started. A run that another process works
on is left until all others are done; then the job waits for that process, and uses what it has left.
"""

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from rpecli import process
from rpecli.device import available_memory, n_cores
from rpecli.launch import worker
from rpecli.launch.job import BUSY, DONE, FAILED, LOST, STOPPED, Ending, Job
from rpecli.launch.server import Ended, Message, Server, Started
from rpecli.run.directory import Run
from rpecli.run.files import RunError, RunInUse
from rpecli.signals import GRACE
from rpecli.table import few

TICK = 0.2  # seconds between looks at the children while none ends
ENDING_TICK = 0.02  # and while they are to end
SERVER = Server()  # of this process; it lives on between two calls
PROCESS_BYTES = 1 << 28  # of memory that a small run takes beside what it shares with the server
MAX_LOST = 3  # times that a job may be lost with the server before it counts as failed
SERVER_ENDED = "the process that starts the others was killed, out of memory perhaps: a new one goes on where its runs stood"
BUSY_RUNS = "{} in use by another process: waiting until it is done with them"


@dataclass(frozen=True)
class Event:
    """Something to show: a run `started` or `ended`, a `notice` in words, or a `tick`; and the runs that a process works on."""

    kind: str
    run: Run | None = None
    ending: Ending | None = None
    text: str = ""
    active: tuple[Run, ...] = ()


class JobQueue:
    """Jobs that wait for a process, those to start next first, and those whose run another process has."""

    def __init__(self, jobs: list[Job]):
        self.waiting = deque(jobs)
        self.busy: list[Job] = []
        self.lost: Counter[Run] = Counter()  # how often, by run

    def end(self, job: Job, ending: Ending) -> list[Event]:
        """The events of a job that has ended.

        A stack has none unless it was stopped: its runs come next, one job per run. Nor has a job that is tried again.
        """
        if ending.code == LOST:
            self.lost[job.run] += 1
            if self.lost[job.run] < MAX_LOST:
                self.waiting.appendleft(job)
                return []
            ending = Ending(FAILED, f"{SERVER_ENDED.partition(',')[0]} {MAX_LOST} times: run fewer at a time, --jobs 1")
        elif ending.code == BUSY:
            self.busy.append(job)
            return []
        if job.stacked_with and ending.code not in STOPPED:
            self.waiting.extendleft(reversed(job.unstacked()))
            return []
        if ending.code == DONE and job.train and not _is_trained(job.run):
            ending = Ending(FAILED, "its process ended without an error, and the run is not trained")
        return [Event("ended", run, ending) for run in job.runs]

    def recall(self) -> None:
        """Takes up the jobs whose runs are free again."""
        free = [job for job in self.busy if not _is_busy(job.run)]
        self.busy = [job for job in self.busy if job not in free]
        self.waiting.extend(free)


def _is_trained(run: Run) -> bool:
    with suppress(RunError, OSError):
        return run.is_trained
    return False


def _is_busy(run: Run) -> bool:
    try:
        with run.lock():
            return False
    except RunInUse:
        return True
    except (RunError, OSError):  # its job will say what is wrong
        return False


class Starter(Protocol):
    """What starts processes: the server, or what tests put in its place."""

    def send(self, number: int, job: Job) -> None: ...
    def receive(self, timeout: float) -> list[Message]: ...
    def close(self) -> None: ...


@dataclass
class Child:
    """A job that a process works on; `pid` and `session` are known once it has started."""

    job: Job
    pid: int | None = None
    identity: str | None = None  # of the process
    session: worker.Session | None = None

    def started(self, pid: int) -> None:
        self.pid, self.identity, self.session = pid, process.identity(pid), worker.Session.of(self.job.run, pid)

    def signal(self, number: int) -> None:
        if self.pid is not None and self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def is_alive(self) -> bool:
        return self.pid is not None and process.is_alive(self.pid, self.identity) is True


@dataclass
class Pool:
    """The children at work, by number, and the server that starts them."""

    server: Starter
    children: dict[int, Child] = field(default_factory=dict)
    n_started: int = 0

    @property
    def active(self) -> tuple[Run, ...]:
        return tuple(run for child in self.children.values() for run in child.job.runs)

    def start(self, job: Job) -> None:
        self.n_started += 1
        self.children[self.n_started] = Child(job)
        with suppress(OSError):  # the server has ended: `wait` finds out
            self.server.send(self.n_started, job)

    def wait(self, timeout: float) -> list[tuple[Job, Ending]]:
        """The jobs that have ended; LOST are all of them where the server has ended."""
        try:
            messages = self.server.receive(timeout)
        except (EOFError, OSError):
            return self._lose_all()
        return [self._end(message) for message in messages if not self._starts(message)]

    def _starts(self, message: Message) -> bool:
        if isinstance(message, Started):
            self.children[message.number].started(message.pid)
        return isinstance(message, Started)

    def _end(self, message: Message) -> tuple[Job, Ending]:
        assert isinstance(message, Ended)
        child = self.children.pop(message.number)
        ending = message.ending
        if ending is None:
            ending = Ending(FAILED, how_it_ended(message.status), crashed=True)
            if not child.job.stacked_with and child.session:
                worker.record_failure(child.job.run, ending.reason, child.session)
        return child.job, ending

    def _lose_all(self) -> list[tuple[Job, Ending]]:
        """After the end of the server: its children save and end too."""
        lost = [child.job for child in self.children.values()]
        self.server.close()
        self.end_children(GRACE)
        self.children.clear()
        return [(job, Ending(LOST)) for job in lost]

    def learn(self, timeout: float) -> None:
        """Takes note of what the server says, when the endings do not matter any more."""
        try:
            for message in self.server.receive(timeout):
                if not self._starts(message):
                    self.children.pop(message.number, None)
        except (EOFError, OSError):
            time.sleep(timeout)

    def end_children(self, grace: float) -> int:
        """Asks children to save and end, and kills those that live after `grace` seconds; returns how many it killed."""
        told, deadline = set[int](), time.monotonic() + grace
        try:
            while self.living() and time.monotonic() < deadline:
                for child in self.living():
                    if child.pid not in told:
                        child.signal(signal.SIGTERM)
                        told.add(child.pid or 0)
                self.learn(ENDING_TICK)
        finally:  # a second Ctrl-C comes here at once
            left = self.living()
            for child in left:
                child.signal(signal.SIGKILL)
        return len(left)

    def living(self) -> list[Child]:
        return [child for child in self.children.values() if child.is_alive()]


def how_it_ended(status: int) -> str:
    """The end of a process that did not say itself how its job ended."""
    if status < 0:
        return f"the process ended: killed by signal {-status}" + (", out of memory perhaps" if status == -signal.SIGKILL else "")
    return f"the process ended before its work was done: code of its task or encoding left it with exit code {status}"


def default_processes(runs: list[Run], nproc: int = 1) -> int:
    """As many jobs as there are runs, or fewer: `processes_for` their threads."""
    return processes_for(len(runs), nproc * max(run.config.threads for run in runs))


def processes_for(jobs: int, threads: int) -> int:
    """How many of these jobs work at a time, so that every thread of each has a core and each has some memory."""
    return max(1, min(jobs, n_cores() // threads, available_memory() // PROCESS_BYTES))


def execute(jobs: list[Job], max_processes: int, say: worker.Say = print, server: Starter | None = None) -> Iterator[Event]:
    """Does every job and yields what happens. Closing the generator, or Ctrl-C, stops the children and lets them save.

    With `max_processes` 0 the jobs run one by one in this process, until one of them is stopped, and print through `say`; else
    `server` starts a process for each, and `say` gets what happens while they stop.
    """
    if max_processes:
        return _in_processes(jobs, max_processes, server or SERVER, say)
    return _in_this_process(jobs, say)


def _in_this_process(jobs: list[Job], say: worker.Say) -> Iterator[Event]:
    queue = JobQueue(jobs)
    while queue.waiting or queue.busy:
        if not queue.waiting:
            yield from _wait_for_busy(queue)
            continue
        job = queue.waiting.popleft()
        with worker.exits_raised():
            ending = worker.run_job(job, say)
        yield from queue.end(job, ending)
        if ending.code in STOPPED:
            return


def _in_processes(jobs: list[Job], max_processes: int, server: Starter, say: worker.Say) -> Iterator[Event]:
    queue, pool = JobQueue(jobs), Pool(server)
    try:
        while queue.waiting or pool.children or queue.busy:
            while queue.waiting and len(pool.children) < max_processes:
                job = queue.waiting.popleft()
                pool.start(job)
                yield from (Event("started", run) for run in job.runs)
            if not pool.children:
                yield from _wait_for_busy(queue)
                continue
            endings = pool.wait(TICK)
            if any(ending.code == LOST for _, ending in endings):
                yield Event("notice", text=SERVER_ENDED)
            for job, ending in endings:
                yield from queue.end(job, ending)
            yield Event("tick", active=pool.active)
    finally:
        stop(pool, say)


def _wait_for_busy(queue: JobQueue) -> Iterator[Event]:
    """Until a run is free again that another process has."""
    yield Event("notice", text=BUSY_RUNS.format(_names([job.run for job in queue.busy])))
    while True:
        queue.recall()
        if queue.waiting:
            return
        time.sleep(TICK)
        yield Event("tick")


def _names(runs: list[Run]) -> str:
    return f"{few([run.name for run in runs], 3)} {'is' if len(runs) == 1 else 'are'}"


def stop(pool: Pool, say: worker.Say, grace: float = GRACE) -> None:
    """Ends what is left of children and the server; says how many children were killed since they did not save in time."""
    pool.learn(timeout=0)
    if n_left := len(pool.living()):
        say(f"stopping: {n_left} at work save first; Ctrl-C again ends at once")
        if n_killed := pool.end_children(grace):
            say(f"{n_killed} did not answer within {grace:.0f} s and were killed: they go on from their last checkpoint")
    if pool.children:  # jobs that have not started
        pool.server.close()
