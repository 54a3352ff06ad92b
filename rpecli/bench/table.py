"""What a benchmark found: tables for people, rows for programs, and the facts of the machine they hold for."""

import csv
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rpecli import table as tables
from rpecli.run.files import write_bytes

WORDS = ("verdict", "note", "setting", "encoding", "dtype", "library")  # columns of text


@dataclass
class Table:
    """A title, a line on how to read it, and rows of text; the first column is what the others are about."""

    title: str
    rows: list[dict[str, str]]
    about: str = ""

    def rich(self) -> Any:
        from rich import table, text

        look: dict[str, Any] = {"box": None, "pad_edge": False, "header_style": "bold"}
        made = table.Table(title=self.title, title_justify="left", caption=self.about, caption_justify="left", **look)
        for n, name in enumerate(self.rows[0] if self.rows else ()):
            made.add_column(name, justify="left" if n == 0 or name in WORDS else "right", overflow="fold")
        for row in self.rows:
            made.add_row(*map(text.Text, row.values()))
        return made

    def markdown(self) -> str:
        head = list(self.rows[0]) if self.rows else []
        align = "".join("l" if n == 0 or name in WORDS else "r" for n, name in enumerate(head))
        body = tables.Table("", head, align, [list(row.values()) for row in self.rows]).markdown(padded=False)
        return "\n\n".join(filter(None, (f"**{self.title}**", self.about, body)))


@dataclass
class Result:
    """One benchmark's tables, its rows (one a measured case, numbers as numbers), and where they were measured."""

    name: str
    facts: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def markdown(self) -> str:
        facts = "\n".join(f"- {key}: {value}" for key, value in self.facts.items())
        return "\n\n".join([f"# rpe bench {self.name}", facts, *(table.markdown() for table in self.tables)]) + "\n"

    def csv(self) -> str:
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in row.items()} for row in self.rows)
        return text.getvalue()

    def json(self) -> str:
        rows = [{key: None if _is_nan(value) else value for key, value in row.items()} for row in self.rows]
        return json.dumps({"bench": self.name, "facts": self.facts, "rows": rows}, indent=1) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """NAME.md, NAME.csv and NAME.json in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"md": self.markdown(), "csv": self.csv(), "json": self.json()}
        for suffix, text in texts.items():
            write_bytes(folder / f"{self.name}.{suffix}", text.encode())
        return [folder / f"{self.name}.{suffix}" for suffix in texts]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None or _is_nan(value) else value


def number(value: float | None, digits: int = 2) -> str:
    """A number in a table, `-` where there is none."""
    return "-" if value is None or math.isnan(value) else f"{round(value, digits) + 0.0:,.{digits}f}"  # + 0.0: no minus zero


def times(value: float | None) -> str:
    """A ratio in a table."""
    text = number(value)
    return text if text == "-" else f"{text}x"


def percent(value: float | None, digits: int = 0) -> str:
    """A share in a table."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}%}"
