"""Tables of runs for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from rpecli.launch.status import clock
from rpecli.run.directory import Run


def runs_table(runs: list[Run]) -> Table:
    """A row a run: what it is, how it went."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "status", "acc", "exact", "steps to 90%", "time"):
        table.add_column(name, justify="left" if name in ("run", "status") else "right", overflow="fold")
    for run in runs:
        info, line = run.record, run.last_metrics() or {}
        to_90 = (info.get("steps_to_accuracy") or {}).get("steps_to_90")
        numbers = [f"{line[key]:.3f}" if key in line else "-" for key in ("token_accuracy", "exact_match")]
        table.add_row(run.name, info["status"], *numbers, str(to_90 or "-"), clock(info.get("seconds") or 0))
    return table


def run_table(run: Run) -> Table:
    """All that run.json says of one run, a row a field."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("field")
    table.add_column("value", overflow="fold")
    for key, value in run.record.items():
        table.add_row(key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value))
    return table


def evaluation_table(run: Run) -> Table:
    """A row a length of one run: what was measured."""
    keys = (
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
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key in keys:
        table.add_column(key.replace("_", " "), justify="right")
    lines: list[Mapping[str, Any]] = [*run.evaluations()]
    for line in lines:
        table.add_row(*(_number(line.get(key) or "") if key == "encoding_override" else _number(line[key]) for key in keys))
    return table


def _number(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_number, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def lengths_table(runs: list[Run], metric: str) -> Table:
    """A row a run, a column a length: the newest value of one metric."""
    lines: dict[str, dict[int, Mapping[str, Any]]] = {}
    for run in runs:
        for line in run.evaluations():
            name = run.name + (f" as {line['encoding_override']}" if line.get("encoding_override") else "")
            lines.setdefault(name, {})[line["length"]] = line
    lengths = sorted({length for found in lines.values() for length in found})
    table = Table(box=None, pad_edge=False, header_style="bold", title=metric.replace("_", " "), title_justify="left")
    table.add_column("run", overflow="fold")
    for length in lengths:
        table.add_column(str(length), justify="right")
    for name, found in lines.items():
        table.add_row(name, *(f"{found[n][metric]:.3f}" if n in found else "" for n in lengths))
    return table
