"""Tables and sentences of two studies side by side."""

from dataclasses import replace

from rpecli.report import stats
from rpecli.report.format import (
    MEASURE_NAMES,
    describe_difference,
    format_factor,
    format_interval,
    format_p,
    format_percent,
    format_points,
    write_points,
)
from rpecli.report.report_data import Provenance
from rpecli.report.tables.seeds import INTERVAL
from rpecli.report.two_studies import MEASURES, ComparisonRow, StudyComparison
from rpecli.table import MISSING, Footnotes, Table, plural


def title(comparison: StudyComparison) -> str:
    return f"{comparison.a.name} (A) against {comparison.b.name} (B)"


def headline(comparison: StudyComparison) -> list[str]:
    """What each study is, and the difference over all paired encodings."""
    sides = (("A", comparison.data.a), ("B", comparison.data.b))
    lines = [f"{letter}: {side.description}. {_origin(side.provenance)}" for letter, side in sides]
    for measure, difference in comparison.overall.items():
        notes = ["exploratory, uncorrected"] if measure != MEASURES[0] else []
        notes += ["95 % interval in brackets"] if difference.interval else []
        note = f" ({'; '.join(notes)})" if notes else ""
        what = f"B minus A, {MEASURE_NAMES[measure]} over log length beyond training{note}"
        tasks = f"{plural(difference.tasks, 'task')}, mean over paired encodings"
        lines.append(f"{what}: {describe_difference(difference, write_points)}, {tasks}.")
    if any(difference.p is None for difference in comparison.overall.values()):
        lines.append(f"Fewer than {stats.MIN_SEEDS} seeds: no interval, no test and no conclusion.")
    return lines


def _origin(provenance: Provenance) -> str:
    commits = ", ".join(commit[:8] + commit[40:] for commit in provenance.commits) or "unknown"
    hardware = {"machine": provenance.machine, "device": provenance.device}
    return "; ".join([f"commit {commits}", *(f"{key} {', '.join(values)}" for key, values in hardware.items() if values)]) + "."


def tables(comparison: StudyComparison) -> list[Table]:
    """First all encodings beyond training, then one table per task by length; token accuracy after exact match, folded."""
    all_tables = []
    for measure in MEASURES:
        rows = [row for row in comparison.rows if row.measure == measure and row.length is None]
        all_tables.append(_beyond_training(f"{MEASURE_NAMES[measure].capitalize()} beyond training", rows))
    for task in dict.fromkeys(row.heading for row in comparison.rows):
        for measure in MEASURES:
            rows = [row for row in comparison.rows if row.heading == task and row.measure == measure and row.length is not None]
            all_tables.append(_by_length(f"{task}: {MEASURE_NAMES[measure]}", rows))
    folded = [replace(table, folded=number % len(MEASURES) > 0) for number, table in enumerate(all_tables)]
    return [table for table in folded if table.rows]


def _beyond_training(name: str, rows: list[ComparisonRow]) -> Table:
    """One row per task and encoding; bold where the test is significant."""
    notes = Footnotes()
    lines = [
        [row.title, row.group, row.heading, _seeds(row), *_numbers(row, notes), format_p(row.p), format_p(row.p_holm)]
        for row in rows
    ]
    significant = [row.p_holm is not None and row.p_holm < stats.ALPHA for row in rows]
    columns = ["encoding", "group", "task", "seeds", "A", "B", "B - A, points", "95 % interval", "p", "p (Holm)"]
    caption = (
        f"Mean over log2 length beyond training and over seeds. Paired by seed unless marked; {INTERVAL}. "
        f"p: sign-flip test over seeds, adjusted for all rows of this table; bold where it is below {stats.ALPHA}."
    )
    bold = [[column == "B - A, points" and flag for column in columns] for flag in significant]
    return Table(name, columns, "lll" + "r" * 7, lines, bold, caption, notes.lines)


def _by_length(name: str, rows: list[ComparisonRow]) -> Table:
    """One row per length and encoding."""
    notes = Footnotes()
    lengths = [f"{row.length} ({format_factor(row.length, row.training_length)})" for row in rows if row.length is not None]
    lines = [
        [row.title, row.group, length, _seeds(row), *_numbers(row, notes)] for row, length in zip(rows, lengths, strict=True)
    ]
    columns = ["encoding", "group", "length", "seeds", "A", "B", "B - A, points", "95 % interval"]
    caption = f"Mean over seeds by length. Paired by seed unless marked; {INTERVAL}."
    return Table(name, columns, "ll" + "r" * 6, lines, caption=caption, footnotes=notes.lines)


def _seeds(row: ComparisonRow) -> str:
    return str(row.a_seeds) if row.a_seeds == row.b_seeds else f"{row.a_seeds} and {row.b_seeds}"


def _numbers(row: ComparisonRow, notes: Footnotes) -> list[str]:
    """A, B, their difference and its interval."""
    difference = MISSING if row.difference is None else format_points(row.difference)
    if not row.same_eval_set:
        difference += notes.mark("evaluated on different sequences: no difference is formed")
    elif not row.paired:
        difference += notes.mark("different seeds in A and B: the interval is of two independent means, and there is no test")
    ends = None if row.low is None or row.high is None else (row.low, row.high)
    return [format_percent(row.a), format_percent(row.b), difference, format_interval(ends, format_points)]
