"""Reading and writing files so that a kill at any moment cannot spoil them, and damage does not pass unseen.

Every record, a JSON object, ends with a checksum of its own text, which covers whatever byte of it changes.
"""

import codecs
import errno
import hashlib
import os
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

from rpecli import process
from rpecli.escape import json_text

RECORD_FORMAT = 5  # of run.json, metrics.jsonl, eval.jsonl and probes.jsonl; raised when a key changes its name or meaning
TAIL = 1 << 12  # bytes at the end of a file that hold its last line; a line of metrics.jsonl has about 200
CHECKSUM = b'"checksum": "'  # the last key of a record
DIGITS = 16  # of the SHA-256 of the text before that key
Line = TypeVar("Line")
TEMPORARY = ".tmp"  # ends the name of a file that is being written: NAME.PID.tmp


class RunError(ValueError):
    """A run directory that is damaged, foreign, missing or in use."""


class RunInUse(RunError):  # noqa: N818 - reads as what it says
    """A run that another process works on."""


class Damaged(RunError):  # noqa: N818 - reads as what it says
    """A file that does not hold what rpe wrote."""


class OtherFormat(RunError):  # noqa: N818 - reads as what it says
    """A record that another version of rpe wrote: in `written`, the words for its format; `which` are the runs, with a verb."""

    def __init__(self, written: str, which: str = "it was"):
        self.written = written
        super().__init__(
            f"{which} written by another version of rpe ({written}; this is {RECORD_FORMAT}): "
            "move such runs elsewhere or delete them, and start the same command again"
        )


class NotWritten(RunError, OSError):  # noqa: N818 - reads as what it says
    """A file that could not be written."""


def reason(error: OSError) -> str:
    """`no space left on device`: what the system says, without its number and the name of the file."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def not_written(path: Path, error: OSError) -> NotWritten:
    """`no space left on device: FILE`, or what else is in the way of writing a file."""
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    problem = NotWritten(f"{path} cannot be written: {reason(error)}" if denied else f"{reason(error)}: {path}")
    problem.errno = error.errno
    return problem


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a whole file so that a reader finds the old one or the new one, whenever the process is killed.

    Raises NotWritten with nothing left behind.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise not_written(path, error) from None
        raise


def remove_temporary(folder: Path, names: Container[str] | None = None) -> None:
    """Removes the files, or those of some names, that killed processes were writing in a folder; those of living ones stay."""
    with suppress(OSError):
        for path in folder.glob(f"*{TEMPORARY}"):
            name, _, pid = path.name.removesuffix(TEMPORARY).rpartition(".")
            if pid.isdecimal() and (names is None or name in names) and process.identity(int(pid)) is None:
                path.unlink(missing_ok=True)


def problem_of_folder(folder: Path) -> str | None:
    """Why files cannot be written into a folder; None if they can. One that is not there yet is not created."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists() or path.is_symlink())
    if not existing.is_dir():
        return f"{existing} is not a folder"
    try:
        with TemporaryFile(dir=existing):  # not os.access: root may write everywhere, but not to a place that takes no files
            return None
    except OSError as error:
        return reason(error)


def write_files(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Writes every file, by name, into a folder, which is created if necessary; returns their paths."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from None
    for name, data in files.items():
        write_bytes(folder / name, data)
    return [folder / name for name in files]


def digest(data: bytes) -> str:
    """The checksum of a text."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def seal(text: str) -> bytes:
    """A JSON object with its checksum as its last key."""
    body = text[: text.rindex("}")]
    end = body[len(body.rstrip()) :]  # what stands before the last brace: a line break, where there is one key a line
    sealed = f"{body.rstrip()},{end + ' ' if end else ' '}".encode()
    return sealed + CHECKSUM + f'{digest(sealed)}"{end}}}\n'.encode()


def unseal(data: bytes) -> bytes:
    """A JSON object without its checksum. Raises Damaged where there is none, or where it is not that of the text."""
    sealed, mark, rest = data.removeprefix(codecs.BOM_UTF8).rpartition(CHECKSUM)
    if not mark:
        raise Damaged("damaged: no checksum")
    if b"".join(rest.split()) != f'{digest(sealed)}"}}'.encode():
        raise Damaged("damaged: the checksum does not match: a byte changed, or it was edited")
    return sealed.rstrip(b", \r\n") + b"}"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a record, one key a line."""
    write_bytes(path, seal(json_text(value)))


def line_bytes(value: Mapping[str, Any]) -> bytes:
    """A record as the line that `append_line` writes."""
    return seal(json_text(value, indent=None))


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Adds a record as one line; a torn line that a kill left behind is cut off first.

    Raises NotWritten with the file as it was.
    """
    try:
        with open(path, "a+b", buffering=0) as file:
            end = _cut_torn_line(file)
            try:
                _write_all(file, line_bytes(value))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise not_written(path, error) from None


def _write_all(file: IO[bytes], data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _cut_torn_line(file: IO[bytes]) -> int:
    """Returns where the file ends afterwards."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return 0
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return end
    file.seek(0)
    end = file.read().rfind(b"\n") + 1
    file.truncate(end)
    return end


def read_bytes(path: Path) -> bytes | None:
    """What a file holds; None if it does not exist. Raises RunError where it cannot be read."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason(error)}") from None


def read_lines(path: Path, parse: Callable[[bytes], Line], remedy: str = "delete that line") -> list[Line]:
    """The records of a file (none if it does not exist), a torn last line left out.

    Raises Damaged, with the number of the line, for one that has no right checksum or that `parse` refuses.
    """
    *texts, _ = (read_bytes(path) or b"").split(b"\n")
    lines = []
    for number, text in enumerate(texts, 1):
        if text.strip():
            try:
                lines.append(parse(unseal(text)))
            except Damaged as error:
                raise Damaged(f"{path}:{number}: {error}: {remedy}") from None
    return lines


def last_log_lines(log: Path, most: int) -> list[str] | None:
    """The last lines of a log that are not empty, at most so many; None where it cannot be read."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return [line for line in lines if line.strip()][-most:]


def last_line(path: Path, parse: Callable[[bytes], Line]) -> Line | None:
    """The last of `read_lines`, read from the end of the file, so that progress can be shown often and cheaply.

    None if there is no line, or if it is damaged: a display of progress goes on, and `read_lines` names the damaged line.
    """
    with suppress(OSError), open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        for size in (TAIL, end):
            file.seek(max(0, end - size))
            *texts, _ = file.read().split(b"\n")
            if len(texts) > 1:  # the first may be cut where reading began
                break
        texts = [text for text in texts if text.strip()]
        with suppress(Damaged):
            return parse(unseal(texts[-1])) if texts else None
    return None
