"""Tables of exact match on a grid of two sizes, one per encoding."""

from rpecli.report.aggregate import TaskResults
from rpecli.report.format import format_percent
from rpecli.report.grid import Grid, grids
from rpecli.table import MISSING, Table


def tables(task: TaskResults) -> list[Table]:
    """One table per encoding that was evaluated on a grid."""
    return [_table(task, grid) for grid in grids(task)]


def _table(task: TaskResults, grid: Grid) -> Table:
    rows, bold = [], []
    for first in grid.first:
        cells = [grid.cells.get((first, second)) for second in grid.second]
        rows.append([str(first), *(MISSING if cell is None else format_percent(cell.mean) for cell in cells)])
        bold.append([False, *(grid.is_trained((first, second)) for second in grid.second)])
    one, other = grid.names
    caption = f"Exact match, mean over seeds. Down: {one}; across: {other}. Bold: sizes of training, up to {grid.trained[0]} "
    caption += f"and {grid.trained[1]}."
    columns, align = [one, *map(str, grid.second)], "l" + "r" * len(grid.second)
    return Table(f"{grid.title} by {one} and {other}", columns, align, rows, bold, caption, section=task.title)
