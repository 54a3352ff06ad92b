"""The sizes of figures for papers and slides."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Inches of a figure at which its text has 8 points, panels side by side, and the height of a panel."""

    width: float
    columns: int
    panel: float
    named: bool = True  # whether there is room for names at the ends of lines


SIZES = {
    "neurips": Size(5.5, 3, 1.35),  # the width of its text
    "icml": Size(3.25, 2, 1.1, named=False),  # of a column
    "slides": Size(5.7, 3, 1.6),  # shown at 10 in, where the text has 14 points
}
