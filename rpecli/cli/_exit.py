"""How a command ends: a line or two on stderr, and an exit code for each kind of end."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

USAGE, FAILURE = 2, 1  # beside those of a job that was stopped


class Interrupted(BaseException):
    """Ctrl-C, by a name that typer does not know: it would end the command without a word."""


class Terminated(BaseException):
    """SIGTERM, as an exception, so that `finally` blocks stop the children."""


def stop(message: str, code: int) -> NoReturn:
    warn(message, "red")
    raise SystemExit(code)


def warn(message: str, colour: str = "yellow") -> None:
    """To stderr, a line at a time; typer knows nothing of NO_COLOR."""
    for line in message.splitlines():
        typer.secho(line, err=True, fg=None if os.environ.get("NO_COLOR") else colour)


@contextmanager
def signals_end_it() -> Iterator[None]:
    """Within, SIGTERM and Ctrl-C are exceptions that `main` knows."""

    def end(*_: object) -> None:
        raise Terminated

    old = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGTERM, old)
