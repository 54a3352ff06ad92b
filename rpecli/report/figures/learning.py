"""The figure of learning curves: a panel per task, token accuracy within the training lengths by step, bands over seeds."""

import math
from typing import TYPE_CHECKING

from rpecli import plot
from rpecli.plot import COLUMNS, WIDTH, Look
from rpecli.report.aggregate import TaskResults
from rpecli.report.figures import accuracy as figure
from rpecli.report.figures import learning_chart as learning
from rpecli.report.figures.accuracy import PANEL
from rpecli.report.figures.learning_chart import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = 0.28  # inches, room for a panel's title
UNDER = 0.26  # and for the steps under it
DENSE = 12  # points of a curve, beyond which not every one gets a marker
Curves = list[tuple[TaskResults, dict[str, Curve]]]


def draw(panels: list[TaskResults]) -> dict[str, bytes]:
    """`learning.png`, `.svg` and `.pdf`; nothing where no run kept its validations."""
    known = [(panel, found) for panel in panels if (found := learning.curves(panel))]
    looks = figure.looks([panel for panel in panels if panel.lengths])  # of all, so that a colour means the same in every figure
    return figure.drawn("learning", lambda made: _compose(made, known, looks)) if known else {}


def _compose(made: "Figure", curves: Curves, looks: dict[str, Look]) -> None:
    """Panels in rows, the legend under them."""
    panels = [panel for panel, _ in curves]
    blocks = plot.legends(made, looks, any(len(row.runs) > 1 for panel in panels for row in panel.encodings), chance=False)
    rows = math.ceil(len(curves) / COLUMNS)
    columns = math.ceil(len(curves) / rows)
    foot = sum(map(plot.tall, blocks))
    height = rows * (TITLE + PANEL + UNDER) + 0.3 + foot
    made.set_size_inches(WIDTH, height)
    plot.place(made, blocks, height)
    made.text(0.5, (foot + 0.15) / height, "training step", ha="center", color="#333333")
    for place, (panel, found) in enumerate(curves):
        top = height - 0.05 - (place // columns) * (TITLE + PANEL + UNDER) - TITLE
        axes = made.add_axes(figure.box(place % columns, columns, top, height))
        _panel(axes, found, looks)
        axes.set_title(figure.title_of(panel, panels), loc="left", fontweight="bold", color="#222222", pad=7)
        if place % columns == 0:
            axes.set_ylabel("token accuracy")
        else:
            axes.tick_params(labelleft=False)


def _panel(axes: "Axes", found: dict[str, Curve], looks: dict[str, Look]) -> None:
    last = max(step for curve in found.values() for step in curve)
    axes.set_xlim(-0.02 * last, 1.03 * last)
    figure.accuracies(axes)
    axes.locator_params(axis="x", nbins=5, integer=True)
    shade = min(0.13, 0.9 / len(found))
    for label, look in looks.items():
        if label in found:
            figure.line_of(axes, found[label], look, shade, every=-(-len(found[label]) // DENSE))
