"""Reading and writing files so that a kill at any moment cannot spoil them."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

RECORD_FORMAT = 4  # of run.json, metrics.jsonl, eval.jsonl and probes.jsonl; raised when a key changes its name or meaning
TAIL = 1 << 12  # bytes at the end of a file that hold its last line; a line of metrics.jsonl has about 200


class RunError(ValueError):
    """A run directory that is damaged, foreign, missing or in use."""


class RunInUse(RunError):  # noqa: N818 - reads as what it says
    """A run that another process works on."""


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a whole file so that a reader finds the old one or the new one, whenever the process is killed."""
    temporary = path.with_name(path.name + f".{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Writes every file, by name, into a folder, which is created if necessary; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_bytes(folder / name, data)
    return [folder / name for name in files]


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Adds one JSON line; a torn line that a kill left behind is cut off first."""
    with open(path, "a+b") as file:
        _cut_torn_line(file)
        file.write(line_bytes(value))
        file.flush()
        os.fsync(file.fileno())


def line_bytes(value: Mapping[str, Any]) -> bytes:
    """A value as the line that `append_line` writes."""
    return json.dumps(value).encode() + b"\n"


def _cut_torn_line(file: IO[bytes]) -> None:
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file (none if it does not exist), a torn last line left out. Raises RunError on any other damage."""
    if not path.exists():
        return []
    *texts, _ = path.read_bytes().split(b"\n")
    lines = []
    for number, text in enumerate(texts, 1):
        if (line := _parse(text)) is None:
            raise RunError(f"{path}:{number}: damaged line: delete that line, or the run, and start again")
        lines.append(line)
    return lines


def last_line(path: Path) -> dict[str, Any] | None:
    """The last of `read_lines`, read from the end of the file, so that progress can be shown often and cheaply.

    None if there is no line, or if it is damaged: a display of progress goes on, and `read_lines` names the damaged line.
    """
    with suppress(FileNotFoundError), open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        for size in (TAIL, end):
            file.seek(max(0, end - size))
            *texts, _ = file.read().split(b"\n")
            if len(texts) > 1:  # the first may be cut where reading began
                break
        return _parse(texts[-1]) if texts else None
    return None


def _parse(text: bytes) -> dict[str, Any] | None:
    """The object of a JSON line; None if the line is damaged."""
    try:
        line = json.loads(text)
    except ValueError:  # not JSON, not even text
        return None
    return line if isinstance(line, dict) else None
