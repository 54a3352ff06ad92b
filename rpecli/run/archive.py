"""The records of runs in one file, `runs.tar.xz`: all that a report reads, without weights.

Equal runs give equal bytes: members are sorted, and have no dates and owners. An archive may come from anybody: what
`packed` would not write is refused, and no more than MAX_BYTES is unpacked.
"""

import io
import json
import lzma
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from rpecli import catalog
from rpecli.escape import json_text, name_problem
from rpecli.run.directory import Run
from rpecli.run.files import RunError, reason, seal, write_files
from rpecli.run.transfer import PRIVATE, RECORDS, record_files

FILE, SUFFIX = "runs.tar.xz", ".tar.xz"
STUDY, RECORD = "study.json", "run.json"
RUNS = "runs"  # the folder that they are unpacked into
MAX_BYTES = 2 << 30  # unpacked: 5,000 runs with 66 kB of probes each have 0.5 GB
MAX_MEMBER = 256 << 20
MAX_MEMBERS = 200_000
MAX_NAME = 64 << 10  # bytes of the header of a long name, which is read as a whole
MAX_MEMORY = 256 << 20  # of the decompression; what `packed` writes takes 65 MiB
CHUNK = 1 << 20
REFUSED = "it is not read: make one with rpe report --records"
PLAIN, LONG_NAME = (tarfile.REGTYPE, tarfile.AREGTYPE), tarfile.XHDTYPE


class Study(NamedTuple):
    """What a report says of itself beside its runs; archives of rpe before the name was kept have none."""

    command: str
    name: str = ""


def packed(runs: Iterable[Run], study: Study) -> bytes:
    """An archive of these runs, each in a folder of its id; one that is there a second time in `ID-2`.

    Raises RunError for a run that cannot be read.
    """
    members, counts = {STUDY: json_text(study._asdict()).encode()}, Counter[str]()
    for run in runs:
        record = {key: value for key, value in run.record.items() if key not in PRIVATE}
        files = {**dict(record_files(run)), RECORD: seal(json_text(record))}
        counts[record["id"]] += 1
        folder = record["id"] if counts[record["id"]] == 1 else f"{record['id']}-{counts[record['id']]}"
        members |= {f"{folder}/{name}": data for name, data in files.items()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(members.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return lzma.compress(buffer.getvalue(), preset=9)


def unpacked(file: Path, folder: Path) -> Study:
    """Writes the runs of an archive to `folder`/runs. Raises RunError for a file that is not an archive of runs."""
    study = Study("")
    try:
        with file.open("rb") as stream, TemporaryFile() as plain:
            _decompress(stream, plain, file)
            _check_headers(plain, file)
            with tarfile.open(fileobj=plain, mode="r:") as tar:
                for path, data in _members(tar, file):
                    if path.parts == (STUDY,):
                        study = _study(data)
                    else:
                        write_files(folder / RUNS / path.parent, {path.name: data})
    except OSError as error:
        raise RunError(f"{file} cannot be read: {reason(error)}") from None
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, TypeError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{file} is damaged ({error}): take it from where it came") from None
    return study


def _study(data: bytes) -> Study:
    """Raises ValueError or TypeError for what `packed` does not write."""
    study = Study(**json.loads(data))
    if not all(isinstance(text, str) for text in study) or (study.name and name_problem(study.name)):
        raise ValueError(f"{STUDY} has no name and command of a report")
    return study


def _decompress(stream: IO[bytes], plain: IO[bytes], file: Path) -> None:
    """Raises RunError for an archive of more than MAX_BYTES, as soon as it has written so many."""
    decompressor, size = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_MEMORY), 0
    while not decompressor.eof:
        data = stream.read(CHUNK) if decompressor.needs_input else b""
        if decompressor.needs_input and not data:
            raise EOFError("it ends too early")
        piece = decompressor.decompress(data, max_length=CHUNK)
        size += len(piece)
        if size > MAX_BYTES:
            raise RunError(f"{file} holds more than {MAX_BYTES >> 30} GiB, which no archive of runs does: {REFUSED}")
        plain.write(piece)
    if decompressor.unused_data or stream.read(1):
        raise ValueError("something follows its end")
    plain.seek(0)


def _check_headers(plain: IO[bytes], file: Path) -> None:
    """Raises RunError for what is no plain file, for too many or too large ones: before anything of them is read."""
    for _ in range(MAX_MEMBERS + 1):
        header = plain.read(tarfile.BLOCKSIZE)
        if not header.strip(b"\0"):  # the end
            plain.seek(0)
            return
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        limit = MAX_NAME if member.type == LONG_NAME else MAX_MEMBER
        if member.type not in (*PLAIN, LONG_NAME):
            raise RunError(f"{file} holds {member.name!r}, which is a link, a folder or no plain file: {REFUSED}")
        if member.size > limit:
            raise RunError(f"{file} holds {member.name!r} of {member.size:,} bytes, more than {limit:,}: {REFUSED}")
        plain.seek(-(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, io.SEEK_CUR)
    raise RunError(f"{file} holds more than {MAX_MEMBERS:,} files: {REFUSED}")


def _members(tar: tarfile.TarFile, file: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of an archive with their paths, each of them one that `packed` writes, and once."""
    paths = set[PurePosixPath]()
    for member in tar:
        path = PurePosixPath(member.name)
        if not (member.isreg() and _is_known(path)) or member.size > MAX_MEMBER:
            raise RunError(f"{file} holds {member.name!r}, which is no file of a run: {REFUSED}")
        if path in paths:
            raise RunError(f"{file} holds {member.name!r} twice: {REFUSED}")
        paths.add(path)
        data = tar.extractfile(member)
        yield path, data.read() if data else b""


def _is_known(path: PurePosixPath) -> bool:
    """Whether `packed` writes such a file: study.json, ID/eval.jsonl, ID/code/encodings/mine.py."""
    if path.is_absolute() or any(map(name_problem, path.parts)):
        return False
    match path.parts:
        case (name,):
            return name == STUDY
        case (_, name):
            return name in (RECORD, *RECORDS)
        case (_, copies, kind, name):
            return copies == catalog.COPIES and kind in ("encodings", "tasks") and name.endswith(".py")
    return False
