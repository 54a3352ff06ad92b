"""The records of runs in one file, `runs.tar.xz`: all that a report reads, without weights.

Equal runs give equal bytes: members are sorted, and have no dates and owners.
"""

import io
import json
import lzma
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rpecli.escape import json_text, name_problem
from rpecli.run.directory import Run
from rpecli.run.files import RunError, reason, seal, write_files
from rpecli.run.transfer import PRIVATE, record_files

FILE = "runs.tar.xz"
STUDY, RECORD = "study.json", "run.json"
RUNS = "runs"  # the folder that they are unpacked into


class Study(NamedTuple):
    """What a report says of itself beside its runs."""

    command: str


def packed(runs: Iterable[Run], study: Study) -> bytes:
    """An archive of these runs. Raises RunError for a run that cannot be read."""
    members = {STUDY: json_text(study._asdict()).encode()}
    for run in runs:
        record = {key: value for key, value in run.record.items() if key not in PRIVATE}
        files = {**dict(record_files(run)), RECORD: seal(json_text(record))}
        members |= {f"{run.record['id']}/{name}": data for name, data in files.items()}
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
        with tarfile.open(file, mode="r:xz") as tar:
            for path, data in _members(tar, file):
                if path.parts == (STUDY,):
                    study = Study(**json.loads(data))
                else:
                    write_files(folder / RUNS / path.parent, {path.name: data})
    except OSError as error:
        raise RunError(f"{file} cannot be read: {reason(error)}") from None
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, TypeError) as error:
        raise RunError(
            error if isinstance(error, RunError) else f"{file} is damaged ({error}): take it from where it came"
        ) from None
    return study


def _members(tar: tarfile.TarFile, file: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of an archive with their paths, each of which stays within a folder."""
    for member in tar:
        path, data = PurePosixPath(member.name), tar.extractfile(member) if member.isfile() else None
        if data is None or path.is_absolute() or any(map(name_problem, path.parts)):
            raise RunError(f"{file} holds {member.name!r}, which is no file of a run: make it with rpe report --records")
        yield path, data.read()
