"""The figure of learning curves: a panel per task, token accuracy within the training lengths by step, with bands over seeds."""

import math
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from rpecli.plot import SeriesStyle
from rpecli.report import stats
from rpecli.report.aggregate import Panel, Row
from rpecli.report.figures.accuracy import COLUMNS, heading_of
from rpecli.report.figures.layout import Drawing, Layout, Subplot, band_entry, draw, legend
from rpecli.report.figures.series import Series, add_series, shade, share_axis
from rpecli.report.format import number, spread
from rpecli.report.stats import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNDER = 0.28  # inches, room for one line of tick labels
Curve = dict[int, Summary]  # by step, over the runs that were validated there


def curves(panel: Panel) -> dict[str, Curve]:
    """`{label: curve}` over seeds, at the steps where every run of the row was validated."""
    by_label = {row.label: _curve(row) for row in panel.rows}
    return {label: curve for label, curve in by_label.items() if curve}


def _curve(row: Row) -> Curve:
    values: dict[int, list[float]] = defaultdict(list)
    runs = [run.validations for run in row.runs if run.validations]
    for line in [line for lines in runs for line in lines]:
        values[line["step"]].append(line["token_accuracy"])
    complete = {step: stats.summary(accuracies) for step, accuracies in sorted(values.items()) if len(accuracies) == len(runs)}
    return {step: summary for step, summary in complete.items() if summary}


def learning_figure(panels: list[Panel], styles: dict[str, SeriesStyle]) -> Drawing | None:
    """The learning curves of every panel; None where no run kept its validations."""
    by_panel = [(panel, found) for panel in panels if (found := curves(panel))]
    if not by_panel:
        return None
    columns = math.ceil(len(by_panel) / math.ceil(len(by_panel) / COLUMNS))
    subplots = [_subplot(panel, lines, panels, styles) for panel, lines in by_panel]
    rows = [subplots[start : start + columns] for start in range(0, len(subplots), columns)]
    several = any(len(row.runs) > 1 for panel, _ in by_panel for row in panel.rows)
    entries = legend(styles, *([band_entry()] if several else []))
    return draw(rows, Layout(below="training step", legend=entries, under=UNDER))


def _subplot(panel: Panel, lines: dict[str, Curve], panels: list[Panel], styles: dict[str, SeriesStyle]) -> Subplot:
    return Subplot(
        partial(_draw, lines=lines, styles=styles), title=f"{panel.title}: token accuracy by training step",
        alt=described(panel, lines), heading=heading_of(panel, panels), label="token accuracy",
    )  # fmt: skip


def _draw(drawing: Drawing, axes: "Axes", lines: dict[str, Curve], styles: dict[str, SeriesStyle]) -> None:
    last = max(step for curve in lines.values() for step in curve)
    axes.set_xlim(-0.02 * last, 1.03 * last)
    share_axis(axes)
    axes.locator_params(axis="x", nbins=5, integer=True)
    for label, style in styles.items():
        if label in lines:
            add_series(drawing, axes, Series(label, style, lines[label], _words), shade(len(lines)))


def _words(step: int, summary: Summary) -> str:
    return f"at step {step}: {spread(summary)}"


def described(panel: Panel, lines: dict[str, Curve]) -> str:
    """The panel in words: where each curve ends, and when it first reached the bar of a solved task."""
    ends = [f"{label} {_reached(curve)}{number(list(curve.values())[-1].mean)} at step {list(curve)[-1]}"
            for label, curve in lines.items()]  # fmt: skip
    return f"token accuracy within the training lengths by step on {panel.title}, mean over seeds: {'; '.join(ends)}."


def _reached(curve: Curve) -> str:
    step = next((step for step, summary in curve.items() if summary.mean >= stats.SOLVED), None)
    return "" if step is None else f"{number(stats.SOLVED)} by step {step}, "
