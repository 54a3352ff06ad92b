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

A file that is replaced is written under another name, synced and renamed; readers ignore a torn last line. Records carry a
checksum and have a schema (`records.py`), and reading checks both; run.json holds the checksum of recipe.yaml.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from shlex import quote
from typing import Any

from rpecli import catalog, process
from rpecli.choice import parse_choice, split_layers
from rpecli.config import load as config_load
from rpecli.config.recipe import Config, label
from rpecli.config.yaml_source import RecipeError
from rpecli.escape import json_text
from rpecli.run import code
from rpecli.run.files import (
    RECORD_FORMAT,
    Damaged,
    NotWritten,
    OtherFormat,
    RunError,
    RunInUse,
    append_line,
    digest,
    last_line,
    line_bytes,
    read_bytes,
    read_lines,
    reason,
    remove_temporary,
    write_bytes,
    write_json,
)
from rpecli.run.provenance import data_sources, now, sources
from rpecli.run.records import EvalLine, MetricsLine, ProbeLine, parse, parse_run

REMEDY = "start the command that made the run again, which writes it anew"  # of a damaged run.json


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
    def create(cls, config: Config, runs: Path, study: str = "default", say: Callable[[str], None] = lambda _: None) -> "Run":
        """The run of this config under `runs`, created if it is not there.

        What is damaged or gone of run.json and recipe.yaml is written anew, which `say` is told: a run whose run.json was lost
        goes on from its checkpoint, or starts again. Raises RunError if the directory holds another run, or cannot be written.
        """
        run = cls(runs / config.id)
        if not run._is_intact(config):
            run._make_directory()
            with run.lock(wait=True):
                run._restore(config, study, say)
        return run

    def _is_intact(self, config: Config) -> bool:
        """Whether run.json and recipe.yaml are as rpe wrote them. Raises RunError where they are of another run or version."""
        try:
            record = self.record if self.has_record else None
        except Damaged:
            return False
        if record and record["id"] != config.id:
            raise RunError(f"{self} already holds a different run: move it, or use another --runs folder")
        return record is not None and not self._recipe_problem(record)

    def _make_directory(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            file = next(path for path in (self.path, *self.path.parents) if path.is_file())
            raise RunError(f"{file} is a file where a directory is needed: move the file elsewhere") from None
        except OSError as error:
            folder = self.path.parent
            raise NotWritten(f"{folder} cannot be written ({reason(error)}): choose another folder: --runs FOLDER") from None

    def _restore(self, config: Config, study: str, say: Callable[[str], None]) -> None:
        """Writes anew what is damaged or gone of run.json and recipe.yaml."""
        try:
            record = self.record if self.has_record else None
            problem = self._recipe_problem(record) if record else f"{self} has no run.json"
        except Damaged as error:
            record, problem = None, str(error).removesuffix(f": {REMEDY}")
        if record and problem:
            say(f"{problem}: it is written anew")
            self.update(recipe=self._write_recipe(config))
        elif record is None:
            has_checkpoint = self.checkpoint_file.exists()
            if has_checkpoint or self.weights_file.exists():
                way = "goes on from its checkpoint" if has_checkpoint else "is trained again"
                say(f"{problem}: it is written anew, and the run {way}")
            seconds = {"seconds": (self.last_metrics() or {}).get("seconds", 0.0)} if has_checkpoint else {}
            write_json(self.record_file, self._new_record(config, study) | seconds)

    def _new_record(self, config: Config, study: str) -> dict[str, Any]:
        """The record of a run that has not started, once its recipe is written."""
        record = {"format": RECORD_FORMAT, "id": config.id, "task": label(config.task), "encoding": label(config.encoding)}
        record |= {"positions": config.positions, "seed": config.seed, "status": Status.CREATED, "study": study}
        record |= {"group": group_of(config.encoding), "family": family_of(config.task)}
        record |= {"measure": measure_of(config.task)}
        record |= {"sources": sources(config), "code": code.shipped_code(config), "data": data_sources(config)}
        return record | {"recipe": self._write_recipe(config), "created": now(), **process.this_process()}

    def _write_recipe(self, config: Config) -> str:
        """Writes recipe.yaml, and copies of the user's own files that it names; returns the recipe's checksum."""
        data = code.with_copies(config, self.path).to_yaml(self.path).encode()
        write_bytes(self.recipe_file, data)
        return digest(data)

    def _recipe_problem(self, record: dict[str, Any]) -> str | None:
        """Why recipe.yaml is not what rpe wrote; None if it is."""
        data = read_bytes(self.recipe_file)
        if data is None:
            return f"{self.recipe_file} is missing"
        return None if digest(data) == record["recipe"] else f"{self.recipe_file} has changed since rpe wrote it"

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
        if problem := self._recipe_problem(self.record):
            raise Damaged(f"{problem}: restore it, or start the command that made the run again, which writes it anew")
        try:
            return config_load.load_config(self.recipe_file)
        except (RecipeError, OSError) as error:
            raise RunError(f"{self}: its recipe.yaml does not load: {error}") from None

    @property
    def has_record(self) -> bool:
        """Whether there is a run.json, readable or not."""
        try:
            return self.record_file.exists()
        except OSError:
            return True

    @property
    def train_command(self) -> str:
        """The command that trains this very run, or goes on with it."""
        folder = self.path.parent
        return f"rpe train {quote(str(self.recipe_file))}" + (f" --runs {quote(str(folder))}" if folder != Path("runs") else "")

    @property
    def has_recipe(self) -> bool:
        """Whether recipe.yaml is as rpe wrote it."""
        return self._recipe_problem(self.record) is None

    @property
    def record(self) -> dict[str, Any]:
        """What run.json holds now, a RunRecord."""
        data = read_bytes(self.record_file)
        if data is None:
            if not self.path.is_dir():
                raise RunError(f"no run {self}: rpe ls runs lists the runs")
            raise RunError(f"{self}: not a run directory (no run.json): move it elsewhere, or name the runs you mean")
        try:
            return parse_run(data)
        except OtherFormat as error:
            raise OtherFormat(error.written, f"{self} was") from None
        except Damaged as error:
            raise Damaged(f"{self.record_file}: {error}: {REMEDY}") from None

    def update(self, **fields: Any) -> dict[str, Any]:
        """Changes fields of run.json in one step and returns the whole record; a file that says it all already is not touched."""
        before = self.record
        record = before | fields
        if record != before:
            write_json(self.record_file, record)
        return record

    @property
    def is_trained(self) -> bool:
        """Whether training has ended and its weights are there."""
        return self.record["status"] == Status.TRAINED and self.weights_file.exists()

    def metrics(self) -> list[MetricsLine]:
        """The validations so far, oldest first."""
        return read_lines(self.metrics_file, partial(parse, "metrics"))

    def last_metrics(self) -> dict[str, Any] | None:
        """The latest validation, a MetricsLine; None where there is none, or where the line is damaged."""
        return last_line(self.metrics_file, partial(parse, "metrics"))

    @property
    def lost_validation(self) -> str | None:
        """Why the last validation of a trained run is not the last line of metrics.jsonl; None if it is."""
        record, line = self.record, self.last_metrics() or {}
        lost = record["status"] == Status.TRAINED and "step" in record and line.get("step") != record["step"]
        return f"{self.metrics_file}: the last validation is damaged or gone" if lost else None

    def append_metrics(self, line: MetricsLine) -> None:
        self._append(self.metrics_file, "metrics", line)

    def cut_metrics(self, step: int) -> None:
        """Removes the validations after a step."""
        lines = [line for line in self.metrics() if line["step"] <= step]
        write_bytes(self.metrics_file, b"".join(map(line_bytes, lines)))

    def evaluations(self) -> list[EvalLine]:
        """The evaluated lengths, oldest first."""
        return [line for line in self.all_evaluations() if "grid" not in line]

    def grid_evaluations(self) -> list[EvalLine]:
        """The evaluated cells of grids, oldest first."""
        return [line for line in self.all_evaluations() if "grid" in line]

    def all_evaluations(self) -> list[EvalLine]:
        """Both, oldest first."""
        remedy = f"delete that line, then rpe eval {quote(str(self))}"
        return read_lines(self.evaluations_file, partial(parse, "eval"), remedy)

    def latest_evaluations(self) -> dict[int, EvalLine]:
        """The latest evaluation of each length, of the run's own encoding and its current weights."""
        lines = [line for line in self.evaluations() if not line["encoding_override"] and not line.get("task_override")]
        return {line["length"]: line for line in of_current_weights(self.record, lines)}

    def append_evaluation(self, line: EvalLine) -> None:
        self._append(self.evaluations_file, "eval", line)

    def probes(self) -> list[dict[str, Any]]:
        """The lines of probes.jsonl, oldest first, as ProbeLine."""
        return read_lines(self.probes_file, partial(parse, "probes"), f"delete that line, then rpe inspect {quote(str(self))}")

    def append_probe(self, line: ProbeLine) -> None:
        self._append(self.probes_file, "probes", line)

    def _append(self, file: Path, kind: str, line: Any) -> None:
        """Adds a line. Raises RunError for one that nobody could read, with the file as it was."""
        try:
            parse(kind, json_text(line).encode())
        except Damaged as error:
            raise RunError(f"{file}: a line was not written: {error}") from None
        append_line(file, line)

    def require_writable(self) -> None:
        """Raises NotWritten where nothing can be added to the run: before work whose result would be lost."""
        if not os.access(self.path, os.W_OK):
            raise self._not_writable("permission denied")

    def _not_writable(self, why: str) -> NotWritten:
        return NotWritten(f"{self} cannot be written ({why}): copy the runs to a folder where they can")

    @contextmanager
    def lock(self, wait: bool = False, required: bool = True) -> Iterator[None]:
        """Holds the run for this process; the system releases it when the process ends, however it ends.

        Args:
            wait: Wait for a process that holds the run, instead of raising RunInUse.
            required: Raise NotWritten where the directory cannot be written, instead of going on without holding the run.
        """
        from filelock import FileLock, Timeout

        if not self.path.is_dir():
            raise RunError(f"no run {self}: rpe ls runs lists the runs")
        lock, problem = FileLock(self.path / "lock"), None
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise RunInUse(f"{self} is being worked on by another process: wait for it, or stop it") from None
        except OSError as error:
            problem = reason(error)
        if problem and required:
            raise self._not_writable(problem)
        try:
            if not problem:
                remove_temporary(self.path)
            yield
        finally:
            lock.release()


def directories(folder: Path) -> list[Path]:
    """The directories in a folder, sorted, without hidden ones (`.slurm`); none if there is no such folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".") if folder.is_dir() else []
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {reason(error)}") from None


def readable_runs(paths: Iterable[Path]) -> tuple[list[Run], list[tuple[Path, str]]]:
    """The runs of these directories, and a message for each that is damaged or not a run, one for all of another format."""
    runs, problems, others = list[Run](), list[tuple[Path, str]](), dict[str, list[Run]]()
    for run in map(Run, paths):
        try:
            run.record  # noqa: B018 - raises where the directory is not a run
            runs.append(run)
        except OtherFormat as error:
            others.setdefault(error.written, []).append(run)
        except RunError as error:
            problems.append((run.path, str(error)))
    for written, members in others.items():
        which = f"{members[0]} was" if len(members) == 1 else f"{len(members)} runs, {members[0]} among them, were"
        problems.append((members[0].path, str(OtherFormat(written, which))))
    return runs, problems


def find_runs(folder: Path) -> tuple[list[Run], list[tuple[Path, str]]]:
    """`readable_runs` of all directories in a folder."""
    return readable_runs(directories(folder))


def of_current_weights(record: dict[str, Any], lines: list[EvalLine]) -> list[EvalLine]:
    """The lines of eval.jsonl that were measured with the weights in a record, or of the latest ones where it names none."""
    weights = record.get("weights", lines[-1]["weights"]) if lines else None
    return [line for line in lines if line["weights"] == weights]


def group_of(encoding: str) -> str:
    """APE, RPE, content or none, from the encoding's file; of several encodings, the first group that is not none."""
    files = [catalog.find("encodings", parse_choice(part)[0]) for part in split_layers(encoding)]
    groups = [catalog.class_constants(file).get("group", "RPE") for file in files]
    return next((group for group in groups if group != "none"), "none")


def family_of(task: str) -> str:
    """The kind of problem, from the task's file."""
    return _constant(task, "family", "other")


def measure_of(task: str) -> str:
    """What reports show and test of a task, from its file: accuracy or perplexity."""
    return _constant(task, "measure", "accuracy")


def _constant(task: str, name: str, default: str) -> str:
    """What the class of a task states, read from its file without running it."""
    return str(catalog.class_constants(catalog.find("tasks", parse_choice(task)[0])).get(name, default))


def chosen_weights(record: dict[str, Any]) -> str:
    """The weights of a run where `checkpoint_lengths` chose them: `those of step 300, most strings right at 60 to 80 (91 %)`."""
    chosen = record["checkpoint"]
    lengths = " to ".join(map(str, dict.fromkeys((chosen["lengths"][0], chosen["lengths"][-1]))))
    return f"those of step {chosen['step']:,}, most strings right at {lengths} ({100 * chosen['exact_match']:.0f} %)"
