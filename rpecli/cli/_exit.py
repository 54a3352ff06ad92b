"""How a command ends: one or two lines on stderr, and an exit code for each kind of end."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from rpecli.escape import visible

USAGE, FAILURE = 2, 1  # beside the codes of a command that was stopped, in signals.py


def stop(message: str, code: int) -> NoReturn:
    """Ends the command with a message on stderr and an exit code."""
    warn(message, "red")
    raise SystemExit(code)


@contextmanager
def flushed_output() -> Iterator[None]:
    """Writes what is left of standard output at the end. Raises OSError where that is impossible, such as on a full disk."""
    try:
        yield
    finally:
        sys.stdout.flush()


def warn(message: str, color: str = "yellow") -> None:
    """Prints a message to stderr, in color unless NO_COLOR is set, which typer does not check."""
    for line in visible(message).splitlines():
        typer.secho(line, err=True, fg=None if os.environ.get("NO_COLOR") else color)
