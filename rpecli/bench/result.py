"""The result of a benchmark: tables for people, rows for programs, and the facts of the machine that was measured."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rpecli.bench.rows import BenchRow
from rpecli.escape import csv_text, json_text
from rpecli.run.files import write_files
from rpecli.table import Table


@dataclass
class Result:
    """What `rpe bench NAME` measured."""

    name: str
    facts: dict[str, Any]  # of the machine and the code
    tables: Sequence[Table] = ()
    rows: Sequence[BenchRow] = ()

    def markdown(self) -> str:
        facts = "\n".join(f"- {key}: {value}" for key, value in self.facts.items())
        return "\n\n".join([f"# rpe bench {self.name}", facts, *(table.markdown(level=2) for table in self.tables)]) + "\n"

    def csv(self) -> str:
        """One line per row; the columns of all kinds of rows side by side."""
        return csv_text([{key: _csv_cell(value) for key, value in asdict(row).items()} for row in self.rows])

    def json(self) -> str:
        return json_text({"bench": self.name, "facts": self.facts, "rows": list(map(asdict, self.rows))}) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Writes NAME.md, NAME.csv and NAME.json into a folder, which is created if necessary; returns their paths."""
        texts = {"md": self.markdown(), "csv": self.csv(), "json": self.json()}
        return write_files(folder, {f"{self.name}.{suffix}": text.encode() for suffix, text in texts.items()})


def _csv_cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def number(value: float, digits: int = 2) -> str:
    """`1,234.50`; `-` for NaN."""
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:,.{digits}f}"  # + 0.0: no minus zero


def times(value: float) -> str:
    """`1.25x`; `-` for NaN."""
    return "-" if math.isnan(value) else f"{number(value)}x"


def percent(value: float, digits: int = 0) -> str:
    """`12%`; `-` for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}%}"
