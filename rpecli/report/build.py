"""The report of runs: tables, figure and page with every run accounted for, written from run directories alone.

    frames   directories -> runs and a frame        panels   runs -> rows, seeds averaged, groups compared
    views    panels -> tables of text               tables   a table as Markdown and LaTeX
    compare  differences, tests, ranks              verdict  what is supported, by rules
    evidence the tables behind the verdict          shifts   what moving the content changed
    overall  several tasks together                 targets  how much training a target takes
    figure   accuracy against length                learning_figure   learning curves
    page     report.md, summary, provenance
    records  report.json and CSV files              schema   what they hold
    page_html, page_style, svg, learning            report.html
    probe_read, probe_table, probe_chart, probe_figure, probe_text   what inspect found
    versus, versus_page   two studies side by side  watch    a sweep that still runs

The imports that cost (pandas, scipy, matplotlib) wait until a report is asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli.report.load import ReportError
from rpecli.run.files import write_bytes
from rpecli.table import Table

if TYPE_CHECKING:
    from rpecli.report.verdict import Verdict

__all__ = ["Comparison", "Report", "ReportError", "Table", "compare_studies", "make", "markdown_tables"]


@dataclass(frozen=True)
class Report:
    """What was made: tables for a terminal, the page as Markdown, data for JSON, the files written, what is missing."""

    name: str
    tables: list[Table]
    markdown: str
    data: dict[str, Any]
    files: list[Path]
    problems: list[str]
    verdicts: "list[Verdict]"
    evidence: list[Table]  # behind the verdicts: in every file, but too long for a terminal


def make(paths: list[Path], name: str, out: Path, command: str | None = None) -> Report:
    """Reports the runs in `paths` into the folder `out/name`. Raises ReportError, before anything is written."""
    from rpecli.report import aggregate as panels
    from rpecli.report import load as frames
    from rpecli.report import load_probes as probe_read
    from rpecli.report import verdict
    from rpecli.report.figures.report import report_figures
    from rpecli.report.tables import accuracy as views
    from rpecli.report.tables import attention as probe_table
    from rpecli.report.tables import invariance as shifts
    from rpecli.report.tables import pooled as overall
    from rpecli.report.tables import seeds as evidence
    from rpecli.report.write import data as records
    from rpecli.report.write.content import content
    from rpecli.report.write.html import report_html
    from rpecli.report.write.markdown import report_markdown

    _checked(name, out)
    collected = frames.collect(paths)
    found = panels.panels(collected.runs)
    moved, looked = shifts.read(found), probe_read.read(found)
    tables = [table for panel in found for table in views.panel_tables(panel)]
    behind = overall.tables(found)
    for panel in found:
        behind += views.more_tables(panel) + evidence.tables(panel)
        behind += shifts.tables(panel, moved[panel.title]) if panel.title in moved else []
        behind += probe_table.tables(looked[panel.title]) if panel.title in looked else []
    judged = verdict.verdicts(found, {kind: shifts.kept(moved, kind) for kind in shifts.KINDS})
    data = records.data(name, command, collected, found, judged)
    figures = report_figures(found, looked, moved)
    drawn = figures.files()
    said = content(name, command, collected, found, tables + behind, judged)
    text = report_markdown(said, drawn)
    contents = {"report.md": text.encode(), "tables.tex": _latex(tables + behind), "report.json": records.as_json(data)}
    contents["report.html"] = report_html(said, figures).encode()
    contents |= {**records.files(collected, found, data), **drawn}
    return Report(name, tables, text, data, _write(out / name, contents), collected.problems, judged, behind)


@dataclass(frozen=True)
class Comparison:
    """Two studies side by side: sentences, tables, page, data, files."""

    lines: list[str]
    tables: list[Table]
    markdown: str
    data: dict[str, Any]
    files: list[Path]


def compare_studies(words: tuple[str, str], runs: Path, out: Path, name: str | None, command: str | None = None) -> Comparison:
    """Compares two studies into the folder `out/name`. Raises ReportError, before anything is written."""
    from rpecli.report import two_studies as versus
    from rpecli.report.write import two_studies as versus_page

    a, b = (versus.study(word, runs, out) for word in words)
    found = versus.versus(a, b)
    name = _checked(name or versus_page.file_name(*words), out)
    files = _write(out / name, versus_page.contents(found, command))
    lines = versus_page.headline(found) + found.notes
    text = versus_page.markdown(found, command)
    return Comparison(lines, versus_page.tables(found), text, versus_page.data(found, command), files)


def _checked(name: str, out: Path) -> str:
    if not name or Path(name).name != name:
        raise ReportError(f"{name!r} is no name for a report: write one word such as lengths; it becomes a folder of {out}")
    return name


def markdown_tables(report: Report) -> str:
    """The tables alone, for a pipe."""
    return "\n\n".join(table.markdown(level=2) for table in report.tables) + "\n"


def _latex(tables: list[Table]) -> bytes:
    head = "% \\usepackage{booktabs} in the preamble, \\input{tables} where the tables go\n"
    return (head + "\n".join(table.latex() for table in tables)).encode()


def _write(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            write_bytes(folder / name, data)
    except OSError as error:
        raise ReportError(f"the report cannot be written: {error}: choose another folder") from error
    return [folder / name for name in contents]
