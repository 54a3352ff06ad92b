"""Jobs on the workers of a Dask scheduler: each task is `rpe work` in a shell, and Dask carries nothing but its words.

Run directories are on a disk that every worker sees under the same path. If a worker dies, the scheduler gives its tasks to
another one, which goes on from the last checkpoint.
"""

import json
import logging
import os
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rpecli.launch import command
from rpecli.launch.command import PlaceError, install_extra
from rpecli.launch.job import Job
from rpecli.launch.pool import Event
from rpecli.run.files import write_files
from rpecli.signals import GRACE, TERMINATED
from rpecli.table import plural

if TYPE_CHECKING:
    from distributed import Client, Future

FOLDER = ".dask"  # in the folder of runs: a folder per command, with its commands and their logs
CONNECT = 10.0  # seconds
TICK, POLL = 0.3, 2.0  # seconds between looks at the run directories, and at the workers
MAX_LOST = 10  # times that a task may be lost with a worker before it counts as failed
# Whether a command is that of this worker, whose shell this is, and a signal to it: a process id means nothing elsewhere.
SIGNAL = 'read -r pid parent host < {} && [ "$parent $host" = "$PPID $(uname -n)" ] && kill -{} "$pid"'
NO_WORKER = "the Dask scheduler has no worker: start some, where this disk is: dask worker {} --nthreads 1"


@dataclass(frozen=True)
class Task:
    """A command, by its number, and the jobs that it does; `$$` is its process, which replaces the shell; `$PPID` the worker."""

    number: int
    folder: Path
    jobs: list[Job]

    @property
    def log(self) -> Path:
        return self.folder / f"{self.number}.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / f"{self.number}.pid"

    @property
    def shell(self) -> str:
        exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in command.environment().items())
        words = [*command.words(self.jobs), "--with-parent"]
        pid, log = shlex.quote(str(self.pid_file)), shlex.quote(str(self.log))
        start = f"cd {shlex.quote(os.getcwd())} && echo $$ $PPID $(uname -n) > {pid}"
        return f"{start} && {exports} exec {shlex.join(words)} >> {log} 2>&1"


def connect(address: str) -> "Client":
    """A client of the scheduler with this address, or this scheduler file. Raises PlaceError."""
    try:
        from distributed import Client
        from distributed.comm import parse_address, registry
    except ImportError:
        raise PlaceError(f"--on {address} needs Dask: {install_extra('dask')}") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it writes tracebacks of lost connections to the terminal
    scheduler = _address_in(Path(address)) if address.endswith(".json") else address
    client = Client.__new__(Client)
    try:
        scheme, place = parse_address(scheduler, strict=True)
        with suppress(NotImplementedError):
            registry.get_backend(scheme).get_address_host_port(place)
        client.__init__(scheduler, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError, TimeoutError) as error:
        client.status = "closed"  # else Dask writes a traceback after 20 s
        why = str(error).partition("\n")[0] if isinstance(error, ValueError | TypeError) else "no Dask scheduler answers"
        raise PlaceError(f"--on {address}: {why}: start one with dask scheduler, and name its address") from None
    return client


def _address_in(file: Path) -> str:
    """The address that a scheduler wrote into a file. Raises PlaceError."""
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["address"])
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    except (ValueError, KeyError, TypeError):
        why = "no address of a scheduler is in it"
    raise PlaceError(f"--on {file}: {why}: dask scheduler --scheduler-file {file} writes it")


@dataclass
class Pool:
    """The tasks that have not ended, by their futures' keys, and the scheduler that has them."""

    client: "Client"
    address: str
    tasks: dict[str, Task] = field(default_factory=dict)
    futures: dict[str, "Future"] = field(default_factory=dict)
    lost: Counter[int] = field(default_factory=Counter)  # how often, by task

    def submit(self, task: Task) -> None:
        key = f"rpe-{task.folder.name}-{task.number}-{self.lost[task.number]}"
        self.tasks[key] = task
        self.futures[key] = self.client.submit(subprocess.call, ["/bin/sh", "-c", task.shell], key=key, pure=False)

    def ended(self) -> list[Task]:
        """The tasks that have ended and are not tried again. Raises PlaceError where the scheduler is gone."""
        if self.client.status not in ("running", "connecting"):
            raise PlaceError(f"the Dask scheduler at {self.address} has ended: start it, then the same command again")
        ended = []
        for key in [key for key, future in self.futures.items() if future.status != "pending"]:
            task, future = self.tasks.pop(key), self.futures.pop(key)
            if _was_lost(future) and self.lost[task.number] < MAX_LOST:
                self.lost[task.number] += 1
                self.submit(task)
            else:
                ended.append(task)
        return ended

    def at_work(self) -> dict[str, list[str]]:
        """The keys of the tasks that each worker has."""
        with suppress(OSError, TimeoutError):
            by_worker = self.client.processing().items()
            return {worker: [key for key in map(str, keys) if key in self.tasks] for worker, keys in by_worker}
        return {}

    def send(self, key: str, worker: str, number: int) -> bool:
        """Sends a signal to the command of a task; whether this worker has it at work, and not one that died before."""
        file = self.tasks[key].pid_file
        with suppress(Exception):  # the worker has ended meanwhile
            words = ["/bin/sh", "-c", SIGNAL.format(shlex.quote(str(file)), int(number))]
            return file.exists() and self.client.run(subprocess.call, words, workers=[worker]).get(worker) == 0
        return False

    def stop(self) -> None:
        """Lets commands at work save and end, and withdraws the others, lest one starts in place of one that ended."""
        working = {key: worker for worker, keys in self.at_work().items() for key in keys if self.send(key, worker, 0)}
        self.client.cancel([future for key, future in self.futures.items() if key not in working])
        for key, worker in working.items():
            self.send(key, worker, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while time.monotonic() < until and any(self.futures[key].status == "pending" for key in working):
            time.sleep(TICK)
        self.client.cancel(list(self.futures.values()))


def _was_lost(future: "Future") -> bool:
    """Whether a task ended because its worker did, and not by itself."""
    from distributed import KilledWorker

    if future.status == "finished":
        return bool(future.result() == TERMINATED)  # the worker's shutdown: the command saved
    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def execute(jobs: list[Job], address: str) -> Iterator[Event]:
    """Does jobs on the workers of a scheduler and yields what happens. Closing the generator lets commands at work save."""
    groups = list(command.batches(jobs, 1))
    folder = command.new_folder(jobs[0].run.path.parent.absolute() / FOLDER)
    tasks = [Task(number, folder, group) for number, group in enumerate(groups)]
    write_files(folder, {"commands.txt": "".join(f"{task.shell}\n" for task in tasks).encode()})
    pool = Pool(connect(address), address)
    try:
        for task in tasks:
            pool.submit(task)
        n_workers = len(pool.client.scheduler_info(n_workers=-1)["workers"])
        yield Event("notice", text=f"Dask: {plural(len(tasks), 'task')} for {plural(n_workers, 'worker')}; {folder}")
        yield from _follow(pool)
    finally:
        with suppress(OSError, TimeoutError):
            if pool.futures:
                pool.stop()
            pool.client.close()


def _follow(pool: Pool) -> Iterator[Event]:
    """Until every task has ended."""
    active, looked, told = set[str](), 0.0, False
    while pool.tasks:
        for task in pool.ended():
            for job in task.jobs:
                what = f"Dask task {task.number}"
                yield from (Event("ended", run, command.ending_of(run, job, what, task.log)) for run in job.runs)
        if time.monotonic() - looked > POLL:
            looked, by_worker = time.monotonic(), pool.at_work()
            active = {key for keys in by_worker.values() for key in keys if pool.tasks[key].pid_file.exists()}
            if not by_worker and pool.tasks and not told:
                yield Event(
                    "notice", text=NO_WORKER.format(pool.client.scheduler.address if pool.client.scheduler else "ADDRESS")
                )
            told = not by_worker
        yield Event(
            "tick", active=tuple(run for key in active & set(pool.tasks) for job in pool.tasks[key].jobs for run in job.runs)
        )
        time.sleep(TICK)
