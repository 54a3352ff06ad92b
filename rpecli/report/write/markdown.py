"""The page of a report as Markdown, `report.md`."""

from collections.abc import Collection

from rpecli.report.write.content import Content
from rpecli.report.write.templates import render


def report_markdown(content: Content, figures: Collection[str]) -> str:
    """`report.md`; `figures` are the names of the files that were drawn."""
    return render("report.md.j2", report=content, figures=figures)
