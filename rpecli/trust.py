"""Which of the users' files may run: those that the user named, in this command or before.

A run directory holds the code that made it, and run directories are copied between people. Such code runs only if its text is in
the user's own list of files that they named, or if they allow it with `--trust-code`. Naming a file is: writing its path on the
command line, or in a recipe that is not a run's.
"""

import ast
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rpecli.choice import ChoiceError, paths_in

VARIABLE = "RPE_TRUST_CODE"  # `all`, or SHA-256 sums: child processes inherit what this command allows
ALL = "all"


def allow_all() -> None:
    """The user gave `--trust-code`."""
    os.environ[VARIABLE] = ALL


def allow(choices: Iterable[str]) -> None:
    """The user named the files of these canonical choices: they may run, now and whenever their text is the same."""
    for path in dict.fromkeys(path for choice in choices for path in paths_in(choice)):
        with suppress(OSError):  # a path that is not there is an error elsewhere
            digest = _digest(path.read_bytes())
            if not _is_listed(digest):
                os.environ[VARIABLE] = ",".join(filter(None, (os.environ.get(VARIABLE), digest)))
            if repr(str(path)) not in _named(digest):
                _remember(digest, path)


def check(path: Path, text: bytes) -> None:
    """Raises ChoiceError for a file that the user has not named."""
    if not _is_listed(_digest(text)):
        raise ChoiceError(f"{path}: this code came with a run and was never named by you: read it, then add --trust-code")


def original(path: Path) -> Path:
    """The user's file of which a run directory holds this copy, if it still has the same text; else the copy."""
    with suppress(OSError, ValueError, SyntaxError):
        digest = _digest(path.read_bytes())
        for name in map(ast.literal_eval, reversed(_named(digest))):
            if Path(name).is_file() and _digest(Path(name).read_bytes()) == digest:
                return Path(name)
    return path


def state_file() -> Path:
    """The list of this user: one line per file, its SHA-256 and the path that it had."""
    folder = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(folder) / "rpe" / "trusted-code.txt"


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _is_listed(digest: str) -> bool:
    allowed = os.environ.get(VARIABLE, "")
    if allowed == ALL or digest in allowed:
        return True
    return bool(_named(digest))


def _named(digest: str) -> list[str]:
    """The paths, as Python writes them, at which the user named a file of this text; the latest last."""
    with suppress(OSError, UnicodeDecodeError):
        lines = state_file().read_text(encoding="utf-8").splitlines()
        return [line.partition("  ")[2] for line in lines if line.startswith(digest)]
    return []


def _remember(digest: str, path: Path) -> None:
    with suppress(OSError):  # a read-only home: this command and its children know it from their environment
        state_file().parent.mkdir(parents=True, exist_ok=True)
        with open(state_file(), "a", encoding="utf-8") as file:
            file.write(f"{digest}  {str(path)!r}\n")
