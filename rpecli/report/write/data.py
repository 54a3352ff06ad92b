"""The data of a report: report.json, and CSV files of runs, encodings by length, pairs of encodings and pairs of models."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from rpecli.escape import csv_text
from rpecli.report import rows
from rpecli.report.content import ReportContent


def files(content: ReportContent) -> dict[str, bytes]:
    """report.json and the CSV files by name; those of pairs only where there are any."""
    data = content.data
    tables: dict[str, Any] = {"runs.csv": rows.run_rows(content.runs), "summary.csv": data.rows, "pairs.csv": data.pairs,
              "pooled.csv": data.pooled, "suites.csv": data.suites, "profiles.csv": data.profiles,
              "mcnemar.csv": rows.mcnemar_rows(content.tasks), "grid.csv": rows.grid_rows(content.tasks)}  # fmt: skip
    return {"report.json": json_bytes(data)} | {name: csv_bytes(table) for name, table in tables.items() if table}


def json_bytes(record: BaseModel) -> bytes:
    """A record as JSON, as `json_text` writes it, in a tenth of the time."""
    return to_json(record, indent=1, inf_nan_mode="null") + b"\n"


def csv_bytes(table: Iterable[BaseModel | Mapping[str, Any]]) -> bytes:
    """One line per record, the keys of nested records joined with `_`; empty where there is no number."""
    return csv_text([_flat(record.model_dump() if isinstance(record, BaseModel) else record) for record in table]).encode()


def _flat(line: Mapping[str, Any]) -> Mapping[str, Any]:
    if not any(issubclass(kind, dict) for kind in set(map(type, line.values()))):
        return line
    nested = [
        {f"{key}_{part}": cell for part, cell in value.items()} if isinstance(value, dict) else {key: value}
        for key, value in line.items()
    ]
    return {key: value for part in nested for key, value in part.items()}
