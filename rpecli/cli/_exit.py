"""How a command ends: one or two lines on stderr, and an exit code for each kind of end."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from rpecli.escape import visible

USAGE, FAILURE = 2, 1  # beside the codes of a job that was stopped, in launch/job.py


class Interrupted(BaseException):
    """Ctrl-C, under a name that typer does not handle: it would end the command without a message."""


class Terminated(BaseException):
    """SIGTERM as an exception, so that `finally` blocks stop the child processes."""


def stop(message: str, code: int) -> NoReturn:
    """Ends the command with a message on stderr and an exit code."""
    warn(message, "red")
    raise SystemExit(code)


def warn(message: str, color: str = "yellow") -> None:
    """Prints a message to stderr, in color unless NO_COLOR is set, which typer does not check."""
    for line in visible(message).splitlines():
        typer.secho(line, err=True, fg=None if os.environ.get("NO_COLOR") else color)


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Within, SIGTERM raises Terminated and Ctrl-C raises Interrupted."""

    def terminate(*_: object) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGTERM, previous)
