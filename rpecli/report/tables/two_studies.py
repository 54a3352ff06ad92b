"""Tables and sentences of two studies side by side."""

from rpecli.report import stats
from rpecli.report.format import describe_difference, format_factor, format_p
from rpecli.report.measures import COMPARED, TOKENS, Measure
from rpecli.report.paired import turned
from rpecli.report.records import Difference
from rpecli.report.report_data import Provenance
from rpecli.report.tables.seeds import INTERVAL
from rpecli.report.two_studies import ComparisonRow, StudyComparison
from rpecli.table import MISSING, Footnotes, Table, plural


def title(comparison: StudyComparison) -> str:
    return f"{comparison.a.name} (A) against {comparison.b.name} (B)"


def headline(comparison: StudyComparison) -> list[str]:
    """What each study is, and the difference over all paired encodings."""
    sides = (("A", comparison.data.a), ("B", comparison.data.b))
    lines = [f"{letter}: {side.description}. {_origin(side.provenance)}" for letter, side in sides]
    for key, difference in comparison.overall.items():
        measure = COMPARED[key]
        notes = ["exploratory, uncorrected"] if measure is TOKENS else []
        notes += ["95 % interval in brackets"] if difference.interval else []
        note = f" ({'; '.join(notes)})" if notes else ""
        what = f"B minus A, {measure.name} over log length beyond training{note}"
        tasks = f"{plural(difference.tasks, 'task')}, mean over paired encodings"
        lines.append(f"{what}: {describe_difference(_score(difference, measure), measure.write_difference)}, {tasks}.")
    if not comparison.overall:
        lines.append("No difference over all encodings: none shares a seed and its sequences beyond training in both studies.")
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
    for measure in COMPARED.values():
        rows = [row for row in comparison.rows if row.measure == measure.key and row.length is None]
        all_tables.append(_beyond_training(f"{measure.name.capitalize()} beyond training", rows, measure))
    for task in dict.fromkeys(row.heading for row in comparison.rows):
        for measure in COMPARED.values():
            rows = [
                row for row in comparison.rows if row.heading == task and row.measure == measure.key and row.length is not None
            ]
            all_tables.append(_by_length(f"{task}: {measure.name}", rows, measure))
    return [table for table in all_tables if table.rows]


def _score(difference: Difference, measure: Measure) -> Difference:
    """A difference of values as one of scores."""
    return difference if measure.sign > 0 else turned(difference)


def _beyond_training(name: str, rows: list[ComparisonRow], measure: Measure) -> Table:
    """One row per task and encoding; bold where the test is significant."""
    notes = Footnotes()
    lines = [
        [row.title, row.group, row.heading, _seeds(row), *_numbers(row, notes, measure), format_p(row.p), format_p(row.p_holm)]
        for row in rows
    ]
    significant = [row.p_holm is not None and row.p_holm < stats.ALPHA for row in rows]
    columns = [
        "encoding",
        "group",
        "task",
        "seeds",
        "A",
        "B",
        (change := f"B - A, {measure.difference_unit}"),
        "95 % interval",
        "p",
        "p (Holm)",
    ]
    caption = (
        f"Mean over log2 length beyond training and over seeds. Paired by seed unless marked; {INTERVAL}. "
        f"p: sign-flip test over seeds, adjusted for all rows of this table; bold where it is below {stats.ALPHA}."
    )
    bold = [[column == change and flag for column in columns] for flag in significant]
    return Table(name, columns, "lll" + "r" * 7, lines, bold, caption, notes.lines, folded=measure is TOKENS)


def _by_length(name: str, rows: list[ComparisonRow], measure: Measure) -> Table:
    """One row per length and encoding."""
    notes = Footnotes()
    lengths = [f"{row.length} ({format_factor(row.length, row.training_length)})" for row in rows if row.length is not None]
    lines = [
        [row.title, row.group, length, _seeds(row), *_numbers(row, notes, measure)]
        for row, length in zip(rows, lengths, strict=True)
    ]
    columns = ["encoding", "group", "length", "seeds", "A", "B", f"B - A, {measure.difference_unit}", "95 % interval"]
    caption = f"Mean over seeds by length. Paired by seed unless marked; {INTERVAL}."
    return Table(name, columns, "ll" + "r" * 6, lines, caption=caption, footnotes=notes.lines, folded=measure is TOKENS)


def _seeds(row: ComparisonRow) -> str:
    """`3`, or `4 and 3, 2 pairs` where not all of them are paired."""
    seeds = str(row.a_seeds) if row.a_seeds == row.b_seeds else f"{row.a_seeds} and {row.b_seeds}"
    return f"{seeds}, {plural(row.pairs, 'pair')}" if 0 < row.pairs < max(row.a_seeds, row.b_seeds) else seeds


def _numbers(row: ComparisonRow, notes: Footnotes, measure: Measure) -> list[str]:
    """A, B, their difference and its interval."""
    difference = MISSING if row.difference is None else measure.bare_difference(measure.sign * row.difference)
    if not row.same_eval_set:
        difference += notes.mark("evaluated on different sequences: no difference is formed")
    elif not row.pairs and row.low is not None:
        difference += notes.mark("different seeds in A and B: the interval is of two independent means, and there is no test")
    elif not row.pairs:
        difference += notes.mark("different seeds in A and B")
    elif row.pairs < max(row.a_seeds, row.b_seeds):
        difference += notes.mark("over the seeds that A and B share; each mean is over all of its seeds")
    ends = None if row.low is None or row.high is None else (row.low, row.high)
    interval = ends if ends is None or measure.sign > 0 else (-ends[1], -ends[0])
    return [measure.write(row.a), measure.write(row.b), difference, measure.write_change_interval(interval)]
