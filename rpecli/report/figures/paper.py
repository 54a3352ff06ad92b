"""Figures at the size at which a paper or a slide shows them, so that their text has its size there: 8 points.

paper-accuracy     accuracy (or perplexity) against length, a panel per task
paper-intervals    every encoding over all tasks: the interquartile mean with its 95 % interval
"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rpecli import plot
from rpecli.report import paired
from rpecli.report.aggregate import TaskResults, by_scoring, counted_tasks
from rpecli.report.content import ReportContent
from rpecli.report.figures.accuracy import PANELS, series_styles, subplot
from rpecli.report.figures.layout import (
    ONE_LINE,
    Drawing,
    Layout,
    Subplot,
    balanced,
    draw,
    line_entry,
    named_at_ends,
)
from rpecli.report.figures.series import LENGTHS
from rpecli.report.figures.sizes import SIZES, Size
from rpecli.report.measures import Measure
from rpecli.report.records import Pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


ROW, NAME = 0.2, 0.066  # inches: between two encodings, and of a character


def files(content: ReportContent, kind: str, serif: bool = False) -> dict[str, bytes]:
    """The figures for one of SIZES, as PDF and as SVG."""
    size, tasks = SIZES[kind], [task for task in content.tasks if task.lengths]
    with plot.typeface(serif):
        drawings = {"paper-accuracy": accuracy(tasks, size), "paper-intervals": intervals(tasks, size)}
        return {name: text for stem, drawing in drawings.items() if drawing
                for name, text in drawing.files(stem, ["pdf", "svg"]).items()}  # fmt: skip


def accuracy(tasks: list[TaskResults], size: Size) -> Drawing:
    """The measure that a report shows first, a panel per task."""
    styles = series_styles(tasks)
    panels = [subplot(task, PANELS[0], tasks, styles, size.panel) for task in tasks]
    panels = panels if size.named else [replace(panel, ends=None) for panel in panels]
    rows, entries = named_at_ends(balanced(panels, size.columns), styles, line_entry("chance", **plot.CHANCE))
    return draw(rows, Layout(below=LENGTHS, legend=entries, panel=size.panel, width=size.width))


def intervals(tasks: list[TaskResults], size: Size) -> Drawing | None:
    """One row per encoding, the best on top; None without lengths beyond training."""
    styles = series_styles(tasks)
    pooled = {scoring.decides: paired.pooled(members, scoring.decides) for scoring, members in by_scoring(counted_tasks(tasks))}
    shown = {measure: rows for measure, rows in pooled.items() if rows}
    if not shown:
        return None
    several = len(shown) > 1  # accuracy and perplexity: each panel names its own
    panels = [_interval_panel(measure, rows, styles, measure.axis if several else "") for measure, rows in shown.items()]
    longest = max(len(styles[row.label].title) for rows in shown.values() for row in rows)
    height = ROW * max(map(len, shown.values()))
    below = "beyond training" if several else f"{next(iter(shown)).axis} beyond training"
    layout = Layout(below=below, panel=height, under=ONE_LINE, left=0.15 + NAME * longest,
                    width=size.width, widest=size.width)  # fmt: skip
    return draw([[panel] for panel in panels], layout)


def _interval_panel(measure: Measure, rows: list[Pooled], styles: dict[str, plot.SeriesStyle], heading: str) -> Subplot:
    words = [f"{styles[row.label].title} {measure.write_score(row.iqm)}" for row in rows]
    alt = f"interquartile mean of {measure.name} beyond training over all tasks: {', '.join(words)}"
    return Subplot(partial(_draw_intervals, measure=measure, rows=rows, styles=styles), measure.name, alt, heading)


def _draw_intervals(
    drawing: Drawing, axes: "Axes", measure: Measure, rows: list[Pooled], styles: dict[str, plot.SeriesStyle]
) -> None:
    for place, row in enumerate(rows):
        style, value = styles[row.label], measure.sign * row.iqm
        if row.iqm_low is not None and row.iqm_high is not None:
            axes.plot([measure.sign * row.iqm_low, measure.sign * row.iqm_high], [place, place], color=style.color, linewidth=2.2)
        axes.plot([value], [place], **{**style.line(), "linestyle": "none", "markersize": 5.5})
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [styles[row.label].title for row in rows])
    axes.xaxis.set_major_formatter(lambda value, _: measure.bare(value))
    axes.grid(axis="x")
