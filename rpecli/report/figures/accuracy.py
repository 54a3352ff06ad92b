"""The figure of accuracy against length: a panel per task and measure, a line per encoding with its range over seeds."""

import math
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from rpecli import plot
from rpecli.plot import SeriesStyle
from rpecli.report.aggregate import Panel, Row, natural
from rpecli.report.figures.layout import Drawing, Layout, Subplot, band_entry, draw, legend, line_entry
from rpecli.report.figures.series import Series, add_series, length_axis, runs_text, shade, share_axis
from rpecli.report.format import WORDS, factor, number, spread
from rpecli.report.stats import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = ("token_accuracy", "exact_match")
COLUMNS = 4  # of panels
HEADING = 28  # characters that fit over a panel


def series_styles(panels: Iterable[Panel]) -> dict[str, SeriesStyle]:
    """A style per label that has something to draw, the same in every figure of a report."""
    labels = {(row.group, row.label) for panel in panels for row in panel.rows if row.cells}
    return plot.styles(sorted(labels, key=lambda pair: natural(pair[1])))


def accuracy_figure(panels: list[Panel], styles: dict[str, SeriesStyle]) -> Drawing:
    """Token accuracy above exact match, a column per task; side by side for a single task."""
    subplots = {measure: [_subplot(panel, measure, panels, styles) for panel in panels] for measure in MEASURES}
    columns = math.ceil(len(panels) / math.ceil(len(panels) / COLUMNS))
    starts = range(0, len(panels), columns)
    rows = [subplots[measure][start : start + columns] for start in starts for measure in MEASURES]
    rows = rows if len(panels) > 1 else [[subplot for row in rows for subplot in row]]
    several = any(len(row.evaluated) > 1 for panel in panels for row in panel.rows)
    references = [line_entry("chance", **plot.CHANCE), *([band_entry()] if several else [])]
    below = "length, and its multiple of the training length"
    return draw(rows, Layout(below=below, legend=legend(styles, *references)))


def _subplot(panel: Panel, measure: str, panels: list[Panel], styles: dict[str, SeriesStyle]) -> Subplot:
    heading = heading_of(panel, panels) if measure == MEASURES[0] else ""
    return Subplot(
        partial(_draw, panel=panel, measure=measure, styles=styles), title=f"{panel.title}: {WORDS[measure]}",
        alt=described(panel, measure), heading=heading, label=WORDS[measure], key=measure,
    )  # fmt: skip


def heading_of(panel: Panel, panels: list[Panel]) -> str:
    """The task, with its training length where the task occurs twice."""
    text = panel.title if sum(other.task == panel.task for other in panels) > 1 else panel.task
    return text if len(text) <= HEADING else f"{text[: HEADING // 2 - 1]}...{text[1 - HEADING // 2 :]}"


def _draw(drawing: Drawing, axes: "Axes", panel: Panel, measure: str, styles: dict[str, SeriesStyle]) -> None:
    length_axis(drawing, axes, panel.lengths, panel.length)
    share_axis(axes)
    if measure == "token_accuracy" and panel.chance:
        lengths = sorted(panel.chance)
        (line,) = axes.plot(lengths, [panel.chance[length] for length in lengths], **plot.CHANCE)
        drawing.tip(line, None, ["chance"])
    for row in panel.rows:
        points = {length: cells[measure] for length, cells in row.cells.items() if measure in cells}
        if points:
            words = partial(_words, trained=panel.length)
            add_series(drawing, axes, Series(row.label, styles[row.label], points, words), shade(len(panel.rows)))


def _words(length: int, summary: Summary, trained: int) -> str:
    return f"at {length} ({factor(length, trained)}): {spread(summary)}, {runs_text(summary.number)}"


def described(panel: Panel, measure: str) -> str:
    """The panel in words: every encoding at the training length and at the longest."""
    ends = [length for length in dict.fromkeys((panel.length, panel.lengths[-1])) if length in panel.lengths]
    rows = [_described_row(row, measure, ends) for row in panel.rows if any(measure in cells for cells in row.cells.values())]
    return f"{WORDS[measure]} against length on {panel.title}, mean over seeds: {'; '.join(rows)}."


def _described_row(row: Row, measure: str, lengths: list[int]) -> str:
    means = {length: row.cells[length][measure].mean for length in lengths if measure in row.cells.get(length, {})}
    return f"{row.label} " + ", ".join(f"{number(mean)} at {length}" for length, mean in means.items())
