"""Ctrl-C and SIGTERM: the first one ends the command or lets a step end and its state be saved, a second Ctrl-C ends at once.

A handler of Python runs only between two instructions of Python. Where a signal must work inside a long call of C too, a thread
looks: the system writes the signal's number into a pipe, whatever the main thread does.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

leave = os._exit  # as it is now: the code of a run may not call it
INTERRUPTED, TERMINATED = 130, 75  # exit codes of a process that Ctrl-C or SIGTERM ended
GRACE = 20.0  # seconds after SIGTERM in which a process may save
IMPATIENCE = 1.0  # seconds after a second Ctrl-C
STOPPING = "stopping after this step; Ctrl-C again ends at once\n"


class Interrupted(BaseException):
    """Ctrl-C, under a name that typer does not handle: it would end the command without a message."""


class Terminated(BaseException):
    """SIGTERM as an exception, so that `finally` blocks stop the child processes."""


raised: type[Interrupted | Terminated] | None = None  # by the last signal


def install(grace: float = GRACE + 5) -> None:
    """From now on Ctrl-C raises Interrupted and SIGTERM raises Terminated.

    A process that goes on all the same ends soon after a second Ctrl-C, and `grace` seconds after SIGTERM. A signal that was
    ignored when the process started, as Ctrl-C is in the background of a shell, stays ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # the pipe is this process's alone
    threading.Thread(target=_watch, args=(reader, grace), daemon=True).start()


def ignore() -> None:
    """From now on no signal changes the exit code: Python removes handlers before a process ends, and one would kill it then."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _raise(number: int, _: FrameType | None) -> None:
    global raised
    raised = Interrupted if number == signal.SIGINT else Terminated
    raise raised


@contextmanager
def through_imports() -> Iterator[None]:
    """A signal while a module in C is imported, which makes an ImportError of it, is the signal again."""
    try:
        yield
    except ImportError:
        if raised is None:
            raise
        raise raised from None


def _watch(reader: int, grace: float) -> None:
    """Ends this process soon after a second Ctrl-C, and some time after SIGTERM."""
    interrupts = 0
    while numbers := os.read(reader, 1):
        interrupts += numbers[0] == signal.SIGINT
        if numbers[0] == signal.SIGTERM:
            _end_later(grace, TERMINATED)
        elif numbers[0] == signal.SIGINT and interrupts > 1:
            _end_later(IMPATIENCE, INTERRUPTED)


def _end_later(seconds: float, code: int) -> None:
    def end() -> None:
        time.sleep(seconds)
        leave(code)

    threading.Thread(target=end, daemon=True).start()


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in a list instead of ending the process, so that a step can end and its state be saved.

    A second Ctrl-C raises Interrupted.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def collect(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and number in caught:
            raise Interrupted
        caught.append(number)
        if number == signal.SIGINT:
            with suppress(OSError):
                os.write(2, STOPPING.encode())

    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    old = [signal.signal(number, collect) for number in numbers]
    try:
        yield caught
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


@contextmanager
def blocked() -> Iterator[None]:
    """Within, signals wait; a process started here has them blocked until it unblocks them."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
