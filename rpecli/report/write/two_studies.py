"""Two studies side by side as Markdown, CSV, JSON and one HTML page."""

import re
from pathlib import Path
from typing import Any

from rpecli.report.tables.two_studies import headline, tables, title
from rpecli.report.two_studies import StudyComparison
from rpecli.report.write.data import csv_bytes, json_bytes
from rpecli.report.write.templates import render


def files(comparison: StudyComparison, context: dict[str, Any]) -> dict[str, bytes]:
    """Every file by name; `context` as below."""
    return {
        "compare.md": render("compare.md.j2", **context).encode(),
        "compare.csv": csv_bytes(comparison.rows),
        "compare.html": render("compare.html.j2", **context, style="").encode(),
        "compare.json": json_bytes(comparison.data),
    }


def context(comparison: StudyComparison) -> dict[str, Any]:
    """What both pages are made of."""
    sides = (("A", comparison.a), ("B", comparison.b))
    warnings = [f"{side}: {' '.join(text.split())}" for side, study in sides for text in study.warnings]
    return {
        "title": title(comparison), "headline": headline(comparison), "notes": comparison.notes + warnings,
        "tables": tables(comparison), "command": comparison.command,
    }  # fmt: skip


def folder_name(first: str, second: str) -> str:
    """A folder for the two: `quick-against-long`."""
    sides = (re.sub(r"[^\w.+-]+", "-", Path(name).stem).strip("-.") for name in (first, second))
    return "-against-".join(side or letter for side, letter in zip(sides, "ab", strict=True))
