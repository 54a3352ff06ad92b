"""Two studies side by side as tables, Markdown, CSV, JSON and one HTML page."""

from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from rpecli import __version__, stats
from rpecli.report import page, page_html, records, schema
from rpecli.report.tables import Footnotes, Table, to_markdown
from rpecli.report.verdict import said, signed
from rpecli.report.versus import MEASURES, Line, Study, Versus
from rpecli.report.views import MISSING, WORDS, factor, number

SIGNIFICANT = "an interval that leaves out 0 is bold; of twenty rows without any difference one would be"


def title(found: Versus) -> str:
    return f"{found.a.word} (A) against {found.b.word} (B)"


def headline(found: Versus) -> list[str]:
    """What each side is, and the difference over all paired rows."""
    made = [f"{side}: {study.what}. {_provenance(study)}" for side, study in (("A", found.a), ("B", found.b))]
    for measure, each in found.overall.items():
        rows = f"{each.tasks} row{'s' * (each.tasks != 1)} (task and encoding)"
        made.append(f"B minus A over {rows}, {WORDS[measure]} over log length beyond training: {said(each, signed)}.")
    few = [each for each in found.overall.values() if each.p is None]
    return made + ([f"Fewer than {stats.SEEDS} seeds: no interval, no test, nothing concluded."] if few else [])


def _provenance(study: Study) -> str:
    found = page.provenance(study.runs)
    told = [f"{key} {', '.join(map(str, found[key]))}" for key in ("machine", "device") if found[key]]
    commits = ", ".join(str(commit)[:8] + str(commit)[40:] for commit in found["commits"]) or "unknown"
    return "; ".join([f"commit {commits}", *told]) + "."


def tables(found: Versus) -> list[Table]:
    """First all rows beyond training, then a table a task by length."""
    made = [_table("Beyond training", [line for line in found.lines if line.length is None], whole=True)]
    for key in dict.fromkeys((line.task, line.training_length) for line in found.lines):
        mine = [line for line in found.lines if (line.task, line.training_length) == key and line.length is not None]
        made.append(_table(f"{key[0]}, trained to {key[1]}", mine, whole=False))
    return [table for table in made if table.rows]


def _table(name: str, lines: list[Line], whole: bool) -> Table:
    """A row a task (or a length) and encoding, both measures beside each other."""
    notes = Footnotes()
    rows, bold = [], []
    grouped: dict[tuple[Any, ...], dict[str, Line]] = {}
    for line in lines:
        grouped.setdefault((line.task, line.training_length, line.length, line.encoding), {})[line.measure] = line
    for by in grouped.values():
        any_line = next(iter(by.values()))
        rows.append([*_head(any_line, whole), *(cell for measure in MEASURES for cell in _cells(by[measure], notes))])
        bold.append([False] * 4 + [mark for measure in MEASURES for mark in (False, False, _apart(by[measure]))])
    columns = ["encoding", "group", "task" if whole else "length", "seeds"]
    columns += [text for measure in MEASURES for text in (f"{WORDS[measure]} A", "B", "B - A")]
    where = "Mean over log2 length beyond training, over seeds" if whole else "Mean over seeds by length"
    caption = f"{where}; B - A with its 95 % bootstrap interval over seeds, paired by seed unless marked: {SIGNIFICANT}."
    return Table(name, columns, "ll" + ("l" if whole else "r") + "r" * 7, rows, bold, caption, notes.lines)


def _head(line: Line, whole: bool) -> list[str]:
    seeds = str(line.a_seeds) if line.a_seeds == line.b_seeds else f"{line.a_seeds} and {line.b_seeds}"
    where = f"{line.task}, trained to {line.training_length}"
    return [line.encoding, line.group, where if whole else _length(line), seeds]


def _length(line: Line) -> str:
    return MISSING if line.length is None else f"{line.length} ({factor(line.length, line.training_length)})"


def _cells(line: Line, notes: Footnotes) -> list[str]:
    text = MISSING
    if line.difference is not None:
        text = signed(line.difference)
        if line.low is not None and line.high is not None:
            text += f" [{signed(line.low)}, {signed(line.high)}]"
    if line.strings == "different":
        text += notes.mark("measured on different strings: no difference is formed")
    elif not line.paired:
        text += notes.mark("not the same seeds in both: not paired, the interval is of two independent means")
    return [number(line.a), number(line.b), text]


def _apart(line: Line) -> bool:
    return line.low is not None and line.high is not None and not line.low <= 0 <= line.high


def markdown(found: Versus, command: str | None = None) -> str:
    """compare.md."""
    parts = [f"# {title(found)}", "\n".join(f"- {text}" for text in headline(found))]
    parts += ["## What to know\n\n" + "\n".join(f"- {text}" for text in _notes(found))] if _notes(found) else []
    parts += [to_markdown(table, level=2).rstrip() for table in tables(found)]
    parts += [f"Made again with:\n\n```sh\n{command}\n```"] if command else []
    return "\n\n".join(parts) + "\n"


def _notes(found: Versus) -> list[str]:
    theirs = [f"{side}: {' '.join(text.split())}" for side, study in (("A", found.a), ("B", found.b)) for text in study.problems]
    return found.notes + theirs


def html(found: Versus, command: str | None = None) -> str:
    """compare.html."""
    lines = "".join(f"<li>{escape(text)}</li>" for text in headline(found))
    notes = "".join(f"<li>{escape(text)}</li>" for text in _notes(found))
    parts = [f"<h1>{escape(title(found))}</h1><ul>{lines}</ul>"]
    parts += [f"<h2>What to know</h2><ul>{notes}</ul>"] if notes else []
    parts += [page_html.table_html(table, None, 2) for table in tables(found)]
    parts += [f"<h2>Made again with</h2><pre>{escape(command)}</pre>"] if command else []
    return page_html.document(title(found), parts)


def data(found: Versus, command: str | None = None) -> dict[str, Any]:
    """compare.json."""
    made: dict[str, Any] = {"format": schema.FORMAT, "rpe": __version__, "command": command}
    made |= {"a": _side(found.a), "b": _side(found.b), "notes": found.notes}
    made |= {"overall": {measure: asdict(each) for measure, each in found.overall.items()}}
    cleaned: dict[str, Any] = records.plain(made | {"lines": [asdict(line) for line in found.lines]})
    return cleaned


def _side(study: Study) -> dict[str, Any]:
    made = {"word": study.word, "what": study.what, "provenance": page.provenance(study.runs), "problems": study.problems}
    return made | {"runs": [str(each.path) for each in study.runs]}


def contents(found: Versus, command: str | None = None) -> dict[str, bytes]:
    """Every file by name."""
    import pandas as pd

    csv = str(
        pd.DataFrame([asdict(line) for line in found.lines]).astype({"length": "Int64"}).to_csv(index=False, lineterminator="\n")
    )
    made = {"compare.md": markdown(found, command), "compare.csv": csv, "compare.html": html(found, command)}
    return {name: text.encode() for name, text in made.items()} | {"compare.json": records.as_json(data(found, command))}


def file_name(a: str, b: str) -> str:
    """A folder for the two: `quick-against-long`."""
    return f"{Path(a).stem or 'a'}-against-{Path(b).stem or 'b'}"
