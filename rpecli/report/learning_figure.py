"""The figure of learning curves: a panel per task, token accuracy within the training lengths by step, bands over seeds."""

import math
from typing import TYPE_CHECKING

from rpecli.report import figure, learning
from rpecli.report.figure import COLUMNS, PANEL, WIDTH, Look
from rpecli.report.learning import Curve
from rpecli.report.panels import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = 0.28  # inches, room for a panel's title
UNDER = 0.26  # and for the steps under it
DENSE = 12  # points of a curve, beyond which not every one gets a marker
Curves = list[tuple[Panel, dict[str, Curve]]]


def draw(panels: list[Panel]) -> dict[str, bytes]:
    """`learning.png`, `.svg` and `.pdf`; nothing where no run kept its validations."""
    known = [(panel, found) for panel in panels if (found := learning.curves(panel))]
    looks = figure.looks([panel for panel in panels if panel.lengths])  # of all, so that a colour means the same in every figure
    return figure.drawn("learning", lambda made: _compose(made, known, looks)) if known else {}


def _compose(made: "Figure", curves: Curves, looks: dict[str, Look]) -> None:
    """Panels in rows, the legend under them."""
    panels = [panel for panel, _ in curves]
    blocks = figure.legends(made, looks, any(len(row.runs) > 1 for panel in panels for row in panel.rows), chance=False)
    rows = math.ceil(len(curves) / COLUMNS)
    columns = math.ceil(len(curves) / rows)
    foot = sum(map(figure.tall, blocks))
    height = rows * (TITLE + PANEL + UNDER) + 0.3 + foot
    made.set_size_inches(WIDTH, height)
    figure.place(made, blocks, height)
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
    axes.set_ylim(-0.02, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".50", ".75", "1"])
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    shade = min(0.13, 0.9 / len(found))
    for label, look in looks.items():
        if label in found:
            _curve(axes, found[label], look, shade)


def _curve(axes: "Axes", curve: Curve, look: Look, shade: float) -> None:
    steps, values = list(curve), list(curve.values())
    axes.plot(steps, [each.mean for each in values], zorder=3, markevery=-(-len(steps) // DENSE), clip_on=False, **look.line())
    if any(each.number > 1 for each in values):
        low, high = [each.low for each in values], [each.high for each in values]
        axes.fill_between(steps, low, high, color=look.colour, alpha=shade, linewidth=0, zorder=2)
