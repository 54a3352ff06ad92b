"""The figure of a grid of two sizes: a panel per encoding, a cell per pair of sizes, an outline around those of training."""

from functools import partial
from typing import TYPE_CHECKING, Any

from rpecli.report.figures.layout import ONE_LINE, Drawing, Layout, Subplot, balanced, draw, patch_entry
from rpecli.report.format import format_percent_range
from rpecli.report.grid import Grid
from rpecli.report.heatmap import HIGH, LOW, hexadecimal, ink, mixed
from rpecli.table import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTLINE: dict[str, Any] = {"fill": False, "edgecolor": "#D55E00", "linewidth": 1.8}
MOST_NUMBERS = 10  # columns up to which cells have room for their numbers


def grid_figure(grids: list[Grid]) -> Drawing | None:
    """One panel per encoding; None without any."""
    if not grids:
        return None
    legend = [("", [patch_entry("sizes of training; in the cells, exact match (%)", **OUTLINE)])]
    layout = Layout(below=grids[0].names[1], legend=legend, under=ONE_LINE)
    return draw(balanced([_subplot(grid) for grid in grids]), layout)


def _subplot(grid: Grid) -> Subplot:
    best = [sizes for sizes, cell in grid.cells.items() if cell.mean >= 0.9]
    alt = f"Exact match by {grid.names[0]} and {grid.names[1]}: {len(best)} of {plural(len(grid.cells), 'cell')} at 90 % or more."
    title = f"{grid.title}: exact match by {' and '.join(grid.names)}"
    return Subplot(partial(_draw, grid=grid), title, alt, grid.title, grid.names[0])


def _draw(drawing: Drawing, axes: "Axes", grid: Grid) -> None:
    from matplotlib.patches import Rectangle

    first, second = grid.first, grid.second
    for sizes, cell in grid.cells.items():
        row, column = first.index(sizes[0]), second.index(sizes[1])
        ground = mixed(round(100 * cell.mean), LOW, HIGH)
        patch = axes.add_patch(Rectangle((column, row), 1, 1, facecolor=hexadecimal(ground), edgecolor="none"))
        seeds = plural(cell.n, "seed")
        drawing.tip(patch, None, [f"{grid.title}: {sizes[0]} and {sizes[1]}: {format_percent_range(cell)}, {seeds}"])
        if len(second) <= MOST_NUMBERS:
            color = hexadecimal((250, 250, 250) if ink(ground) == (255, 255, 255) else (16, 20, 24))  # as the cell, in any theme
            axes.text(column + 0.5, row + 0.5, f"{100 * cell.mean:.0f}", ha="center", va="center", color=color, fontsize=7)
    inside = (sum(size <= grid.trained[1] for size in second), sum(size <= grid.trained[0] for size in first))
    axes.add_patch(Rectangle((0, 0), *inside, zorder=3, clip_on=False, **OUTLINE))
    axes.set_xlim(0, len(second))
    axes.set_ylim(0, len(first))
    axes.set_xticks([place + 0.5 for place in range(len(second))], list(map(str, second)))
    axes.set_yticks([place + 0.5 for place in range(len(first))], list(map(str, first)))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
