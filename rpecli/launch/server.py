"""The process that starts the others: it has torch loaded, forks one child per job, and tells how each of them ended.

Importing torch anew took 2 s of CPU per run, and torch._dynamo, which the first optimizer loads, 1 s more.

The command and the server talk over a pair of sockets without a name: jobs one way, `Started` and `Ended` the other. A child's
last words come through a pipe of its own, so that a failure is known where it could not be written to the run. If the command
ends, however it ends, so do the server and the children: a pipe that the command holds open closes, and on Linux the kernel
sends them a signal.
"""

import atexit
import contextlib
import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from rpecli import process, signals
from rpecli.launch import worker
from rpecli.launch.job import FAILED, Ending, Job
from rpecli.run.provenance import provenance

MODULES = ("rpecli.train.loop", "rpecli.evaluate.measure", "rpecli.probes.inspect", "rpecli.probes.invariance", "filelock",
           "scipy.stats", "torch._dynamo")  # fmt: skip
LAST_WORDS = 1 << 14  # bytes; a reason has 1,000 characters at most


@dataclass(frozen=True)
class Task:
    """A job and its number, where it is to be done, and the environment: what code may run stands there."""

    number: int
    job: Job
    folder: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Started:
    number: int
    pid: int


@dataclass(frozen=True)
class Ended:
    """The end of a child: its exit status, negative for a signal, and how its job ended; None if it did not say."""

    number: int
    status: int
    ending: Ending | None


Message = Started | Ended


class Server:
    """The server as the command sees it. Its process starts with the first job, or before."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection[Any, Any] | None = None
        self.alive: int | None = None

    def open(self) -> None:
        """Starts the process if it is not there; it loads torch meanwhile."""
        if self.process is not None and self.process.poll() is None:
            return
        self.close()
        self.connection, theirs = Pipe()
        reader, self.alive = os.pipe()
        command = process.python_command(__name__, str(theirs.fileno()), str(reader))
        environment = {"OMP_NUM_THREADS": "1"} | os.environ  # while it loads torch; a run sets its own number of threads
        with signals.blocked():  # Ctrl-C and SIGTERM are for the command, which tells the children
            self.process = subprocess.Popen(
                command, env=environment, pass_fds=(theirs.fileno(), reader), stdin=subprocess.DEVNULL
            )
        atexit.register(self.close)
        theirs.close()
        os.close(reader)

    def send(self, number: int, job: Job) -> None:
        """Hands over a job, for the working folder and the environment of now. Raises OSError if the process has ended."""
        self.open()
        assert self.connection
        self.connection.send(Task(number, job, os.getcwd(), dict(os.environ)))

    def receive(self, timeout: float) -> list[Message]:
        """What happened, after waiting for it at most `timeout` seconds. Raises EOFError or OSError if the process has ended."""
        if self.connection is None:
            raise EOFError
        messages: list[Message] = []
        while self.connection.poll(0 if messages else timeout):
            try:
                messages.append(self.connection.recv())
            except (EOFError, OSError):
                if not messages:
                    raise
                break  # the next call raises
        return messages

    def close(self) -> None:
        """Ends the process; children that it has left save and end."""
        if self.process is None:
            return
        assert self.connection
        assert self.alive is not None
        self.connection.close()
        os.close(self.alive)
        self.process.kill()
        self.process.wait()
        atexit.unregister(self.close)
        self.process = self.connection = self.alive = None


def main() -> None:
    """The process: `server SOCKET ALIVE`, two file descriptors."""
    process.die_with_parent(signal.SIGKILL)
    with contextlib.suppress(EOFError, OSError):  # the command has ended
        _Children(Connection(int(sys.argv[1])), alive=int(sys.argv[2])).serve()
    os._exit(0)


class _Children:
    """The children of the server, by process number."""

    def __init__(self, command: "Connection[Any, Any]", alive: int):
        self.command, self.alive = command, alive
        self.numbers: dict[int, tuple[int, int]] = {}  # of the job, and the pipe of its last words, by process
        self.wakeup, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(self.wakeup, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the command ends."""
        for module in MODULES:
            importlib.import_module(module)
        provenance()  # asks git, once for all runs
        gc.collect()
        gc.freeze()  # what is loaded stays shared with the children
        while True:
            ready = wait([self.command, self.wakeup])
            if self.wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wakeup, 1 << 10)
                self.reap()
            if self.command in ready:
                self.start(self.command.recv())

    def start(self, task: Task) -> None:
        reader, writer = os.pipe()
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            os.close(reader)
            self.command.close()
            _child(task, parent, self.alive, writer)
        os.close(writer)
        self.numbers[pid] = (task.number, reader)
        self.command.send(Started(task.number, pid))

    def reap(self) -> None:
        """Tells the command of every child that has ended."""
        while self.numbers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            number, reader = self.numbers.pop(pid)
            os.set_blocking(reader, False)  # a process that the child left behind may hold the pipe open
            ending = None
            with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):  # it said nothing, or not all
                ending = pickle.loads(os.read(reader, LAST_WORDS))
            os.close(reader)
            self.command.send(Ended(number, os.waitstatus_to_exitcode(status), ending))


def _child(task: Task, parent: int, alive: int, writer: int) -> NoReturn:
    """A child from its first to its last instruction. It leaves without Python's clean-up, which takes as long as a small run."""
    ending = Ending(FAILED, "the process did not start")
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        process.die_with_parent(signal.SIGTERM)
        os.environ.update(task.environment)
        os.chdir(task.folder)
        if os.getppid() == parent:
            ending = worker.in_child(task.job, alive)
    except signals.Interrupted:
        ending = Ending(signals.INTERRUPTED)
    except signals.Terminated:
        ending = Ending(signals.TERMINATED)
    except BaseException as error:
        ending = Ending(FAILED, worker.reason_of(error))
    finally:
        with contextlib.suppress(BaseException):
            os.write(writer, pickle.dumps(ending))
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(ending.code)
