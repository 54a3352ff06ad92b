"""The layout of a figure: rows of panels over a legend, drawn once, in files as a whole and on a page panel by panel."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rpecli.catalog import GROUPS
from rpecli.plot import DASHES, DPI, FRAME, QUIET, TITLES, UNDATED, WIDTH, SeriesStyle, as_bytes, new_figure, styled
from rpecli.report.figures.line_ends import LineEnds

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

WIDEST, NARROW = 3.2, 4.2  # inches: a panel at most, so that a page shows its text large enough; a figure at least
TITLE, BELOW = 11.5, 0.24  # characters of a title that fit an inch; inches, room for the label under all axes
PANEL, HEADING, UNDER = 2.05, 0.33, 0.42  # inches: height of a panel, room for its heading and for two lines of tick labels
ONE_LINE = 0.28  # inches, room for one line of tick labels
LEFT, RIGHT, GAP, LABELED = 0.6, 0.12, 0.42, 0.62  # inches: margins, between panels, and between panels with labels
COLUMNS = 3  # panels side by side, where a figure has no other order of its own
ROOM_ABOVE, ROOM_BESIDE = 0.12, 0.4  # inches around the axes of a page's panel: marks above, tick labels to the left
LEGEND_ROWS, BETWEEN = 4, 0.35  # entries of one legend before it takes a second column; inches between legends

Box = tuple[float, float, float, float]
LegendBlocks = list[tuple[str, list["Artist"]]]  # titles, and the entries below each


@dataclass(frozen=True)
class Crop:
    """A part of a figure that a page shows by itself: an element, where it is, and what to say about it."""

    gid: str
    box: Box  # inches from the left and the top of the figure, width and height
    title: str
    alt: str  # what it shows, for those who cannot see it
    labels: tuple[str, str] = ("", "")  # of the horizontal and of the vertical axis
    middle: tuple[float, float] = (0, 0)  # of the axes, in inches from the left and the top of the figure
    key: str = ""  # by which a page tells the panels of one figure apart
    part: str = ""  # the only marks that it shows; all of them where it is empty


@dataclass(frozen=True)
class Tips:
    """What an artist says when it is pointed at: one text per marker, or one for all of it."""

    label: str | None  # the series it belongs to, which is highlighted with it
    texts: list[str]
    part: str = ""


@dataclass
class Drawing:
    """A figure, and what a page needs to show its panels one by one."""

    figure: "Figure"
    crops: list[Crop] = field(default_factory=list)
    tips: dict[str, Tips] = field(default_factory=dict)

    def tip(self, artist: "Artist", label: str | None, texts: Iterable[str] = (), part: str = "") -> None:
        """Notes what an artist says when it is pointed at."""
        gid = f"mark-{len(self.tips) + 1}"
        artist.set_gid(gid)
        self.tips[gid] = Tips(label, list(texts), part)

    @cached_property
    def svg(self) -> bytes:
        """The whole figure as SVG, which files and pages share."""
        return as_bytes(self.figure, "svg")

    def keep_svg(self) -> "Drawing":
        """Draws the SVG and empties the figure, which takes ten times its memory; other kinds cannot be drawn any more."""
        self.svg  # noqa: B018 - drawn, and cached
        self.figure = new_figure()  # not clear(), which makes new axes
        return self

    def files(self, name: str, kinds: Iterable[str] = UNDATED) -> dict[str, bytes]:
        """The whole figure by file name."""
        return {f"{name}.{kind}": self.svg if kind == "svg" else as_bytes(self.figure, kind) for kind in kinds}


@dataclass(frozen=True)
class Subplot:
    """One panel of a figure: what draws it, the heading over it in the figure, and title and text for a page."""

    draw: Callable[[Drawing, "Axes"], None]
    title: str
    alt: str
    heading: str = ""
    label: str = ""  # of the vertical axis
    key: str = ""
    ends: LineEnds | None = None  # names of its lines, written beside it


@dataclass(frozen=True)
class Layout:
    """What stands around the panels of a figure, and how large they are."""

    title: str = ""
    below: str = ""  # a label under all horizontal axes
    legend: LegendBlocks = field(default_factory=list)
    panel: float = PANEL  # inches: height of a panel
    under: float = UNDER
    left: float = LEFT
    right: float = RIGHT
    widest: float = WIDEST  # of a panel
    width: float = WIDTH  # of the figure, at most


def draw(rows: Sequence[Sequence[Subplot]], layout: Layout) -> Drawing:
    """Rows of panels from the top down, under a title and over the legend."""
    with styled():
        drawing = Drawing(new_figure())
        wide, gap, width = _widths(rows, layout)
        blocks = _flow([_block(drawing.figure, width, *block) for block in layout.legend], width)
        title = textwrap.wrap(layout.title, int(width * TITLE))
        headings = [HEADING if any(subplot.heading for subplot in row) else 0.08 for row in rows]
        foot = sum(map(_tall, blocks)) + (BELOW if layout.below else 0)
        top = 0.06 + 0.19 * len(title)
        drawing.figure.set_size_inches(width, top + sum(headings) + len(rows) * (layout.panel + layout.under) + foot)
        _write(drawing.figure, "\n".join(title), layout.below, foot)
        _place(drawing.figure, blocks)
        for row, heading in zip(rows, headings, strict=True):
            top += heading
            for column, subplot in enumerate(row):
                left = None if column == 0 else row[column - 1].label
                box = (layout.left + column * (wide + gap), top, wide, layout.panel)
                _panel(drawing, subplot, box, layout, labeled=subplot.label != left)
            top += layout.panel + layout.under
    return drawing


def _widths(rows: Sequence[Sequence[Subplot]], layout: Layout) -> tuple[float, float, float]:
    """Inches of a panel, of the gap between two, and of the figure."""
    columns = max(map(len, rows))
    gap = LABELED if any(left.label != right.label for row in rows for left, right in pairwise(row)) else GAP
    names = max((subplot.ends.room for row in rows for subplot in row if subplot.ends), default=0)
    margins = layout.left + layout.right + names + gap * (columns - 1)
    narrow = min(NARROW, layout.width)
    widest = max(layout.widest, min(WIDEST, (narrow - margins) / columns))  # no empty space beside a small panel
    wide = min(widest, (layout.width - margins) / columns)
    return wide, gap, max(narrow, margins + columns * wide)


def _write(figure: "Figure", title: str, below: str, foot: float) -> None:
    """The title at the top, and the label under all axes, right over the legend."""
    width, height = figure.get_size_inches()
    figure.text(0.1 / width, 1 - 0.06 / height, title, fontsize=9.5, fontweight="bold", va="top")
    figure.text(0.5, (foot - 0.12) / height, below, ha="center", color=QUIET)


def _panel(drawing: Drawing, subplot: Subplot, box: Box, layout: Layout, labeled: bool) -> None:
    """One panel; in the figure, a label that the panel to its left has too is not written again."""
    left, top, wide, high = box
    width, height = drawing.figure.get_size_inches()
    axes = drawing.figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))
    axes.set_gid(f"panel-{len(drawing.crops) + 1}")
    axes.patch.set_visible(False)
    subplot.draw(drawing, axes)
    if subplot.heading:
        axes.set_title(subplot.heading).set_gid(f"heading-{len(drawing.crops) + 1}")
    if subplot.label and labeled:
        axes.set_ylabel(subplot.label).set_gid(f"label-{len(drawing.crops) + 1}")
    if subplot.ends:
        subplot.ends.write(axes)
    for axis in (axes.xaxis, axes.yaxis):
        if not axis.get_label_text():
            axis.set_label_coords(0, 0)  # else a place for it is computed, from the size of every tick label
    margin = ROOM_BESIDE if layout.left == LEFT else layout.left - 0.05
    crop = (left - margin, top - ROOM_ABOVE, wide + margin + layout.right, high + layout.under + ROOM_ABOVE)
    labels, middle = (layout.below, subplot.label), (left + wide / 2, top + high / 2)
    drawing.crops.append(Crop(str(axes.get_gid()), crop, subplot.title, subplot.alt, labels, middle, subplot.key))


def named_at_ends(
    rows: Sequence[Sequence[Subplot]], styles: dict[str, SeriesStyle], *references: "Artist"
) -> tuple[list[list[Subplot]], LegendBlocks]:
    """Panels, the last of each row with the names of lines beside it if that names every style; and a legend of what is left."""
    last = [[*(replace(subplot, ends=None) for subplot in row[:-1]), row[-1]] for row in rows if row]
    shown = {label for row in last if row[-1].ends for label in row[-1].ends.ends}
    if shown >= {*styles}:
        return last, group_legend(styles, *references)
    return [[replace(subplot, ends=None) for subplot in row] for row in last], legend(styles, *references)


def balanced(panels: Sequence[Subplot], most: int = COLUMNS) -> list[Sequence[Subplot]]:
    """Panels in as few rows as hold them, all rows but the last of one length, which is as short as it can be."""
    columns = -(-len(panels) // -(-len(panels) // most)) if panels else most
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def legend(styles: dict[str, SeriesStyle], *references: "Artist") -> LegendBlocks:
    """One block per group, and one for the reference lines and bands."""
    blocks = [(TITLES[group], [line_entry(style.title, **style.line()) for style in styles.values() if style.group == group])
              for group in GROUPS]  # fmt: skip
    return [(title, entries) for title, entries in [*blocks, ("for comparison", list(references))] if entries]


def group_legend(styles: dict[str, SeriesStyle], *references: "Artist") -> LegendBlocks:
    """One block for lines that are named at their ends: the dashes of every group, then reference lines and bands."""
    groups = [group for group in GROUPS if any(style.group == group for style in styles.values())]
    dashes = [line_entry(TITLES[group], color=QUIET, linewidth=1.4, linestyle=DASHES[group]) for group in groups]
    return [("", [*dashes, *references])]


def line_entry(label: str, **look: Any) -> "Artist":
    """An entry of a legend that is a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **look)


def patch_entry(label: str, **look: Any) -> "Artist":
    """An entry of a legend that is a filled box."""
    from matplotlib.patches import Patch

    return Patch(label=label, **look)


def band_entry() -> "Artist":
    """The entry of a legend for bands over seeds."""
    return patch_entry("lowest to highest seed", facecolor=FRAME, alpha=0.35)


@dataclass(frozen=True)
class Block:
    """A legend and its measured size in inches."""

    legend: "Legend"
    width: float
    height: float


def _block(figure: "Figure", width: float, title: str, entries: list["Artist"]) -> Block:
    """A legend under one title, in as many columns as its entries need and the width allows."""
    for columns in range(-(-len(entries) // LEGEND_ROWS) if title else len(entries), 0, -1):
        legend = figure.legend(
            handles=entries, title=title or None, ncols=columns, loc="upper left", alignment="left", frameon=False, borderpad=0,
            borderaxespad=0, handlelength=2.9, labelspacing=0.42, columnspacing=1.4,
            title_fontproperties={"weight": "bold", "size": 8},
        )  # fmt: skip
        extent = legend.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
        if extent.width / DPI <= width - LEFT or columns == 1:
            break
        legend.remove()
    return Block(legend, extent.width / DPI, extent.height / DPI)


def _flow(blocks: list[Block], width: float) -> list[list[Block]]:
    """Blocks side by side, in a new line where the width is used up."""
    lines: list[list[Block]] = []
    used = width
    for block in blocks:
        if used + block.width > width - LEFT:
            lines.append([])
            used = 0.0
        lines[-1].append(block)
        used += block.width + BETWEEN
    return lines


def _tall(line: list[Block]) -> float:
    return max(block.height for block in line) + 0.14


def _place(figure: "Figure", lines: list[list[Block]]) -> None:
    """Puts legends at the foot of a figure that has its height."""
    width, height = figure.get_size_inches()
    top = sum(map(_tall, lines))
    for line in lines:
        left = LEFT
        for block in line:
            block.legend.set_bbox_to_anchor((left / width, top / height), transform=figure.transFigure)
            left += block.width + BETWEEN
        top -= _tall(line)
