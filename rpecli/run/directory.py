"""A run directory: its files by name, its record, its lock.

    runs/copy-rope-s1-0f3a9c21/
        recipe.yaml               the resolved recipe; `rpe train` on it trains this very run
        code/                     copies of the user's own encodings and tasks, which recipe.yaml names
        run.json                  status, seeds, commit, versions, device, wall time
        metrics.jsonl             one line per validation
        checkpoint.safetensors    weights, optimizer state and step while training
        weights.safetensors       the trained weights; written last
        eval.jsonl                one line per evaluated length
        probes.jsonl              one line per probe
        log.txt                   what the process printed

A file that is replaced is written under another name, synced and renamed; readers ignore a torn last line.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from rpecli import catalog
from rpecli.choice import parse_choice, split_layers
from rpecli.config import load as config_load
from rpecli.config.recipe import Config, label
from rpecli.config.yaml_source import RecipeError
from rpecli.run import code
from rpecli.run.files import (
    RECORD_FORMAT,
    RunError,
    RunInUse,
    append_line,
    last_line,
    line_bytes,
    read_lines,
    write_bytes,
    write_json,
)
from rpecli.run.provenance import now, sources
from rpecli.run.records import EvalLine, MetricsLine, ProbeLine

REQUIRED = ("task", "encoding", "seed", "status")


class Status(StrEnum):
    """How far a run is, in its record."""

    CREATED = "created"
    TRAINING = "training"
    STOPPED = "stopped"
    FAILED = "failed"
    TRAINED = "trained"


class Stopped(Exception):  # noqa: N818 - not an error: the run was asked to stop, and has saved
    """Raised by a run that was asked to stop once its state is on disk; `signal` is the number of the signal."""

    def __init__(self, signal: int):
        self.signal = signal
        super().__init__(f"stopped by signal {signal}")


@dataclass(frozen=True, order=True)
class Run:
    """One run directory. Only the recipe is kept in memory: another process may be writing the other files.

    Every read raises RunError, with the remedy, where a file is missing, damaged or written by another version of rpe.
    """

    path: Path

    @classmethod
    def create(cls, config: Config, runs: Path, study: str = "default") -> "Run":
        """The run of this config under `runs`, created if it is not there. Raises RunError if the directory holds another run."""
        run = cls(runs / config.id)
        if run.record_file.exists():
            if run.record.get("id") != config.id:
                raise RunError(f"{run} already holds a different run: move it, or use another --runs folder")
            return run
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            file = next(path for path in (run.path, *run.path.parents) if path.is_file())
            raise RunError(f"{file} is a file where a directory is needed: move the file elsewhere") from None
        own = code.with_copies(config, run.path)
        write_bytes(run.recipe_file, own.to_yaml(run.path).encode())
        record = {"format": RECORD_FORMAT, "id": config.id, "task": label(config.task), "encoding": label(config.encoding)}
        record |= {"positions": config.positions, "seed": config.seed, "status": Status.CREATED, "study": study}
        record |= {"group": group_of(config.encoding), "family": family_of(config.task)}
        record |= {"sources": sources(own), "code": code.shipped_code(own)}
        write_json(run.record_file, record | {"created": now()})
        return run

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def record_file(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def weights_file(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def evaluations_file(self) -> Path:
        return self.path / "eval.jsonl"

    @property
    def probes_file(self) -> Path:
        return self.path / "probes.jsonl"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    @cached_property
    def config(self) -> Config:
        """The resolved recipe."""
        try:
            return config_load.load_config(self.recipe_file)
        except (RecipeError, OSError) as error:
            raise RunError(f"{self}: its recipe.yaml does not load: {error}") from None

    @property
    def record(self) -> dict[str, Any]:
        """What run.json holds now."""
        if not self.path.is_dir():
            raise RunError(f"no run {self}: rpe ls runs lists the runs")
        if not self.record_file.exists():
            raise RunError(f"{self}: not a run directory (no run.json): move it elsewhere, or name the runs you mean")
        try:
            record = json.loads(self.record_file.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise RunError(f"{self.record_file}: damaged record: delete {self} and start the run again") from None
        missing = [key for key in REQUIRED if not isinstance(record, dict) or key not in record]
        if missing:
            raise RunError(f"{self.record_file}: not a record of rpe (no {', '.join(missing)}): move {self} elsewhere")
        written = record.get("format", 2)  # format 2 had no such key
        if written != RECORD_FORMAT:
            raise RunError(
                f"{self} was written by another version of rpe (record format {written}; this is {RECORD_FORMAT}): "
                "move it elsewhere or delete it, and start the same command again"
            )
        if record["status"] not in list(Status):
            raise RunError(f"{self.record_file}: not a record of rpe (status {record['status']!r}): move {self} elsewhere")
        return record

    def update(self, **fields: Any) -> dict[str, Any]:
        """Changes fields of run.json in one step and returns the whole record."""
        record = self.record | fields
        write_json(self.record_file, record)
        return record

    @property
    def is_trained(self) -> bool:
        """Whether training has ended and its weights are there."""
        return self.record["status"] == Status.TRAINED and self.weights_file.exists()

    def metrics(self) -> list[MetricsLine]:
        """The validations so far, oldest first."""
        return cast(list[MetricsLine], read_lines(self.metrics_file))

    def last_metrics(self) -> dict[str, Any] | None:
        """The latest validation, a MetricsLine; None where there is none, or where the line is damaged."""
        return last_line(self.metrics_file)

    def append_metrics(self, line: MetricsLine) -> None:
        append_line(self.metrics_file, line)

    def cut_metrics(self, step: int) -> None:
        """Removes the validations after a step."""
        lines = [line for line in self.metrics() if line["step"] <= step]
        write_bytes(self.metrics_file, b"".join(map(line_bytes, lines)))

    def evaluations(self) -> list[EvalLine]:
        """The evaluated lengths, oldest first."""
        return cast(list[EvalLine], read_lines(self.evaluations_file))

    def latest_evaluations(self) -> dict[int, EvalLine]:
        """The latest evaluation of each length, of the run's own encoding and its current weights."""
        lines = [line for line in self.evaluations() if not line.get("encoding_override") and "length" in line]
        return {line["length"]: line for line in lines if line.get("weights") == lines[-1].get("weights")}

    def append_evaluation(self, line: EvalLine) -> None:
        append_line(self.evaluations_file, line)

    def probes(self) -> list[dict[str, Any]]:
        """The lines of probes.jsonl, oldest first, as ProbeLine."""
        return read_lines(self.probes_file)

    def append_probe(self, line: ProbeLine) -> None:
        append_line(self.probes_file, line)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the run for this process; the system releases it when the process ends, however it ends.

        Raises RunInUse where another process holds it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunInUse(f"{self} is being worked on by another process: wait for it, or stop it") from None
        try:
            yield
        finally:
            lock.release()


def directories(folder: Path) -> list[Path]:
    """The directories in a folder, sorted; none if there is no such folder."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def readable_runs(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs of these directories, and one message per directory that is damaged or not a run."""
    runs, problems = [], []
    for run in map(Run, paths):
        try:
            run.record  # noqa: B018 - raises where the directory is not a run
            runs.append(run)
        except RunError as error:
            problems.append(str(error))
    return runs, problems


def find_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """`readable_runs` of all directories in a folder."""
    return readable_runs(directories(folder))


def group_of(encoding: str) -> str:
    """APE, RPE, content or none, from the encoding's file; of several encodings, the first group that is not none."""
    files = [catalog.find("encodings", parse_choice(part)[0]) for part in split_layers(encoding)]
    groups = [catalog.class_constants(file).get("group", "RPE") for file in files]
    return next((group for group in groups if group != "none"), "none")


def family_of(task: str) -> str:
    """The kind of problem, from the task's file."""
    return str(catalog.class_constants(catalog.find("tasks", parse_choice(task)[0])).get("family", "other"))
