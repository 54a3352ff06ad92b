"""What is wrong with a user's code: a sentence that begins with file and line, and the hook that was tried."""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli.choice import ChoiceError
from rpecli.trial import process_settings
from rpecli.trial.checks import Finding


class Fault(Exception):  # noqa: N818 - an error of the code that is tried, not of rpe
    """A sentence for the user."""


@dataclass
class Tried:
    """An encoding or a task while it is tried; `step` is the hook that runs, `when` with what."""

    choice: str  # of a copy of the user's file
    path: Path  # of its file
    name: str  # how messages call it: the path that the user knows, or the choice of what ships
    note: Callable[[str], None] = field(default=lambda _: None)
    step: str = "it"
    when: str = ""

    def call(self, hook: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a hook returns. Raises Fault for whatever it raises, with the line of the user's file."""
        with self.trying(hook + self.when, function):
            return function(*arguments)

    @contextmanager
    def trying(self, step: str, function: object = None) -> Any:
        self.step, before = step, process_settings.values()
        self.note(f"{self.where(function)}: {step}")
        try:
            yield
        except (Fault, ChoiceError, Finding):
            process_settings.restore(before)
            raise
        except (Exception, SystemExit) as error:
            line = catalog.line_in(self.path, error)
            place = f"{self.name}:{line}" if line and not self.is_shipped else self.where(function)
            if not line:  # whatever rpe or torch trips over then
                self._require_unchanged(before, step, function)
            process_settings.restore(before)
            raise Fault(f"{place}: {step}: {catalog.cause(error)}") from error
        self._require_unchanged(before, step, function)

    def _require_unchanged(self, before: dict[str, Any], step: str, function: object) -> None:
        """Puts the settings of the process back. Raises Fault where the code changed one, with its line."""
        if changed := process_settings.restore(before):
            line = catalog.line_with(self.path, changed[0])
            place = f"{self.name}:{line}" if line and not self.is_shipped else self.where(function)
            raise Fault(f"{place}: {step}: {changed[0]} changes all of the process, other encodings and tasks too: remove it")

    def fault(self, hook: str, text: str, function: object = None) -> Fault:
        return Fault(f"{self.where(function)}: {hook}{self.when}: {text}")

    @property
    def is_shipped(self) -> bool:
        return catalog.is_shipped(self.path)

    def where(self, function: object = None) -> str:
        """`mine.py:10`, where a function, a class or the value of a constant begins; the choice for what ships."""
        if isinstance(function, type | str) and not self.is_shipped:
            return f"{self.name}:{catalog.line_of(self.path, function if isinstance(function, str) else function.__name__)}"
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None and code.co_filename == str(self.path) and not self.is_shipped:
            return f"{self.name}:{code.co_firstlineno}"
        return self.name

    def where_now(self) -> str:
        """`mine.py:10`, the line of the file that the main thread is in."""
        frame: Any = sys._current_frames().get(threading.main_thread().ident or 0)
        while frame is not None:
            if frame.f_code.co_filename == str(self.path) and not self.is_shipped:
                return f"{self.name}:{frame.f_lineno}"
            frame = frame.f_back
        return self.where()


def described(value: object) -> str:
    """A wrong value in a few words: `None`, `a str '8'`, `shape [3, 3]`."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"shape {list(shape)}"
    return "None (is a return missing?)" if value is None else f"{type(value).__name__} {' '.join(repr(value).split()):.40}"


def quiet() -> None:
    """Nothing that the code prints while it is tried reaches the user."""
    faulthandler.disable()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    sys.stdout = sys.stderr = open(null, "w", closefd=False)  # noqa: SIM115 - for the life of the process
