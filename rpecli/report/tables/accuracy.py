"""Tables of one task by length: the measures that are compared, groups, and further measures."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, cast

from rpecli.report import stats, warnings
from rpecli.report.aggregate import EncodingResults, GroupResults, Summaries, TaskResults, none_learned
from rpecli.report.format import format_count, format_factor, format_percent
from rpecli.report.measures import Measure
from rpecli.table import MISSING, Footnotes, Table

NOT_COUNTED = "measured otherwise than it was trained: in no count, rank, test or mean of a group"
FEW = 0.01  # share of an evaluation set below which known problems are not worth a word
Column = tuple[str, Callable[[EncodingResults], str]]  # a heading, and the cell of an encoding
MAX_LENGTHS = 6  # in one sentence; of more, only the doublings of the training length are named


def tables(task: TaskResults) -> list[Table]:
    return [*(_compared(task, measure) for measure in task.scoring.compared), _groups(task)]


def more_tables(task: TaskResults) -> list[Table]:
    """The same lengths by further measures, folded."""
    measured = {key for encoding in task.encodings for summaries in encoding.by_length.values() for key in summaries}
    tables = []
    for measure, caption in task.scoring.further.items():
        if measure.key in measured:
            last = "median area", partial(_median_area, measure=measure)
            tables.append(replace(_by_length(task, measure, caption, last), folded=True))
    return tables


def _compared(task: TaskResults, measure: Measure) -> Table:
    """A table of a measure that is compared; the one that decides has the effective length, the one that is shown a guess."""
    scoring, caption = task.scoring, _solved_caption(task)
    if measure is scoring.decides:
        caption += f" {scoring.effective_words}, lower median over seeds (lowest to highest).{_known_problems(task)}"
        last: Column = (scoring.effective_name, lambda encoding: effective_length(encoding, task))
    else:
        caption += f" Steps to 90 %: median training steps to token accuracy 90 % within the training lengths ({MISSING}: never)."
        last = ("steps to 90 %", lambda encoding: steps_to_90(encoding) if encoding.label in task.own_labels else MISSING)
    if measure is not scoring.shown:
        return _by_length(task, measure, caption, last)
    table = _by_length(task, measure, f"{caption} Chance: the best guess without the input.", last)
    guesses = [measure.write(task.chance[length]) if length in task.chance else MISSING for length in task.lengths]
    row = ["chance", MISSING, MISSING, *guesses, MISSING]
    return replace(table, rows=[*table.rows, row], bold=[*table.bold, [False] * len(row)], foot=1)


def effective_lengths(encoding: EncodingResults, task: TaskResults, half: bool = False) -> tuple[str, str, str]:
    """The lower median over evaluated runs, the lowest and the highest; `< 16` if 16, the shortest evaluated length, fails.

    The lower median is an evaluated length, never one between two.
    """

    def text(length: int) -> str:
        return str(length) if length else f"< {task.lengths[0]}"

    lengths = sorted(run.effective_length(half) for run in encoding.evaluated_runs)
    return text(lengths[(len(lengths) - 1) // 2]), text(lengths[0]), text(lengths[-1])


def effective_length(encoding: EncodingResults, task: TaskResults) -> str:
    """The lower median over runs, and the range where they differ."""
    if not encoding.evaluated_runs:
        return MISSING
    middle, low, high = effective_lengths(encoding, task)
    return middle if low == high else f"{middle} ({low} to {high})"


def steps_to_90(encoding: EncodingResults) -> str:
    """The median over runs, and how many reached 90 % where not all did."""
    steps = encoding.steps_to_90
    reached = sum(count is not None for count in steps)
    middle = stats.censored_median(steps)
    text = MISSING if middle is None else f"{middle:g}"
    return text if reached in (0, len(steps)) else f"{text} ({reached} of {len(steps)})"


def _median_area(encoding: EncodingResults, measure: Measure) -> str:
    areas = [stats.area(values) for run in encoding.evaluated_runs if (values := run.by_length(measure.key))]
    return measure.write(median(areas)) if areas else MISSING


def _by_length(task: TaskResults, measure: Measure, caption: str, last: Column) -> Table:
    """One row per encoding and one column per length; `last` is the heading of one more column, and its cell."""
    notes = Footnotes()
    heading, last_cell = last
    rows = []
    for encoding in task.encodings:
        own = encoding.label in task.own_labels
        label = encoding.title + "".join(notes.mark(text) for text in (_row_notes(encoding) if own else [NOT_COUNTED]))
        cells = [_cell(encoding, length, measure, notes) for length in task.lengths]
        rows.append([label, encoding.group, format_count(encoding.solved_flags if own else []), *cells, last_cell(encoding)])
    means = [one.by_length if one.label in task.own_labels else {} for one in task.encodings]
    best = [_best([_mean(by_length.get(n, {}), measure) for by_length in means], measure) for n in task.lengths]
    bold = [[False] * 3 + flags + [False] for flags in transposed(best, len(rows))]
    columns = ["encoding", "group", "solved", *length_columns(task), heading]
    caption = f"By length (multiple of the training length): mean over seeds (lowest to highest), the best mean bold. {caption}"
    align = "ll" + "r" * (len(columns) - 2)
    return Table(measure.name, columns, align, rows, bold, caption, notes.lines, section=task.title)


def length_columns(task: TaskResults) -> list[str]:
    return [f"{length} ({format_factor(length, task.train_length)})" for length in task.lengths]


def _row_notes(encoding: EncodingResults) -> Iterable[str]:
    label, runs = encoding.title, encoding.runs
    if encoding.solved_flags and not all(encoding.solved_flags):
        yield f"not every run learned the training length ({encoding.scoring.learned} there); means are over all runs"
    if encoding.n_failed:
        yield f"{label}: {encoding.n_failed} of {len(runs)} runs failed: not solved, and excluded from means"
    if warnings.source_versions(runs) > 1:
        yield f"{label}: the file of its task or encoding changed between its seeds, so they are not comparable"
    if not encoding.evaluated_runs and not encoding.n_failed:
        yield "no run is trained and evaluated yet"


def _cell(encoding: EncodingResults, length: int, measure: Measure, notes: Footnotes) -> str:
    text = measure.write_range(encoding.by_length.get(length, {}).get(measure.key))
    runs = encoding.evaluated_runs
    evaluated = sum(length in run.scored for run in runs)
    if length in encoding.untrained_share:
        text += notes.mark(_untrained_note(encoding))
    if 0 < evaluated < len(runs):
        text += notes.mark(f"{encoding.title}: only {evaluated} of {len(runs)} runs have a score at {length}")
    return text


def _known_problems(task: TaskResults) -> str:
    """How many problems of the evaluation sets are no new ones, the most of any run, where they are not few."""
    lines = [line for encoding in task.encodings for run in encoding.runs for line in run.evaluations.values()]
    sentences = []
    for key, words in (("seen", "Sequences that training had"), ("repeated", "Sequences that stand twice in their set")):
        shares: dict[int, float] = {}
        for line in lines:
            shares[line["length"]] = max(shares.get(line["length"], 0.0), cast("dict[str, Any]", line).get(key, 0.0))
        texts = [f"{format_percent(share)} at {length}" for length, share in sorted(shares.items()) if share >= FEW]
        sentences += [f" {words}: {', '.join(texts)}."] * bool(texts)
    return "".join(sentences)


def _untrained_note(encoding: EncodingResults) -> str:
    shares = ", ".join(f"{100 * share:.0f} % at {length}" for length, share in sorted(encoding.untrained_share.items()))
    return f"{encoding.title}: evaluated at positions that training never reached ({shares})"


def _solved_caption(task: TaskResults) -> str:
    solved = f"Solved: {sum(task.solved_flags)} of {len(task.solved_flags)} runs"
    return f"{solved} ({task.scoring.learned} at {task.train_length})."


def _groups(task: TaskResults) -> Table:
    notes, rows, bold = Footnotes(), [], []
    for measure in reversed(task.scoring.compared):
        for group in task.groups:
            cells = [_group_cell(group, length, measure, notes) for length in task.lengths]
            counts = [str(len(group.encodings)), str(group.n_runs), format_count(group.solved_flags)]
            rows.append([group.name, measure.name, *counts, *cells])
        best = [_best([_mean(group.by_length.get(n, {}), measure) for group in task.groups], measure) for n in task.lengths]
        bold += [[False] * 5 + flags for flags in transposed(best, len(task.groups))]
    columns = ["group", "measure", "encodings", "runs", "solved", *length_columns(task)]
    caption = "Mean over the encodings of a group (lowest to highest encoding), each the mean over its seeds."
    align = "ll" + "r" * (len(columns) - 2)
    return Table("by group", columns, align, rows, bold, f"{caption} {group_sentence(task)}", notes.lines, section=task.title)


def _group_cell(group: GroupResults, length: int, measure: Measure, notes: Footnotes) -> str:
    text = measure.write_range(group.by_length.get(length, {}).get(measure.key))
    evaluated = sum(length in encoding.by_length for encoding in group.encodings)
    if any(length in encoding.untrained_share for encoding in group.encodings):
        text += notes.mark("includes encodings evaluated at positions that training never reached")
    if 0 < evaluated < len(group.encodings):
        text += notes.mark(f"{group.name}: {evaluated} of {len(group.encodings)} encodings have runs evaluated at {length}")
    return text


def group_sentence(task: TaskResults) -> str:
    """RPE and APE at each multiple of the training length beyond it: means only, without a claim of significance."""
    groups = {group.name: group for group in task.groups if group.by_length}
    absent = [name for name in ("APE", "RPE") if name not in groups]
    if absent:
        return f"{task.title}: no {' and no '.join(absent)} run is evaluated, so APE and RPE are not compared."
    rpe, ape = groups["RPE"], groups["APE"]
    lengths = [n for n in task.lengths if n > task.train_length and n in rpe.by_length and n in ape.by_length]
    if not lengths:
        return f"{task.title}: APE and RPE have no evaluated length beyond the training length in common."
    if len(lengths) > MAX_LENGTHS:
        lengths = [n for n in lengths if math.log2(n / task.train_length).is_integer()] or [lengths[-1]]
    by_length = []
    for length in lengths:
        means = [
            f"{measure.name} {measure.write(rpe.by_length[length][measure.key].mean)} and "
            f"{measure.write(ape.by_length[length][measure.key].mean)}"
            for measure in reversed(task.scoring.compared)
            if measure.key in rpe.by_length[length] and measure.key in ape.by_length[length]
        ]
        by_length.append(f"at {format_factor(length, task.train_length)} {', '.join(means)}")
    return f"{task.title}, means of RPE and APE: {'; '.join(by_length)}. {_solved_sentence(rpe, ape)}"


def _solved_sentence(*groups: GroupResults) -> str:
    known = [group for group in groups if group.solved_flags]
    if not known:
        return "No run was evaluated at the training length."
    counts = " and ".join(f"{sum(group.solved_flags)} of {len(group.solved_flags)} {group.name} runs" for group in known)
    none = [group for group in known if none_learned(group.solved_flags)]
    whose = "their" if sum(len(group.solved_flags) for group in none) > 1 else "its"
    names = " and no ".join(group.name for group in none)
    warning = f" No {names} run did, so {whose} numbers beyond training say little about positions." if none else ""
    return f"{counts} learned the training length.{warning}"


def _mean(summaries: Summaries, measure: Measure) -> float | None:
    return summaries[measure.key].mean if measure.key in summaries else None


def _best(column: list[float | None], measure: Measure) -> list[bool]:
    """Which means of a column are the best as printed; none where all are equal or the best score is 0."""
    scores = [measure.sign * value for value in column if value is not None]
    texts = [None if value is None else measure.write(value) for value in column]
    if not scores or max(scores) == 0 or len({text for text in texts if text}) == 1:
        return [False] * len(column)
    return [text == measure.write_score(max(scores)) for text in texts]


def transposed(columns: list[list[bool]], n_rows: int) -> list[list[bool]]:
    """Columns as rows, also without any column."""
    return [[column[row] for column in columns] for row in range(n_rows)]
