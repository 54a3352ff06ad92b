"""A run directory: its lock, its provenance, and writes that a kill at any moment cannot spoil.

    runs/copy-rope-s1-0f3a9c21/
        recipe.yaml               the resolved recipe; `rpe train` on it makes this very run
        run.json                  status, seeds, commit, versions, device, threads, wall time
        metrics.jsonl             a line per validation
        checkpoint.safetensors    weights, optimizer state and step while training
        weights.safetensors       the trained weights; written last
        eval.jsonl                a line per evaluated length
        probes.jsonl              a line per probe and shift
        log.txt                   what the process printed

Whatever is replaced is written beside, synced and renamed; readers ignore a torn last line.
"""

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from rpecli import catalog
from rpecli.config import recipe

REQUIRED = ("task", "encoding", "seed", "status")
STATUSES = ("created", "training", "stopped", "failed", "trained")
TAIL = 1 << 12  # bytes at the end of a file that hold its last line; a line of metrics.jsonl has about 200


class RunError(ValueError):
    """A run directory that is damaged, foreign, missing or in use."""


class Stopped(Exception):  # noqa: N818 - not an error: the run was asked to stop, and has saved
    """Raised by a run that was asked to stop once its state is on disk; `signal` is the number that asked."""

    def __init__(self, signal: int):
        self.signal = signal
        super().__init__(f"stopped by signal {signal}")


# ------------------------------------------------------------------------------------------------------------ safe writes


def replace(path: Path, data: bytes) -> None:
    """Writes a whole file so that a reader, or a kill, sees the old one or the new one."""
    beside = path.with_name(path.name + f".{os.getpid()}.tmp")
    with open(beside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def write_json(path: Path, value: Any) -> None:
    replace(path, (json.dumps(value, indent=1) + "\n").encode())


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Adds one JSON line; a torn line that a kill left behind is cut off first."""
    with open(path, "a+b") as file:
        _cut_torn_line(file)
        file.write(line_bytes(value))
        file.flush()
        os.fsync(file.fileno())


def line_bytes(value: dict[str, Any]) -> bytes:
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
    """The JSON lines of a file (none if it is not there), a torn last line ignored. Raises RunError on any other damage."""
    if not path.exists():
        return []
    *whole, _ = path.read_bytes().split(b"\n")
    lines = []
    for number, text in enumerate(whole, 1):
        if (line := _line(text)) is None:
            raise RunError(f"{path}:{number}: damaged line: delete that line, or the run, and start again")
        lines.append(line)
    return lines


def last_line(path: Path) -> dict[str, Any] | None:
    """The last of `read_lines`, read from the file's end: cheap enough to ask for again and again while a run goes on.

    None where there is none. Also None where it is damaged: what shows progress goes on, and what needs the file names the line.
    """
    with suppress(FileNotFoundError), open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        for size in (TAIL, end):
            file.seek(max(0, end - size))
            *whole, _ = file.read().split(b"\n")
            if len(whole) > 1:  # the first may have been cut by where reading began
                break
        return _line(whole[-1]) if whole else None
    return None


def _line(text: bytes) -> dict[str, Any] | None:
    """The object of a JSON line, None if it is damaged."""
    try:
        line = json.loads(text)
    except ValueError:  # not JSON, not even text
        return None
    return line if isinstance(line, dict) else None


# -------------------------------------------------------------------------------------------------------- the directory


def create(config: "recipe.Config", runs: Path, study: str = "default") -> Path:
    """The directory of this config under `runs`, made if it is not there. Raises RunError if what is there is not this run."""
    path = runs / config.id
    if (path / "run.json").exists():
        if read(path).get("id") != config.id:
            raise RunError(f"{path}: what is there is another run: move it elsewhere")
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RunError(f"{error.filename} is a file where a directory is to be: move it elsewhere") from None
    replace(path / "recipe.yaml", config.to_yaml().encode())
    info: dict[str, Any] = {"id": config.id, "task": recipe.label(config.task), "encoding": recipe.label(config.encoding)}
    info |= {"positions": config.positions, "seed": config.seed, "status": "created", "study": study}
    info |= {"group": group_of(config.encoding), "family": family_of(config.task), "sources": sources(config), "created": now()}
    write_json(path / "run.json", info)
    return path


def group_of(encoding: str) -> str:
    """APE, RPE, none or content: what the encoding's file calls itself; of several, the first that is not none."""
    files = [catalog.find("encodings", catalog.parse_choice(part)[0]) for part in catalog.parts(encoding)]
    groups = [catalog.facts(file).get("group", "RPE") for file in files]
    return next((group for group in groups if group != "none"), "none")


def family_of(task: str) -> str:
    """What the task's file calls its kind of problem."""
    return str(catalog.facts(catalog.find("tasks", catalog.parse_choice(task)[0])).get("family", "other"))


def sources(config: "recipe.Config") -> dict[str, str]:
    """Fingerprints of the task's and the encoding's files, to notice that one changed since a run was trained."""
    pairs = (("tasks", config.task), ("encodings", config.encoding))
    return {kind: "+".join(_fingerprint(kind, part) for part in catalog.parts(choice)) for kind, choice in pairs}


def _fingerprint(kind: str, choice: str) -> str:
    return catalog.fingerprint(catalog.find(kind, catalog.parse_choice(choice)[0]))


def read(path: Path) -> dict[str, Any]:
    """`run.json`. Raises RunError if the directory is not a run or its record is damaged."""
    file = path / "run.json"
    if not path.is_dir():
        raise RunError(f"no run {path}: rpe ls runs shows what there is")
    if not file.exists():
        raise RunError(f"{path}: not a run directory (no run.json): move it elsewhere, or name the runs you mean")
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise RunError(f"{file}: damaged record: delete {path} and start the run again") from None
    missing = [key for key in REQUIRED if not isinstance(info, dict) or key not in info]
    if missing:
        raise RunError(f"{file}: not a record of rpe (no {', '.join(missing)}): move {path} elsewhere")
    return info


def update(path: Path, **fields: Any) -> dict[str, Any]:
    """Changes fields of `run.json` in one step and returns the whole of it."""
    info = read(path) | fields
    write_json(path / "run.json", info)
    return info


def config_of(path: Path) -> "recipe.Config":
    """The resolved recipe of a run. Raises RunError if it does not load."""
    try:
        made, _ = recipe.load(str(path / "recipe.yaml"))
        (config,) = made.configs()
        return config
    except (recipe.RecipeError, ValueError) as error:
        raise RunError(f"{path}: its recipe.yaml does not load: {error}") from None


def listing(runs: Path) -> tuple[list[Path], list[str]]:
    """Run directories under `runs`, sorted, and a message for each directory that is damaged or not a run."""
    found, trouble = [], []
    for path in sorted(p for p in runs.iterdir() if p.is_dir()) if runs.is_dir() else []:
        try:
            read(path)
            found.append(path)
        except RunError as error:
            trouble.append(str(error))
    return found, trouble


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds a run for this process; the system lets go of it when the process ends, however it ends."""
    held = FileLock(path / "lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{path} is being worked on by another process: wait for it, or stop it") from None
    try:
        yield
    finally:
        held.release()


# ------------------------------------------------------------------------------------------------------------- provenance


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def commit() -> tuple[str | None, bool]:
    """The git commit of the code that runs, and whether tracked files differ from it; (None, False) outside a checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=catalog.PACKAGE.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != catalog.PACKAGE.parent:
            return None, False
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no", "--", "rpecli", "tasks"))
    except (OSError, subprocess.CalledProcessError):
        return None, False


def provenance() -> dict[str, Any]:
    """What made a number: commit, versions, machine. Takes no import of torch."""
    revision, dirty = commit()
    packages = ("rpe", "torch", "numpy", "safetensors", "pydantic")
    versions = {"python": platform.python_version()} | {p: _version(p) for p in packages}
    return {"commit": revision, "dirty": dirty, "versions": versions, "machine": machine(), "platform": sys.platform}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def peak_memory() -> int:
    """Bytes that this process took at most so far; a child may have inherited what its parent took."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def machine() -> str:
    """The processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {cores()} cores"


def cores() -> int:
    """Cores this process may use, container limits of the affinity mask included."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
