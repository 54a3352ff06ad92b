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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rpecli import catalog
from rpecli.choice import parse_choice, split_layers
from rpecli.config import load as config_load
from rpecli.config import recipe
from rpecli.config import yaml_source as config_yaml_source
from rpecli.run.files import RunError, write_bytes, write_json
from rpecli.run.provenance import now, sources

REQUIRED = ("task", "encoding", "seed", "status")
STATUSES = ("created", "training", "stopped", "failed", "trained")


class Stopped(Exception):  # noqa: N818 - not an error: the run was asked to stop, and has saved
    """Raised by a run that was asked to stop once its state is on disk; `signal` is the number that asked."""

    def __init__(self, signal: int):
        self.signal = signal
        super().__init__(f"stopped by signal {signal}")


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
    write_bytes(path / "recipe.yaml", config.to_yaml().encode())
    info: dict[str, Any] = {"id": config.id, "task": recipe.label(config.task), "encoding": recipe.label(config.encoding)}
    info |= {"positions": config.positions, "seed": config.seed, "status": "created", "study": study}
    info |= {"group": group_of(config.encoding), "family": family_of(config.task), "sources": sources(config), "created": now()}
    write_json(path / "run.json", info)
    return path


def group_of(encoding: str) -> str:
    """APE, RPE, none or content: what the encoding's file calls itself; of several, the first that is not none."""
    files = [catalog.find("encodings", parse_choice(part)[0]) for part in split_layers(encoding)]
    groups = [catalog.class_constants(file).get("group", "RPE") for file in files]
    return next((group for group in groups if group != "none"), "none")


def family_of(task: str) -> str:
    """What the task's file calls its kind of problem."""
    return str(catalog.class_constants(catalog.find("tasks", parse_choice(task)[0])).get("family", "other"))


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
        made, _ = config_load.load(str(path / "recipe.yaml"))
        (config,) = made.configs()
        return config
    except (config_yaml_source.RecipeError, ValueError) as error:
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
