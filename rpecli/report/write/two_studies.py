"""Two studies side by side as tables, Markdown, CSV, JSON and one HTML page."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rpecli import __version__
from rpecli.report import schema, stats
from rpecli.report.format import MISSING, WORDS, factor, number, signed
from rpecli.report.tables import seeds as evidence
from rpecli.report.two_studies import MEASURES, Line, Study, Versus
from rpecli.report.verdict import said
from rpecli.report.write import data as records
from rpecli.report.write.content import provenance
from rpecli.report.write.templates import render
from rpecli.table import Footnotes, Table


def title(found: Versus) -> str:
    return f"{found.a.word} (A) against {found.b.word} (B)"


def headline(found: Versus) -> list[str]:
    """What each side is, and the difference over all paired rows."""
    made = [f"{side}: {study.what}. {_provenance(study)}" for side, study in (("A", found.a), ("B", found.b))]
    for measure, each in found.overall.items():
        tasks = f"{each.tasks} task{'s' * (each.tasks != 1)}, the mean over paired encodings"
        beside = "" if measure == MEASURES[0] else " (beside it, uncorrected)"
        made.append(f"B minus A, {WORDS[measure]} over log length beyond training{beside}: {said(each, signed)}, {tasks}.")
    few = [each for each in found.overall.values() if each.p is None]
    return made + ([f"Fewer than {stats.SEEDS} seeds: no interval, no test, nothing concluded."] if few else [])


def _provenance(study: Study) -> str:
    found = provenance(study.runs)
    told = [f"{key} {', '.join(map(str, found[key]))}" for key in ("machine", "device") if found[key]]
    commits = ", ".join(str(commit)[:8] + str(commit)[40:] for commit in found["commits"]) or "unknown"
    return "; ".join([f"commit {commits}", *told]) + "."


def tables(found: Versus) -> list[Table]:
    """First all rows beyond training, then a table a task by length; token accuracy behind exact match, folded."""
    made = [_table(f"{WORDS[m].capitalize()} beyond training", _of(found, m, None), whole=True) for m in MEASURES]
    for key in dict.fromkeys((line.task, line.training_length) for line in found.lines):
        made += [_table(f"{key[0]}, trained to {key[1]}: {WORDS[m]}", _of(found, m, key), whole=False) for m in MEASURES]
    folded = [replace(table, folded=place % len(MEASURES) > 0) for place, table in enumerate(made)]
    return [table for table in folded if table.rows]


def _of(found: Versus, measure: str, key: tuple[str, int] | None) -> list[Line]:
    """The lines of one measure: beyond training, or of one task by length."""
    mine = [line for line in found.lines if line.measure == measure and (line.length is None) == (key is None)]
    return [line for line in mine if key in (None, (line.task, line.training_length))]


def _table(name: str, lines: list[Line], whole: bool) -> Table:
    """A row a task (or a length) and encoding; bold where the test says more than chance."""
    notes = Footnotes()
    rows = [_row(line, whole, notes) for line in lines]
    columns = ["encoding", "group", "task" if whole else "length", "seeds", "A", "B", "B - A", "95 % interval"]
    columns += ["p", "p (Holm)"] if whole else []
    bold = [
        [False] * 6 + [line.p_holm is not None and line.p_holm < stats.LEVEL] + [False] * (len(columns) - 7) for line in lines
    ]
    caption = "Mean over log2 length beyond training, over seeds." if whole else "Mean over seeds by length."
    caption += f" Paired by seed unless marked; bootstrap interval over seeds. {evidence.NARROW}"
    if whole:
        caption += " p: sign-flip test over seeds, adjusted for all rows of this table; bold where that is below .05."
    align = "ll" + ("l" if whole else "r") + "r" * (len(columns) - 3)
    return Table(name, columns, align, rows, bold, caption, notes.lines)


def _row(line: Line, whole: bool, notes: Footnotes) -> list[str]:
    seeds = str(line.a_seeds) if line.a_seeds == line.b_seeds else f"{line.a_seeds} and {line.b_seeds}"
    where = f"{line.task}, trained to {line.training_length}" if whole else _length(line)
    difference = MISSING if line.difference is None else signed(line.difference)
    if line.strings == "different":
        difference += notes.mark("measured on different strings: no difference is formed")
    elif not line.paired:
        difference += notes.mark("not the same seeds in both: the interval is of two independent means, nothing is tested")
    between = MISSING if line.low is None or line.high is None else f"{signed(line.low)} to {signed(line.high)}"
    tested = [evidence.p_value(line.p), evidence.p_value(line.p_holm)] if whole else []
    return [line.encoding, line.group, where, seeds, number(line.a), number(line.b), difference, between, *tested]


def _length(line: Line) -> str:
    return MISSING if line.length is None else f"{line.length} ({factor(line.length, line.training_length)})"


def markdown(found: Versus, command: str | None = None) -> str:
    """compare.md."""
    return render("compare.md.j2", **_context(found, command))


def html(found: Versus, command: str | None = None) -> str:
    """compare.html."""
    return render("compare.html.j2", style="", **_context(found, command))


def _context(found: Versus, command: str | None) -> dict[str, Any]:
    context = {"title": title(found), "headline": headline(found), "notes": _notes(found)}
    return context | {"tables": tables(found), "command": command}


def _notes(found: Versus) -> list[str]:
    theirs = [f"{side}: {' '.join(text.split())}" for side, study in (("A", found.a), ("B", found.b)) for text in study.problems]
    return found.notes + theirs


def data(found: Versus, command: str | None = None) -> dict[str, Any]:
    """compare.json."""
    made: dict[str, Any] = {"format": schema.FORMAT, "rpe": __version__, "command": command}
    made |= {"a": _side(found.a), "b": _side(found.b), "notes": found.notes}
    made |= {"overall": {measure: asdict(each) for measure, each in found.overall.items()}}
    cleaned: dict[str, Any] = records.plain(made | {"lines": [asdict(line) for line in found.lines]})
    return cleaned


def _side(study: Study) -> dict[str, Any]:
    made = {"word": study.word, "what": study.what, "provenance": provenance(study.runs), "problems": study.problems}
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
