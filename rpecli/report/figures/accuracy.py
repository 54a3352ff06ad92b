"""The figure of accuracy or perplexity against length: two panels per task, a line per encoding with its range over seeds."""

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
    line_entry,
    named_at_ends,
)
from rpecli.report.figures.line_ends import line_ends
from rpecli.report.figures.series import (
    LENGTHS,
    SHARES,
    Series,
    add_series,
    length_axis,
    length_words,
    limits_of,
    perplexity_axis,
    shade,
    share_axis,
)
from rpecli.report.measures import Measure
from rpecli.report.stats import SHARES as SHARE_BOUNDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = ("first", "second")  # keys of the panels of a task: Scoring.panels
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
    """Token accuracy above exact match, or perplexity above token accuracy, a column per task; side by side for a single task."""
    by_measure = [balanced([subplot(task, key, tasks, styles) for task in tasks], COLUMNS) for key in PANELS]
    rows = [row for same_tasks in zip(*by_measure, strict=True) for row in same_tasks]
    rows = rows if len(tasks) > 1 else [[subplot for row in rows for subplot in row]]
    several = any(len(encoding.evaluated_runs) > 1 for task in tasks for encoding in task.encodings)
    references = [line_entry("chance", **plot.CHANCE), *([band_entry()] if several else [])]
    rows, entries = named_at_ends(rows, styles, *references)
    return draw(rows, Layout(below=LENGTHS, legend=entries))


def subplot(
    task: TaskResults, key: str, tasks: list[TaskResults], styles: dict[str, SeriesStyle], panel: float = PANEL
) -> Subplot:
    """One panel, `panel` inches high: one of the measures by length, on one task."""
    heading = heading_of(task, tasks) if key == PANELS[0] else ""
    measure = task.scoring.panels[PANELS.index(key)]
    last = {entry.label: max(entry.by_length) for entry in task.encodings if entry.by_length}
    means = {entry.label: entry.by_length[last[entry.label]].get(measure.key) for entry in task.encodings if entry.label in last}
    ends = {label: (last[label], summary.mean) for label, summary in means.items() if summary}
    return Subplot(
        partial(_draw, task=task, measure=measure, styles=styles), title=f"{task.title}: {measure.name}",
        alt=described(task, measure), heading=heading, label=measure.axis, key=key,
        ends=line_ends(styles, ends, _limits(task, measure), panel),
    )  # fmt: skip


def heading_of(task: TaskResults, tasks: list[TaskResults]) -> str:
    """The task, with its training length where a task occurs with several."""
    text = task.title if sum(other.name == task.name for other in tasks) > 1 else task.short_title
    return text if len(text) <= HEADING else f"{text[: HEADING // 2 - 1]}...{text[1 - HEADING // 2 :]}"


def _limits(task: TaskResults, measure: Measure) -> tuple[float, float]:
    """The limits of the vertical axis: of shares fixed, else from the lowest to the highest value, with room around."""
    if measure.bounds == SHARE_BOUNDS:
        return SHARES
    summaries = [means[measure.key] for one in task.encodings for means in one.by_length.values() if measure.key in means]
    guess = task.chance.values() if measure is task.scoring.shown else ()
    return limits_of(summaries, guess)


def _draw(drawing: Drawing, axes: "Axes", task: TaskResults, measure: Measure, styles: dict[str, SeriesStyle]) -> None:
    length_axis(drawing, axes, task.lengths, task.train_length)
    if measure.bounds == SHARE_BOUNDS:
        share_axis(axes)
    else:
        perplexity_axis(axes, _limits(task, measure))
    if measure is task.scoring.shown and task.chance:
        lengths = sorted(task.chance)
        (line,) = axes.plot(lengths, [task.chance[length] for length in lengths], **plot.CHANCE)
        drawing.tip(line, None, ["chance"])
    for encoding in task.encodings:
        points = {length: means[measure.key] for length, means in encoding.by_length.items() if measure.key in means}
        if points:
            words = partial(length_words, train_length=task.train_length, measure=measure)
            series = Series(styles[encoding.label], points, words)
            add_series(drawing, axes, series, shade(len(task.encodings)))


def described(task: TaskResults, measure: Measure) -> str:
    """The panel in words: every encoding at the training length and at the longest."""
    ends = [length for length in dict.fromkeys((task.train_length, task.lengths[-1])) if length in task.lengths]
    rows = [_described_encoding(encoding, measure, ends) for encoding in task.encodings
            if any(measure.key in means for means in encoding.by_length.values())]  # fmt: skip
    return f"{measure.name} against length on {task.title}, mean over seeds: {'; '.join(rows)}."


def _described_encoding(encoding: EncodingResults, measure: Measure, lengths: list[int]) -> str:
    summaries = {length: encoding.by_length.get(length, {}).get(measure.key) for length in lengths}
    ends = [f"{measure.write(summary.mean)} at {length}" for length, summary in summaries.items() if summary]
    return f"{encoding.title} {', '.join(ends)}"
