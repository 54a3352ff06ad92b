"""Tables of runs: one row per run, per field of a record, or per evaluated length."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rpecli.launch.status import clock
from rpecli.run.directory import Run
from rpecli.table import Table

CAPTION = "acc, exact: token accuracy and exact match of the last validation, on training lengths."
EVALUATION_KEYS = (
    "length",
    "encoding_override",
    "n",
    "exact_match",
    "interval",
    "exact_match_eos",
    "token_accuracy",
    "nll",
    "chance",
    "untrained_positions",
)
NARROW_KEYS = ("length", "encoding_override", "exact_match", "interval", "token_accuracy", "chance")


def runs_table(runs: list[Run]) -> Table:
    """One row per run: its status, its last validation, and how long it took."""
    rows = []
    for run in runs:
        record, validation = run.record, run.last_metrics() or {}
        accuracies = [f"{validation[key]:.3f}" if key in validation else "-" for key in ("token_accuracy", "exact_match")]
        steps_to_90 = (record.get("steps_to_accuracy") or {}).get("steps_to_90")
        seconds = clock(record.get("seconds") or 0)
        rows.append([run.name, record["status"], *accuracies, str(steps_to_90 or "-"), seconds])
    columns = ["run", "status", "acc", "exact", "steps to 90 %", "time"]
    narrow = Table("", columns[:4], "llrr", [row[:4] for row in rows])
    return Table("", columns, "llrrrr", rows, caption=CAPTION, narrow=narrow)


def record_table(run: Run) -> Table:
    """One row per field of a run's record."""
    rows = [
        [key, ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, dict) else str(value)]
        for key, value in run.record.items()
    ]
    return Table("", ["field", "value"], "ll", rows)


def evaluation_table(run: Run) -> Table:
    """One row per evaluated length of a run; a narrow terminal gets the columns of NARROW_KEYS."""
    lines: list[Mapping[str, Any]] = [*run.evaluations()]
    wide, narrow = (_evaluation_table(lines, keys) for keys in (EVALUATION_KEYS, NARROW_KEYS))
    return replace(wide, narrow=narrow)


def _evaluation_table(lines: list[Mapping[str, Any]], keys: tuple[str, ...]) -> Table:
    rows = [[_format(line.get(key)) for key in keys] for line in lines]
    return Table("", [key.replace("_", " ") for key in keys], "r" * len(keys), rows)


def _format(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " to ".join(map(_format, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def lengths_table(runs: list[Run], metric: str) -> Table:
    """One row per run and encoding override, one column per length: the newest value of one metric."""
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        lines: list[Mapping[str, Any]] = [*run.evaluations()]
        for line in lines:
            name = run.name + (f" as {line['encoding_override']}" if line.get("encoding_override") else "")
            values.setdefault(name, {})[line["length"]] = line[metric]
    lengths = sorted({length for by_length in values.values() for length in by_length})
    rows = [
        [name, *(f"{by_length[length]:.3f}" if length in by_length else "" for length in lengths)]
        for name, by_length in values.items()
    ]
    return Table(metric.replace("_", " "), ["run", *map(str, lengths)], "l" + "r" * len(lengths), rows)
