"""The figure of learning curves: a panel per task, token accuracy within the training lengths by step, with bands over seeds."""

import math
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from rpecli.plot import SeriesStyle
from rpecli.report import stats
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.figures.accuracy import COLUMNS, heading_of
from rpecli.report.figures.layout import ONE_LINE, Drawing, Layout, Subplot, balanced, band_entry, draw, legend
from rpecli.report.figures.series import Series, add_series, shade, share_axis
from rpecli.report.format import format_percent, format_percent_range
from rpecli.report.stats import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = 6  # doublings of the step that fit an axis
Curve = dict[int, Summary]  # by step, over the runs that were validated there


def curves(task: TaskResults) -> dict[str, Curve]:
    """`{label: curve}` over seeds, at the steps where every run of the encoding was validated."""
    by_label = {encoding.label: _curve(encoding) for encoding in task.encodings}
    return {label: curve for label, curve in by_label.items() if curve}


def _curve(encoding: EncodingResults) -> Curve:
    values: dict[int, list[float]] = defaultdict(list)
    runs = [run.validations for run in encoding.runs if run.validations]
    for line in [line for lines in runs for line in lines]:
        values[line.step].append(line.token_accuracy)
    complete = {step: stats.summary(accuracies) for step, accuracies in sorted(values.items()) if len(accuracies) == len(runs)}
    return {step: summary for step, summary in complete.items() if summary}


def learning_figure(tasks: list[TaskResults], styles: dict[str, SeriesStyle]) -> Drawing | None:
    """The learning curves of every task; None where no run has validations."""
    by_task = [(task, lines) for task in tasks if (lines := curves(task))]
    if not by_task:
        return None
    rows = balanced([_subplot(task, lines, tasks, styles) for task, lines in by_task], COLUMNS)
    several = any(len(encoding.runs) > 1 for task, _ in by_task for encoding in task.encodings)
    entries = legend(styles, *([band_entry()] if several else []))
    return draw(rows, Layout(below="training step (logarithmic)", legend=entries, under=ONE_LINE))


def _subplot(task: TaskResults, lines: dict[str, Curve], tasks: list[TaskResults], styles: dict[str, SeriesStyle]) -> Subplot:
    return Subplot(
        partial(_draw, lines=lines, styles=styles), title=f"{task.title}: token accuracy by training step",
        alt=described(task, lines), heading=heading_of(task, tasks), label="token accuracy (%)",
    )  # fmt: skip


def _draw(drawing: Drawing, axes: "Axes", lines: dict[str, Curve], styles: dict[str, SeriesStyle]) -> None:
    step_axis(axes, [step for curve in lines.values() for step in curve])
    share_axis(axes)
    for label, style in styles.items():
        if label in lines:
            add_series(drawing, axes, Series(style, lines[label], _words), shade(len(lines)))


def step_axis(axes: "Axes", steps: list[int]) -> None:
    """A logarithmic axis of training steps: ticks at the first step and its doublings, every other one where they are many."""
    first, last = min(steps), max(steps)
    doublings = round(math.log2(last / first))
    ticks = [first * 2**n for n in range(0, doublings + 1, 1 + doublings // TICKS) if first * 2**n <= last]
    axes.set_xscale("log", base=2)
    axes.set_xlim(first / 1.1, last * 1.1)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _words(step: int, summary: Summary) -> str:
    return f"at step {step}: {format_percent_range(summary)}"


def described(task: TaskResults, lines: dict[str, Curve]) -> str:
    """The panel in words: where every curve ends, and when it first reached the bar of a solved task."""
    ends = [f"{task.titles[label]} {_reached(curve)}{format_percent(list(curve.values())[-1].mean)} at step {list(curve)[-1]}"
            for label, curve in lines.items()]  # fmt: skip
    return f"token accuracy within the training lengths by step on {task.title}, mean over seeds: {'; '.join(ends)}."


def _reached(curve: Curve) -> str:
    step = next((step for step, summary in curve.items() if summary.mean >= stats.SOLVED), None)
    return "" if step is None else f"{format_percent(stats.SOLVED)} by step {step}, "
