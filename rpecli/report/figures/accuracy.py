"""The figure of accuracy against length: a panel per task and measure, a line per encoding with its range over seeds."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rpecli import plot
from rpecli.catalog import GROUPS
from rpecli.config.recipe import label
from rpecli.plot import SeriesStyle
from rpecli.report.aggregate import EncodingResults, TaskResults, natural_key
from rpecli.report.figures.layout import (
    PANEL,
    Drawing,
    Layout,
    Subplot,
    balanced,
    band_entry,
    draw,
    group_legend,
    legend,
    line_entry,
    named_at_ends,
)
from rpecli.report.figures.line_ends import line_ends
from rpecli.report.figures.series import LENGTHS, SHARES, Series, add_series, length_axis, length_words, shade, share_axis
from rpecli.report.format import MEASURE_NAMES, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = ("token_accuracy", "exact_match")
COLUMNS = 4  # of panels
HEADING = 28  # characters that fit over a panel


def series_styles(tasks: Iterable[TaskResults]) -> dict[str, SeriesStyle]:
    """A style per label that has something to draw, by group and then by name."""
    encodings = {encoding.label: encoding for task in tasks for encoding in task.encodings if encoding.by_length}
    ordered = sorted(encodings.values(), key=lambda entry: (GROUPS.index(entry.group), natural_key(entry.title.lower())))
    return {entry.label: _style(entry) for entry in ordered}


def _style(encoding: EncodingResults) -> SeriesStyle:
    run = encoding.runs[0]
    variant = encoding.label.removeprefix(label(run.config.encoding))
    style = plot.series_style(run.config.encoding, encoding.group, encoding.title, variant)
    return replace(style, title=f"{style.title}, reference", hollow=True) if encoding.is_reference else style


def with_reference(tasks: list[TaskResults], reference: list[TaskResults]) -> list[TaskResults]:
    """The tasks with the encodings of reference results behind their own."""
    others = {task.title: task.encodings for task in reference}
    return [replace(task, encodings=[*task.encodings, *others.get(task.title, [])]) for task in tasks]


def accuracy_figure(tasks: list[TaskResults], styles: dict[str, SeriesStyle]) -> Drawing:
    """Token accuracy above exact match, a column per task; side by side for a single task."""
    by_measure = [balanced([_subplot(task, measure, tasks, styles) for task in tasks], COLUMNS) for measure in MEASURES]
    rows = [row for same_tasks in zip(*by_measure, strict=True) for row in same_tasks]
    rows = rows if len(tasks) > 1 else [[subplot for row in rows for subplot in row]]
    rows, named = named_at_ends(rows, styles)
    several = any(len(encoding.evaluated_runs) > 1 for task in tasks for encoding in task.encodings)
    references = [line_entry("chance", **plot.CHANCE), *([band_entry()] if several else [])]
    entries = group_legend(styles, *references) if named else legend(styles, *references)
    return draw(rows, Layout(below=LENGTHS, legend=entries))


def _subplot(task: TaskResults, measure: str, tasks: list[TaskResults], styles: dict[str, SeriesStyle]) -> Subplot:
    heading = heading_of(task, tasks) if measure == MEASURES[0] else ""
    last = {entry.label: max(entry.by_length) for entry in task.encodings if entry.by_length}
    means = {entry.label: entry.by_length[last[entry.label]].get(measure) for entry in task.encodings if entry.label in last}
    ends = {label: (last[label], summary.mean) for label, summary in means.items() if summary}
    return Subplot(
        partial(_draw, task=task, measure=measure, styles=styles), title=f"{task.title}: {MEASURE_NAMES[measure]}",
        alt=described(task, measure), heading=heading, label=f"{MEASURE_NAMES[measure]} (%)", key=measure,
        ends=line_ends(styles, ends, SHARES, PANEL),
    )  # fmt: skip


def heading_of(task: TaskResults, tasks: list[TaskResults]) -> str:
    """The task, with its training length where a task occurs with several."""
    text = task.title if sum(other.name == task.name for other in tasks) > 1 else task.short_title
    return text if len(text) <= HEADING else f"{text[: HEADING // 2 - 1]}...{text[1 - HEADING // 2 :]}"


def _draw(drawing: Drawing, axes: "Axes", task: TaskResults, measure: str, styles: dict[str, SeriesStyle]) -> None:
    length_axis(drawing, axes, task.lengths, task.train_length)
    share_axis(axes)
    if measure == "token_accuracy" and task.chance:
        lengths = sorted(task.chance)
        (line,) = axes.plot(lengths, [task.chance[length] for length in lengths], **plot.CHANCE)
        drawing.tip(line, None, ["chance"])
    for encoding in task.encodings:
        points = {length: means[measure] for length, means in encoding.by_length.items() if measure in means}
        if points:
            words = partial(length_words, train_length=task.train_length)
            series = Series(styles[encoding.label], points, words)
            add_series(drawing, axes, series, shade(len(task.encodings)))


def described(task: TaskResults, measure: str) -> str:
    """The panel in words: every encoding at the training length and at the longest."""
    ends = [length for length in dict.fromkeys((task.train_length, task.lengths[-1])) if length in task.lengths]
    rows = [_described_encoding(encoding, measure, ends) for encoding in task.encodings
            if any(measure in means for means in encoding.by_length.values())]  # fmt: skip
    return f"{MEASURE_NAMES[measure]} against length on {task.title}, mean over seeds: {'; '.join(rows)}."


def _described_encoding(encoding: EncodingResults, measure: str, lengths: list[int]) -> str:
    summaries = {length: encoding.by_length.get(length, {}).get(measure) for length in lengths}
    ends = [f"{format_percent(summary.mean)} at {length}" for length, summary in summaries.items() if summary]
    return f"{encoding.title} {', '.join(ends)}"
