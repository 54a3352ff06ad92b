"""Runs that move: copies of run directories for other people and machines, and the removal of runs.

Only files that rpe knows are copied, and no links are followed. run.json comes last: a copy that was cut short is no run, and the
same command goes on with it.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from rpecli import catalog
from rpecli.escape import name_problem
from rpecli.run.directory import Run
from rpecli.run.files import RunError, read_bytes, reason, remove_temporary, write_files, write_json

PRIVATE = ("pid", "process")  # keys of run.json that mean nothing elsewhere


def copy(run: Run, folder: Path, more: Mapping[str, bytes] = {}) -> Run:
    """A copy of a trained run at `folder`/ID, with more files, by name.

    Raises RunError where there is another run or something else, and where a file cannot be read or written.
    """
    record = {key: value for key, value in run.record.items() if key not in PRIVATE}
    if problem := name_problem(record["id"]):
        raise RunError(f"{run.record_file}: id: {record['id']!r}: {problem}")
    target = Run(folder / record["id"])
    _require_room(run, target)
    for name, data in {**dict(_files(run)), **more}.items():
        own = _lines_of(target.path / name) if name in MEASURED else []
        write_files((target.path / name).parent, {Path(name).name: data + b"".join(line for line in own if line not in data)})
    write_json(target.record_file, record)
    return target


def _lines_of(file: Path) -> list[bytes]:
    """What was measured in a copy, which a copy made anew keeps."""
    return (read_bytes(file) or b"").splitlines(keepends=True)


def _require_room(run: Run, target: Run) -> None:
    """Raises RunError unless the target is not there, is a copy of the run, or the start of one."""
    if target.path.exists() and target.path.resolve() == run.path.resolve():
        raise RunError(f"{target} is the run itself: choose another folder")
    if target.has_record:
        if target.record.get("weights") != run.record.get("weights"):
            raise RunError(f"{target} holds other weights of this run: move it, or choose another folder")
    elif target.path.exists() and not (target.path.is_dir() and _known_only(target)):
        raise RunError(f"{target} is not a run of rpe: move it, or choose another folder")


def _known_only(run: Run) -> bool:
    """Whether a directory holds nothing but what `copy` writes, once those of these files that a kill cut short are removed."""
    known = {file.name for file in (run.record_file, *_plain_files(run))} | {catalog.COPIES, "README.md"}
    remove_temporary(run.path, known)
    return {path.name for path in run.path.iterdir()} <= known


def is_copied(run: Run, folder: Path) -> bool:
    """Whether `folder` has a run of the same weights."""
    with suppress(RunError):
        target = Run(folder / run.record["id"])
        return target.has_record and target.is_trained and target.record.get("weights") == run.record.get("weights")
    return False


def _plain_files(run: Run) -> tuple[Path, ...]:
    return run.recipe_file, run.metrics_file, run.evaluations_file, run.probes_file, run.weights_file


MEASURED = Run(Path()).evaluations_file.name, Run(Path()).probes_file.name  # a line for each measurement, in any order
RECORDS = tuple(path.name for path in _plain_files(Run(Path()))[:-1])  # what a report may read, beside run.json and code/


def _files(run: Run) -> Iterator[tuple[str, bytes]]:
    """The files of a run by their names within it, but run.json."""
    yield from record_files(run)
    yield from _read(run, [run.weights_file])


def record_files(run: Run) -> Iterator[tuple[str, bytes]]:
    """Those of them that a report may read."""
    plain = [run.path / name for name in RECORDS]
    yield from _read(run, [*plain, *sorted((run.path / catalog.COPIES).glob("*/*.py"))])


def _read(run: Run, paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        if path.is_symlink():
            raise RunError(f"{path} is a link: put the file itself there")
        if (data := read_bytes(path)) is not None:
            yield path.relative_to(run.path).as_posix(), data


def remove(run: Run) -> None:
    """Deletes a run directory; of a link, only the link. Raises RunError where a process works on it, or the system refuses.

    run.json goes last: what a kill leaves behind is still a run that can be removed.
    """
    try:
        if run.path.is_symlink():
            run.path.unlink()
            return
        if not os.access(run.path, os.W_OK):
            raise RunError(f"{run} cannot be removed: permission denied")
        with run.lock():
            for path in run.path.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path != run.record_file:
                    path.unlink()
            shutil.rmtree(run.path)
    except OSError as error:
        raise RunError(f"{run} cannot be removed: {reason(error)}") from None
