"""Names of lines at their right ends, in place of a legend where there is room for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpecli.plot import SeriesStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPACE = 0.125  # inches between two names: the height of one
FAR = 0.3  # inches that a name may stand above or below the end of its line
CHARACTER, INDENT = 0.068, 0.1  # inches: width of one, and between axes and names


@dataclass(frozen=True)
class LineEnds:
    """Where the lines of one panel end, in its data, and the heights of their names, as shares of the panel."""

    styles: Mapping[str, SeriesStyle]
    ends: Mapping[str, tuple[float, float]]
    heights: Mapping[str, float]

    @property
    def room(self) -> float:
        """Inches that the names need to the right of the axes."""
        return INDENT + CHARACTER * max(len(self.styles[label].title) for label in self.ends)

    def write(self, axes: "Axes") -> None:
        """Writes every name beside the axes, with a thin line from the end of its own line."""
        wide = axes.get_window_extent().width / axes.figure.dpi
        for label, end in self.ends.items():
            color = self.styles[label].color
            name = axes.annotate(
                self.styles[label].title, end, (1 + INDENT / wide, self.heights[label]), textcoords="axes fraction", fontsize=7,
                color=color, va="center", annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3},
            )  # fmt: skip
            name.set_gid(f"label-{label}")
            if name.arrow_patch:
                name.arrow_patch.set_gid(f"label-line-{label}")


def line_ends(
    styles: Mapping[str, SeriesStyle], ends: Mapping[str, tuple[float, float]], limits: tuple[float, float], panel: float
) -> LineEnds | None:
    """The names of these lines beside a panel of `panel` inches between these values; None where they do not fit."""
    low, high = limits
    inches = {label: panel * (y - low) / (high - low) for label, (_, y) in ends.items()}
    placed = apart(inches)
    inside = all(-SPACE / 2 <= height <= panel for height in placed.values())
    if not ends or not inside or any(abs(placed[label] - inches[label]) > FAR for label in ends):
        return None
    return LineEnds(styles, ends, {label: height / panel for label, height in placed.items()})


def apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Heights in the same order that are SPACE apart and nearest to these (least squares: pool adjacent violators)."""
    labels = sorted(heights, key=lambda label: heights[label])
    blocks: list[tuple[float, int]] = []  # sum of heights without the space below them, and their number
    for place, label in enumerate(labels):
        total, number = heights[label] - SPACE * place, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / number:
            below, count = blocks.pop()
            total, number = total + below, number + count
        blocks.append((total, number))
    levels = [total / number for total, number in blocks for _ in range(number)]
    return {label: level + SPACE * place for place, (label, level) in enumerate(zip(labels, levels, strict=True))}
