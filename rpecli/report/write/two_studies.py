"""Two studies side by side as Markdown, CSV, JSON and one HTML page."""

from html import escape
from pathlib import Path

from rpecli.report.tables.two_studies import headline, tables, title
from rpecli.report.two_studies import StudyComparison
from rpecli.report.write import html as page_html
from rpecli.report.write.data import csv_bytes, json_bytes


def files(comparison: StudyComparison) -> dict[str, bytes]:
    """Every file by name."""
    return {
        "compare.md": markdown(comparison).encode(),
        "compare.csv": csv_bytes(comparison.rows),
        "compare.html": html(comparison).encode(),
        "compare.json": json_bytes(comparison.data),
    }


def markdown(comparison: StudyComparison) -> str:
    """compare.md."""
    notes, command = _notes(comparison), comparison.command
    parts = [f"# {title(comparison)}", "\n".join(f"- {line}" for line in headline(comparison))]
    parts += ["## Notes\n\n" + "\n".join(f"- {note}" for note in notes)] if notes else []
    parts += [table.markdown(level=2) for table in tables(comparison)]
    parts += [f"Reproduce with:\n\n```sh\n{command}\n```"] if command else []
    return "\n\n".join(parts) + "\n"


def _notes(comparison: StudyComparison) -> list[str]:
    sides = (("A", comparison.a), ("B", comparison.b))
    return comparison.notes + [f"{side}: {' '.join(text.split())}" for side, study in sides for text in study.warnings]


def html(comparison: StudyComparison) -> str:
    """compare.html."""
    notes, command = _notes(comparison), comparison.command
    items = "".join(f"<li>{escape(line)}</li>" for line in headline(comparison))
    parts = [f"<h1>{escape(title(comparison))}</h1><ul>{items}</ul>"]
    parts += [f"<h2>Notes</h2><ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"] if notes else []
    parts += [page_html.table_html(table, None, 2) for table in tables(comparison)]
    parts += [f"<h2>Reproduce with</h2><pre>{escape(command)}</pre>"] if command else []
    return page_html.document(title(comparison), parts)


def folder_name(first: str, second: str) -> str:
    """A folder for the two: `quick-against-long`."""
    return f"{Path(first).stem or 'a'}-against-{Path(second).stem or 'b'}"
