"""Accuracy tables of one task: exact match, token accuracy, groups, and further measures by length."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, cast

from rpecli.report import stats, warnings
from rpecli.report.aggregate import EncodingResults, GroupResults, Summaries, TaskResults
from rpecli.report.format import MEASURE_NAMES, format_count, format_factor, format_percent, format_percent_range
from rpecli.table import MISSING, Footnotes, Table

FEW = 0.01  # share of an evaluation set below which known problems are not worth a word
MAX_LENGTHS = 6  # in one sentence; of more, only the doublings of the training length are named


def tables(task: TaskResults) -> list[Table]:
    return [_exact_match(task), _token_accuracy(task), _groups(task)]


def more_tables(task: TaskResults) -> list[Table]:
    """The same lengths by further measures, folded."""
    with_end = (
        "As exact match, and the end token must stand where the answer ends (tasks without one count as before). Area: this "
        "measure averaged over log2 length, median over seeds."
    )
    rescaled = "Token accuracy with 0 % at chance, 100 % if perfect; below 0 % it is worse than the best guess without the input."
    captions = {"exact_match_eos": with_end, "rescaled_accuracy": rescaled}
    measured = {measure for encoding in task.encodings for summaries in encoding.by_length.values() for measure in summaries}
    tables = []
    for measure in [measure for measure in captions if measure in measured]:
        last = "median area", partial(_median_area, measure=measure)
        tables.append(replace(_by_length(task, measure, captions[measure], last), folded=True))
    return tables


def _exact_match(task: TaskResults) -> Table:
    caption = f"{_solved_caption(task)} Effective length: the longest evaluated length up to which exact match is at least "
    caption += f"{format_percent(stats.EFFECTIVE)}, lower median over seeds (lowest to highest).{_known_problems(task)}"
    return _by_length(task, "exact_match", caption, ("effective length", lambda encoding: effective_length(encoding, task)))


def _token_accuracy(task: TaskResults) -> Table:
    caption = f"{_solved_caption(task)} Steps to 90 %: median training steps to token accuracy 90 % within the training lengths"
    caption += f" ({MISSING}: never). Chance: the best guess without the input."
    table = _by_length(task, "token_accuracy", caption, ("steps to 90 %", steps_to_90))
    chance = [format_percent(task.chance[length]) if length in task.chance else MISSING for length in task.lengths]
    chance_row = ["chance", MISSING, MISSING, *chance, MISSING]
    return replace(table, rows=[*table.rows, chance_row], bold=[*table.bold, [False] * len(chance_row)], foot=1)


def effective_lengths(encoding: EncodingResults, task: TaskResults, threshold: float = stats.EFFECTIVE) -> tuple[str, str, str]:
    """The lower median over evaluated runs, the lowest and the highest; `< 16` if 16, the shortest evaluated length, fails.

    The lower median is an evaluated length, never one between two.
    """

    def text(length: int) -> str:
        return str(length) if length else f"< {task.lengths[0]}"

    lengths = sorted(stats.effective_length(run.by_length("exact_match"), threshold) for run in encoding.evaluated_runs)
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


def _median_area(encoding: EncodingResults, measure: str) -> str:
    areas = [stats.area(values) for run in encoding.evaluated_runs if (values := run.by_length(measure))]
    return format_percent(median(areas)) if areas else MISSING


def _by_length(task: TaskResults, measure: str, caption: str, last: tuple[str, Callable[[EncodingResults], str]]) -> Table:
    """One row per encoding and one column per length; `last` is the heading of one more column, and its cell."""
    notes = Footnotes()
    heading, last_cell = last
    rows = []
    for encoding in task.encodings:
        label = encoding.title + "".join(notes.mark(text) for text in _row_notes(encoding))
        cells = [_cell(encoding, length, measure, notes) for length in task.lengths]
        rows.append([label, encoding.group, format_count(encoding.solved_flags), *cells, last_cell(encoding)])
    best = _best([[_mean(encoding.by_length.get(n, {}), measure) for encoding in task.encodings] for n in task.lengths])
    bold = [[False] * 3 + flags + [False] for flags in transposed(best, len(rows))]
    columns = ["encoding", "group", "solved", *length_columns(task), heading]
    caption = f"By length (multiple of the training length): mean over seeds (lowest to highest), the best mean bold. {caption}"
    align = "ll" + "r" * (len(columns) - 2)
    return Table(MEASURE_NAMES[measure], columns, align, rows, bold, caption, notes.lines, section=task.title)


def length_columns(task: TaskResults) -> list[str]:
    return [f"{length} ({format_factor(length, task.train_length)})" for length in task.lengths]


def _row_notes(encoding: EncodingResults) -> Iterable[str]:
    label, runs = encoding.title, encoding.runs
    if encoding.solved_flags and not all(encoding.solved_flags):
        bar = format_percent(stats.SOLVED)
        yield f"not every run learned the training length (exact match of at least {bar} there); means are over all runs"
    if encoding.n_failed:
        yield f"{label}: {encoding.n_failed} of {len(runs)} runs failed: not solved, and excluded from means"
    if warnings.source_versions(runs) > 1:
        yield f"{label}: the file of its task or encoding changed between its seeds, so they are not comparable"
    if not encoding.evaluated_runs and not encoding.n_failed:
        yield "no run is trained and evaluated yet"


def _cell(encoding: EncodingResults, length: int, measure: str, notes: Footnotes) -> str:
    text = format_percent_range(encoding.by_length.get(length, {}).get(measure))
    runs = encoding.evaluated_runs
    evaluated = sum(length in run.evaluations for run in runs)
    if length in encoding.untrained_share:
        text += notes.mark(_untrained_note(encoding))
    if 0 < evaluated < len(runs):
        text += notes.mark(f"{encoding.title}: only {evaluated} of {len(runs)} runs were evaluated at {length}")
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
    return f"{solved} (exact match of at least {format_percent(stats.SOLVED)} at {task.train_length})."


def _groups(task: TaskResults) -> Table:
    notes, rows, bold = Footnotes(), [], []
    for measure in ("token_accuracy", "exact_match"):
        for group in task.groups:
            cells = [_group_cell(group, length, measure, notes) for length in task.lengths]
            counts = [str(len(group.encodings)), str(group.n_runs), format_count(group.solved_flags)]
            rows.append([group.name, MEASURE_NAMES[measure], *counts, *cells])
        best = _best([[_mean(group.by_length.get(n, {}), measure) for group in task.groups] for n in task.lengths])
        bold += [[False] * 5 + flags for flags in transposed(best, len(task.groups))]
    columns = ["group", "measure", "encodings", "runs", "solved", *length_columns(task)]
    caption = "Mean over the encodings of a group (lowest to highest encoding), each the mean over its seeds."
    align = "ll" + "r" * (len(columns) - 2)
    return Table("by group", columns, align, rows, bold, f"{caption} {group_sentence(task)}", notes.lines, section=task.title)


def _group_cell(group: GroupResults, length: int, measure: str, notes: Footnotes) -> str:
    text = format_percent_range(group.by_length.get(length, {}).get(measure))
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
            f"{MEASURE_NAMES[measure]} {format_percent(rpe.by_length[length][measure].mean)} and "
            f"{format_percent(ape.by_length[length][measure].mean)}"
            for measure in ("token_accuracy", "exact_match")
        ]
        by_length.append(f"at {format_factor(length, task.train_length)} {', '.join(means)}")
    return f"{task.title}, means of RPE and APE: {'; '.join(by_length)}. {_solved_sentence(rpe, ape)}"


def _solved_sentence(*groups: GroupResults) -> str:
    counts = " and ".join(f"{sum(group.solved_flags)} of {len(group.solved_flags)} {group.name} runs" for group in groups)
    none = [group.name for group in groups if not any(group.solved_flags)]
    warning = f" No {' and no '.join(none)} run did, so its accuracy beyond training says little about positions." if none else ""
    return f"{counts} learned the training length.{warning}"


def _mean(summaries: Summaries, measure: str) -> float | None:
    return summaries[measure].mean if measure in summaries else None


def _best(columns: list[list[float | None]]) -> list[list[bool]]:
    """Per column, which means are the best as printed; none where all are equal or the best is 0."""
    return [_best_of(column) for column in columns]


def _best_of(column: list[float | None]) -> list[bool]:
    means = [value for value in column if value is not None]
    texts = [None if value is None else format_percent(value) for value in column]
    if not means or max(means) == 0 or len({text for text in texts if text}) == 1:
        return [False] * len(column)
    return [text == format_percent(max(means)) for text in texts]


def transposed(columns: list[list[bool]], n_rows: int) -> list[list[bool]]:
    """Columns as rows, also without any column."""
    return [[column[row] for column in columns] for row in range(n_rows)]
