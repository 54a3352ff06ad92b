"""The documentation of a report's files, printed from the records: docs/report.schema.json and a part of docs/files.md."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from rpecli.escape import Markdown
from rpecli.report.headline import Headline
from rpecli.report.headline_numbers import EncodingPoint, GroupPoint, NopePoint, Point, Unsolved
from rpecli.report.records import Difference, GridRow, McNemarPair, Pair, Pooled, ProfilePoint, SuiteRow, Verdict
from rpecli.report.report_data import (
    GroupRow,
    Provenance,
    Range,
    ReportData,
    RunRecord,
    RunRow,
    Spread,
    SpreadInterval,
    StepsToTarget,
    SummaryRow,
)
from rpecli.report.two_studies import ComparisonData, ComparisonRow, Side
from rpecli.table import Table

FILES = {
    "report.html": "the whole report as one self-contained HTML page",
    "report.md": "the same as Markdown, with its figures as files",
    "report.json": "the same as data: [report.schema.json](report.schema.json)",
    "summary.csv": "one row per task, encoding and length: `rows` of report.json",
    "runs.csv": "one row per run and length, nothing averaged",
    "pairs.csv": "one row per pair of encodings of a task and measure: `pairs` of report.json",
    "pooled.csv": "one row per encoding or group and family of tasks: `pooled` of report.json",
    "suites.csv": "one row per encoding and suite or family of tasks, of a whole suite or many tasks: `suites` of report.json",
    "profiles.csv": "one row per encoding and threshold of the performance profiles: `profiles` of report.json",
    "mcnemar.csv": "one row per pair of models of one seed, where evaluations recorded which sequences were correct",
    "grid.csv": "one row per encoding and pair of sizes, where runs were evaluated on a grid (`rpe eval --grid`)",
    "paper.tex": "one table for a paper, encodings by task at one length (LaTeX with booktabs)",
    "appendix.tex": "every table for its appendix (LaTeX with booktabs and graphicx)",
    "paper-*.pdf": "figures at the size of a column or a slide, with `rpe report --figure`; also `.svg`",
    "accuracy.png": "accuracy against length, one panel per task; also `.svg` and `.pdf`",
    "learning.png": "learning curves, where runs have them; also `.svg` and `.pdf`",
    "profiles.png": "performance profiles, where encodings have several runs; also `.svg` and `.pdf`",
    "grid-*.png": "exact match by pairs of sizes, one figure per task that has any; also `.svg` and `.pdf`",
    "inspect-*.svg": "results of `rpe inspect`, one figure per task and question",
}
RECORDS: dict[str, Any] = {
    "report.json": ReportData, "headline": Headline, "first and last of headline": Point, "groups of a point": GroupPoint,
    "encodings of a point": EncodingPoint, "nope of a point": NopePoint, "unsolved of headline": Unsolved,
    "verdicts": Verdict, "difference": Difference, "provenance": Provenance, "runs": RunRecord,
    "rows, and summary.csv": SummaryRow, "exact_match and token_accuracy of rows": SpreadInterval,
    "other measures of rows": Spread, "effective_length and half_length of rows": Range, "steps_to_90 of rows": StepsToTarget,
    "groups": GroupRow, "pairs, and pairs.csv": Pair, "pooled, and pooled.csv": Pooled,
    "suites, and suites.csv": SuiteRow,
    "profiles, and profiles.csv": ProfilePoint, "mcnemar.csv": McNemarPair, "grid.csv": GridRow,
    "runs.csv": RunRow,
}  # fmt: skip
COMPARISON_RECORDS: dict[str, Any] = {"compare.json": ComparisonData, "a and b": Side, "rows, and compare.csv": ComparisonRow}


def json_schema() -> dict[str, Any]:
    """JSON schema of report.json: docs/report.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "report.json of rpe", **schema_of(ReportData)}


def schema_of(record: Any) -> dict[str, Any]:
    """JSON schema of a record."""
    return TypeAdapter(record).json_schema()


def documentation() -> str:
    """The files and the records of a report for docs/files.md."""
    parts = [_table("file", "what it holds", {f"`{name}`": text for name, text in FILES.items()})]
    parts += [_section(name, record) for name, record in RECORDS.items()]
    parts.append("`rpe report --compare` writes `compare.html`, `compare.md`, `compare.json` and `compare.csv`.")
    parts += [_section(name, record) for name, record in COMPARISON_RECORDS.items()]
    return "\n\n".join(parts)


def _section(name: str, record: Any) -> str:
    schema = schema_of(record)
    keys = {f"`{key}`": field.get("description", "") for key, field in schema["properties"].items()}
    return f"**{name}**: {' '.join(schema['description'].split())}\n\n{_table('key', 'meaning', keys)}"


def _table(first: str, second: str, rows: Mapping[str, str]) -> str:
    cells: list[list[str]] = [[Markdown(" ".join(cell.split())) for cell in row] for row in rows.items()]  # they hold links
    return Table("", [first, second], "ll", cells).markdown(padded=False)
