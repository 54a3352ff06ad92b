"""Panels to tables: exact match, token accuracy and the comparison of groups, with captions, marks and footnotes."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import median

from rpecli.report import stats
from rpecli.report.aggregate import Group, Panel, Row, by_length
from rpecli.report.format import MISSING, WORDS, count, factor, middle, number, spread
from rpecli.report.load import versions
from rpecli.report.stats import Summary
from rpecli.table import Footnotes, Table

SAID = 6  # lengths that one sentence spells out; of more, only the doublings of the training length


def effective(row: Row, panel: Panel) -> str:
    """The middle run's effective length (the lower one of two middles), and the range; `<16` when 16, the shortest, failed."""

    def text(length: float) -> str:
        return f"{length:.0f}" if length else f"<{panel.lengths[0]}"

    reached = sorted(stats.effective_length(each.measure("exact_match")) for each in row.evaluated)
    if not reached:
        return MISSING
    middle, low, high = reached[(len(reached) - 1) // 2], reached[0], reached[-1]
    return text(middle) if low == high else f"{text(middle)} ({text(low)}-{text(high)})"


def steps_to_90(row: Row) -> str:
    """The median over runs, with how many got there when not all did."""
    steps = row.steps_to_90
    reached = sum(step is not None for step in steps)
    middle = stats.censored_median(steps)
    text = MISSING if middle is None else f"{middle:g}"
    return text if reached in (0, len(steps)) else f"{text} ({reached} of {len(steps)})"


def panel_tables(panel: Panel) -> list[Table]:
    return [_exact(panel), _token(panel), _groups(panel)]


def _exact(panel: Panel) -> Table:
    caption = f"{_solved_caption(panel)} Effective length: the longest evaluated length with exact match of at least "
    caption += f"{stats.EFFECTIVE} up to there, of the middle seed (lowest-highest)."
    return _measured(panel, "exact_match", caption, "effective length", lambda row: effective(row, panel))


def _token(panel: Panel) -> Table:
    caption = f"{_solved_caption(panel)} Steps to 90 %: median training steps to token accuracy .90 within the training lengths"
    caption += f" ({MISSING}: never). Chance: the best answer that does not look at the input."
    table = _measured(panel, "token_accuracy", caption, "steps to 90 %", steps_to_90)
    levels = [number(panel.chance[n]) if n in panel.chance else MISSING for n in panel.lengths]
    table.rows.append(["chance", MISSING, MISSING, *levels, MISSING])
    table.bold.append([False] * len(table.columns))
    return replace(table, foot=1)


def more_tables(panel: Panel) -> list[Table]:
    """The same lengths by the other measures, folded away: each is read beside one of those above."""
    with_end = _measured(panel, "exact_match_eos", _with_end(panel), "median area", lambda row: _area(row, "exact_match_eos"))
    rescaled = "0 is chance, 1 is perfect, below 0 is worse than the best blind guess."
    by_chance = _measured(panel, "rescaled_accuracy", rescaled, "median area", lambda row: _area(row, "rescaled_accuracy"))
    known = [(with_end, "exact_match_eos"), (by_chance, "rescaled_accuracy"), (_over_seeds(panel), "exact_match")]
    have = {measure for row in panel.rows for cell in row.cells.values() for measure in cell}
    return [replace(table, folded=True) for table, measure in known if measure in have]


def _with_end(panel: Panel) -> str:
    words = "Area: under this measure over log2 length."
    return f"As exact match, and the end token must stand where the answer ends (a task without one counts as before). {words}"


def _area(row: Row, measure: str) -> str:
    areas = [stats.area(found) for each in row.evaluated if (found := by_length(each, measure))]
    return number(median(areas)) if areas else MISSING


def _over_seeds(panel: Panel) -> Table:
    """A row an encoding and length, all measures: what the wide tables have no room for."""
    rows = [
        [row.label, row.group, f"{n} ({factor(n, panel.length)})", str(cells["exact_match"].number), *map(middle, _cells(cells))]
        for row in panel.rows for n, cells in row.cells.items()
    ]  # fmt: skip
    columns = ["encoding", "group", "length", "seeds", *map(heading, WORDS.values())]
    caption = "Mean; median (lowest-highest) over seeds. In full precision with intervals: summary.csv."
    mask = [[False] * len(columns) for _ in rows]
    return Table(f"{panel.title}: spread over seeds", columns, "llr" + "r" * (len(columns) - 3), rows, mask, caption, [])


def heading(words: str) -> str:
    return words.removeprefix("token accuracy ") if "rescaled" in words else words


def _cells(cells: dict[str, Summary]) -> list[Summary | None]:
    return [cells.get(measure) for measure in WORDS]


def _measured(panel: Panel, measure: str, caption: str, last: str, of_row: Callable[[Row], str]) -> Table:
    notes = Footnotes()
    rows = [[*_line(row, panel, measure, notes), of_row(row)] for row in panel.rows]
    bold = _best([[_mean(row.cells.get(n, {}), measure) for row in panel.rows] for n in panel.lengths])
    mask = [[False] * 3 + marks + [False] for marks in zip_rows(bold, len(rows))]
    columns = ["encoding", "group", "solved", *_heads(panel), last]
    said = f"By length (multiple of the training length): mean over seeds (lowest-highest), the best mean bold. {caption}"
    return Table(f"{panel.title}: {WORDS[measure]}", columns, "ll" + "r" * (len(columns) - 2), rows, mask, said, notes.lines)


def _heads(panel: Panel) -> list[str]:
    return [f"{length} ({factor(length, panel.length)})" for length in panel.lengths]


def _line(row: Row, panel: Panel, measure: str, notes: Footnotes) -> list[str]:
    name = row.label + "".join(notes.mark(text) for text in _row_notes(row))
    return [name, row.group, count(row.judged), *(_cell(row, length, measure, notes) for length in panel.lengths)]


def _row_notes(row: Row) -> Iterable[str]:
    if row.judged and not all(row.judged):
        yield f"not every run learned the training length (exact match there of at least {stats.SOLVED}); means are over all runs"
    if row.failed:
        yield f"{row.label}: {row.failed} of {len(row.runs)} runs failed, not solved and in no mean"
    if len(versions(row.runs)) > 1:
        yield f"{row.label}: the file of its task or encoding changed between its seeds, so they are not of one kind"
    if not row.evaluated and not row.failed:
        yield "no run of this row is trained and evaluated yet"


def _cell(row: Row, length: int, measure: str, notes: Footnotes) -> str:
    text = spread(row.cells.get(length, {}).get(measure))
    evaluated = sum(length in each.lines for each in row.evaluated)
    if length in row.untrained:
        text += notes.mark(_untrained_note(row))
    if 0 < evaluated < len(row.evaluated):
        text += notes.mark(f"{row.label}: only {evaluated} of {len(row.evaluated)} runs were evaluated at {length}")
    return text


def _untrained_note(row: Row) -> str:
    shares = ", ".join(f"{share:.0%} at {length}".replace("%", " %") for length, share in sorted(row.untrained.items()))
    return f"{row.label}: evaluated at positions that training never reached ({shares} of the positions)"


def _solved_caption(panel: Panel) -> str:
    said = f"Solved in distribution: {sum(panel.judged)} of {len(panel.judged)} runs "
    return said + f"(exact match at {panel.length} of at least {stats.SOLVED})."


def _groups(panel: Panel) -> Table:
    notes, rows, bold = Footnotes(), [], []
    for measure in ("token_accuracy", "exact_match"):
        rows += [_group_line(group, panel, measure, notes) for group in panel.groups]
        marks = _best([[_mean(group.cells.get(n, {}), measure) for group in panel.groups] for n in panel.lengths])
        bold += [[False] * 5 + line for line in zip_rows(marks, len(panel.groups))]
    columns = ["group", "measure", "encodings", "runs", "solved", *_heads(panel)]
    caption = f"Mean over the encodings of a group (lowest-highest encoding), each the mean of its seeds. {comparison(panel)}"
    return Table(f"{panel.title}: by group", columns, "ll" + "r" * (len(columns) - 2), rows, bold, caption, notes.lines)


def _group_line(group: Group, panel: Panel, measure: str, notes: Footnotes) -> list[str]:
    cells = [_group_cell(group, length, measure, notes) for length in panel.lengths]
    return [group.name, WORDS[measure], str(len(group.rows)), str(group.runs), count(group.judged), *cells]


def _group_cell(group: Group, length: int, measure: str, notes: Footnotes) -> str:
    text = spread(group.cells.get(length, {}).get(measure))
    have = sum(length in row.cells for row in group.rows)
    if any(length in row.untrained for row in group.rows):
        text += notes.mark("holds encodings evaluated at positions that training never reached")
    if 0 < have < len(group.rows):
        text += notes.mark(f"{group.name}: {have} of {len(group.rows)} encodings have runs evaluated at {length}")
    return text


def comparison(panel: Panel) -> str:
    """One plain sentence: RPE beside APE at each factor beyond the training length; means only, no claim of significance."""
    named = {group.name: group for group in panel.groups if group.cells}
    absent = [name for name in ("APE", "RPE") if name not in named]
    if absent:
        return f"{panel.title}: no {' and no '.join(absent)} run is evaluated, so APE and RPE are not compared."
    rpe, ape = named["RPE"], named["APE"]
    beyond = [n for n in panel.lengths if n > panel.length and n in rpe.cells and n in ape.cells]
    if not beyond:
        return f"{panel.title}: APE and RPE have no evaluated length beyond the training length in common."
    if len(beyond) > SAID:
        beyond = [n for n in beyond if math.log2(n / panel.length).is_integer()] or [beyond[-1]]
    said = "; ".join(_at(factor(n, panel.length), rpe.cells[n], ape.cells[n]) for n in beyond)
    return f"{panel.title}, means of RPE against APE: {said}. {_solved_sentence(rpe, ape)}"


def _at(times: str, rpe: dict[str, Summary], ape: dict[str, Summary]) -> str:
    pairs = [f"{WORDS[m]} {number(rpe[m].mean)} against {number(ape[m].mean)}" for m in ("token_accuracy", "exact_match")]
    return f"at {times} {', '.join(pairs)}"


def _solved_sentence(*groups: Group) -> str:
    said = " and ".join(f"{sum(g.judged)} of {len(g.judged)} {g.name} runs" for g in groups)
    none = [group.name for group in groups if not any(group.judged)]
    warning = f" No {' and no '.join(none)} run did, so the numbers beyond it say little about position." if none else ""
    return f"The training length was learned by {said}.{warning}"


def _mean(cell: dict[str, Summary], measure: str) -> float | None:
    return cell[measure].mean if measure in cell else None


def _best(columns: list[list[float | None]]) -> list[list[bool]]:
    """For each column which means are best as printed; none where all are equal or the best is 0."""
    return [_best_of(column) for column in columns]


def _best_of(column: list[float | None]) -> list[bool]:
    known = [value for value in column if value is not None]
    texts = [None if value is None else number(value) for value in column]
    if not known or max(known) == 0 or len({text for text in texts if text}) == 1:
        return [False] * len(column)
    return [text == number(max(known)) for text in texts]


def zip_rows(columns: list[list[bool]], rows: int) -> list[list[bool]]:
    """Columns to rows, also when there is no column."""
    return [[column[i] for column in columns] for i in range(rows)]
