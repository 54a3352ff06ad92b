"""A data set that `rpe data` wrote, read by what it is: dataset.json states its task, and the fingerprint of each length.

A run is evaluated on a set of its own task with its own options. Sequences that are not those of dataset.json, or that no model
of the task can read, are refused with file and row before anything is measured.
"""

import hashlib
import inspect
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rpecli import catalog, data
from rpecli.choice import is_path, parse_choice
from rpecli.config.recipe import EvalSettings, label
from rpecli.run.records import AS_DRAWN
from rpecli.task import Batch, Task

FORMAT = 1  # of dataset.json
FACTS = "dataset.json"
INTEGERS, FLAGS = "iu", "b"  # kinds of numpy types
KEYS: dict[str, type] = {"format": int, "choice": str, "task": dict, "samples": int, "seed": int, "lengths": dict, "files": dict}


class DataSetError(ValueError):
    """A folder that holds no set of this version of rpe, or a set that a run cannot be evaluated on; says what to type."""


@dataclass(frozen=True)
class DataSet:
    """The folder of a data set and what its dataset.json says."""

    folder: Path
    facts: dict[str, Any]

    @cached_property
    def fingerprints(self) -> dict[int, str]:
        """The fingerprint of the sequences of each length, by ascending length."""
        return {int(length): str(self.facts["lengths"][length]) for length in sorted(self.facts["lengths"], key=int)}

    @property
    def lengths(self) -> list[int]:
        return list(self.fingerprints)

    @property
    def choice(self) -> str:
        """The task with its options, as it was written when the set was made."""
        return str(self.facts["choice"])

    def name_of(self, length: int, task: Task) -> str:
        """How a line of eval.jsonl names the set: the folder's name, the fingerprint of all of its sequences, and whether
        those of the length are the ones that the task draws from the same seed."""
        digest = hashlib.sha256(json.dumps(self.fingerprints).encode()).hexdigest()[:8]
        drawn = data.fingerprint(list(data.evaluation_blocks(task, length, self.facts["samples"], self.facts["seed"])))
        return f"{self.folder.resolve().name} {digest}{AS_DRAWN if drawn == self.fingerprints[length] else ''}"

    def settings(self, settings: EvalSettings) -> EvalSettings:
        """Evaluation settings with the seed and the number of sequences of this set."""
        return settings.model_copy(update={"eval_seed": self.facts["seed"], "samples": self.facts["samples"]})

    def require_task(self, choice: str) -> None:
        """Raises DataSetError unless the set holds this task, with the same options."""
        if self.facts["task"] != task_facts(choice):
            remedy = f"rpe data {label(choice)} --lengths {','.join(map(str, self.lengths))} --out FOLDER"
            raise DataSetError(f"{self.folder} holds {label(self.choice)}, not {label(choice)}: write a set of it: {remedy}")

    def blocks(self, length: int, task: Task) -> list[Batch]:
        """The sequences of a length, in the blocks that data.evaluation_blocks would make. Raises DataSetError."""
        if length not in self.fingerprints:
            has = ", ".join(map(str, self.lengths))
            raise DataSetError(f"{self.folder} has no sequences of length {length} (it has {has}): write them with rpe data")
        blocks = _read(length_file(self.folder, length), task)
        if data.fingerprint(blocks) != self.fingerprints[length]:
            raise DataSetError(
                f"{length_file(self.folder, length)} does not hold the sequences that {FACTS} names (fingerprint "
                f"{data.fingerprint(blocks)}, there {self.fingerprints[length]}): write the set again with rpe data"
            )
        return blocks


def length_file(folder: Path, length: int) -> Path:
    return folder / "data" / f"length_{length}.parquet"


def task_facts(choice: str) -> dict[str, Any]:
    """What makes two choices of a task the same: its name or the content of its file, and all options with their values.

    Raises ChoiceError for a task that does not exist, or does not have the options.
    """
    name, options = parse_choice(choice)
    cls = catalog.load_class("tasks", name, Task)
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    defaults = {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    file = catalog.find("tasks", name)
    return {
        "name": None if is_path(name) else catalog.name_of(file),
        "file": catalog.fingerprint(file) if is_path(name) else None,
        "options": defaults | catalog.convert(cls, options, f"task {name}"),
    }


def open_set(folder: Path) -> DataSet:
    """The data set in a folder. Raises DataSetError."""
    file = folder / FACTS
    remedy = f"write one with rpe data TASK --lengths 16,32 --out {folder}"
    if not folder.is_dir():
        raise DataSetError(f"no folder {folder}: {remedy}")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataSetError(f"{folder} holds no data set of this version of rpe (no {FACTS}): {remedy}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataSetError(f"{file} cannot be read ({error}): write the set again with rpe data") from None
    if problem := _problem(facts):
        raise DataSetError(f"{file}: {problem}: write the set again with rpe data")
    return DataSet(folder, facts)


def _problem(facts: Any) -> str | None:
    """What is wrong with the content of dataset.json."""
    if not isinstance(facts, dict):
        return "not a JSON object"
    for key, kind in KEYS.items():
        if not isinstance(facts.get(key), kind) or isinstance(facts[key], bool):
            return f"{key}: {json.dumps(facts.get(key)):.60} is no {kind.__name__}"
    if facts["format"] != FORMAT:
        return f"format {facts['format']} is of another version of rpe; this one reads {FORMAT}"
    lengths = facts["lengths"]
    if not lengths or not all(length.isdecimal() and len(length) < 10 and int(length) > 0 for length in lengths):
        return "lengths: not an object of lengths and fingerprints"
    if facts["samples"] < 1 or facts["seed"] < 0:
        return "samples starts at 1, seed at 0"
    return None


def _read(file: Path, task: Task) -> list[Batch]:
    """The sequences of a parquet file, each checked. Raises DataSetError with the file, and the row or the column."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file)
    except FileNotFoundError:
        raise DataSetError(f"{file} is missing: write the set again with rpe data") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataSetError(f"{file} is not a parquet file that can be read ({str(error).splitlines()[0]})") from None
    columns = {"tokens": INTEGERS, "answer": FLAGS} | ({"sets": INTEGERS} if task.predicts_sets else {})
    missing = sorted(columns.keys() - set(table.column_names))
    if missing:
        raise DataSetError(f"{file} has no column {missing[0]}: its columns are {', '.join(table.column_names)}")
    if not table.num_rows:
        raise DataSetError(f"{file} has no rows")
    rows = {name: _rows(file, name, table.column(name).to_pylist(), kinds) for name, kinds in columns.items()}
    for number, tokens in enumerate(rows["tokens"]):
        _check_row(f"{file}: row {number}", tokens, rows["answer"][number], task)
    starts = range(0, table.num_rows, data.BLOCK)
    return [_block(file, start, {name: values[start : start + data.BLOCK] for name, values in rows.items()}) for start in starts]


def _rows(file: Path, name: str, values: list[Any], kinds: str) -> list[np.ndarray]:
    """A column as one array per row."""
    rows = []
    for number, value in enumerate(values):
        try:
            row = np.array(value)
        except ValueError:  # lists of different lengths in a list
            row = np.array(None)
        if row.ndim != 1 or row.dtype.kind not in kinds:
            expected = "whole numbers" if kinds == INTEGERS else "true and false"
            raise DataSetError(f"{file}: row {number}: {name} is not a list of {expected}")
        rows.append(row)
    return rows


def _check_row(where: str, tokens_T: np.ndarray, answer_T: np.ndarray, task: Task) -> None:
    if len(tokens_T) != len(answer_T):
        raise DataSetError(f"{where}: {len(tokens_T)} tokens, but answer marks {len(answer_T)}")
    if not answer_T.any():
        raise DataSetError(f"{where}: no token is marked as answer")
    outside = tokens_T[(tokens_T < 0) | (tokens_T >= task.vocabulary)]
    if len(outside):
        raise DataSetError(f"{where}: token {outside[0]} is outside the vocabulary of the task, 0 to {task.vocabulary - 1}")


def _block(file: Path, start: int, rows: dict[str, list[np.ndarray]]) -> Batch:
    T = len(rows["tokens"][0])
    for name, values in rows.items():
        for number, row in enumerate(values, start):
            if len(row) != T:
                raise DataSetError(f"{file}: row {number}: {len(row)} {name}, where row {start} has {T} tokens")
    sets_BxT = np.stack(rows["sets"]).astype(np.int64) if "sets" in rows else None
    return Batch(np.stack(rows["tokens"]).astype(np.int64), np.stack(rows["answer"]), sets_BxT)
