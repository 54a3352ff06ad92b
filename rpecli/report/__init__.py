"""The report of runs: tables, figure and page with every run accounted for, written from run directories alone.

    frames   directories -> runs and a frame        panels   runs -> rows, seeds averaged, groups compared
    views    panels -> tables of text               tables   a table as Markdown and LaTeX
    figure   accuracy against length                page     report.md, summary, provenance

The imports that cost (pandas, scipy, matplotlib) wait until a report is asked for.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli import run
from rpecli.report.tables import Table, to_latex, to_markdown
from rpecli.report.tables import to_rich as rich_table

if TYPE_CHECKING:
    from rpecli.report.frames import Collected
    from rpecli.report.panels import Panel

__all__ = ["Report", "ReportError", "Table", "make", "markdown_tables", "rich_table"]


class ReportError(ValueError):
    """Nothing to report, or runs that must not be compared; says what to type."""


@dataclass(frozen=True)
class Report:
    """What was made: tables for a terminal, the page as Markdown, data for JSON, the files written, what is missing."""

    name: str
    tables: list[Table]
    markdown: str
    data: dict[str, Any]
    files: list[Path]
    problems: list[str]


def make(paths: list[Path], name: str, out: Path, command: str | None = None) -> Report:
    """Reports the runs in `paths` into the folder `out/name`. Raises ReportError, before anything is written."""
    from rpecli.report import figure, frames, page, panels, views

    if not name or Path(name).name != name:
        raise ReportError(f"{name!r} is no name for a report: write one word such as lengths; it becomes a folder of {out}")
    collected = frames.collect(paths)
    found = panels.panels(collected.runs)
    tables = [table for panel in found for table in views.panel_tables(panel)]
    text = page.page(name, collected.runs, found, tables, collected.problems, command)
    data = _data(name, command, collected, found)
    contents = {"report.md": text.encode(), "tables.tex": _latex(tables), "report.json": _json(data)}
    contents |= {"runs.csv": _csv(collected.frame), "summary.csv": _csv(_summary_frame(found)), **figure.draw(found)}
    return Report(name, tables, text, data, _write(out / name, contents), collected.problems)


def markdown_tables(report: Report) -> str:
    """The tables alone, for a pipe."""
    return "\n".join(to_markdown(table, level=2) for table in report.tables)


def _data(name: str, command: str | None, collected: "Collected", found: list["Panel"]) -> dict[str, Any]:
    from rpecli.report import page

    runs = [
        {"id": each.id, "path": str(each.path), **each.info, "evaluations": list(each.lines.values())} for each in collected.runs
    ]
    made: dict[str, Any] = {"name": name, "command": command, "provenance": page.provenance(collected.runs), "runs": runs}
    made |= {"rows": page.summary_rows(found), "groups": page.group_rows(found), "problems": collected.problems}
    plain: dict[str, Any] = page.plain(made)
    return plain


def _summary_frame(found: list["Panel"]) -> Any:
    import pandas as pd

    from rpecli.report import page

    whole = ("training_length", "length", "runs", "solved", "judged", "failed", "steps_to_90_reached", "steps_to_90_runs")
    return pd.DataFrame(page.summary_rows(found)).astype(dict.fromkeys(whole, "Int64"))


def _csv(frame: Any) -> bytes:
    return str(frame.to_csv(index=False, lineterminator="\n")).encode()


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def _latex(tables: list[Table]) -> bytes:
    head = "% \\usepackage{booktabs} in the preamble, \\input{tables} where the tables go\n"
    return (head + "\n".join(map(to_latex, tables))).encode()


def _write(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            run.replace(folder / name, data)
    except OSError as error:
        raise ReportError(f"the report cannot be written: {error}: choose another folder") from error
    return [folder / name for name in contents]
