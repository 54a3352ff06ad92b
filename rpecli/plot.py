"""The look of every figure: palette, markers, style, legends, saving."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend


WIDTH = 9.0  # inches; at 200 dots an inch twice the 900 pixels that a page shows


DPI = 200


UNDER = 0.42  # inches, room for tick labels


LEFT = 0.55  # inches, room for labels of the y axis


SPACE = 0.35  # inches between legends


CLEAR = 0.06  # inches between labels of an axis: about a digit


COLUMNS = 4


ROWS = 4  # of one group in the legend, before it takes a second column


COLOURS = {  # after Okabe & Ito (2008) and Tol (2021): apart for colour-blind readers too
    "APE": ["#D55E00", "#E69F00", "#CC79A7", "#882255", "#B8860B"],
    "RPE": ["#0072B2", "#009E73", "#56B4E9", "#332288", "#999933", "#9467BD", "#17BECF"],
    "content": ["#AA4499", "#661100", "#DDAADD"],
    "none": ["#000000", "#666666"],
}


MARKERS = "os^DvPX<>phd*"


DASHES: dict[str, Any] = {"APE": (0, (4, 1.6)), "RPE": "solid", "content": (0, (6, 1.5, 1.2, 1.5)), "none": (0, (1, 1.3))}


GROUPS = tuple(COLOURS)  # the order of legends


HEAD_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#000000"]  # Okabe & Ito, Tol


HEAD_DASHES: list[Any] = ["solid", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1.2, 1.5))]


TITLES = {"APE": "APE (absolute)", "RPE": "RPE (relative)", "content": "content", "none": "none"}


CHANCE: dict[str, Any] = {"color": "#999999", "linewidth": 1, "linestyle": (0, (5, 3))}


UNDATED: dict[str, dict[str, Any]] = {  # the same runs give the same bytes
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.7,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "svg.hashsalt": "rpe",
    "pdf.fonttype": 42,  # text stays text that a journal's checks take and a reader can search
}


class FigureError(ValueError):
    """A figure that cannot be written where it was asked for; says what to type instead."""


def head_colours(number: int) -> list[Any]:
    """Distinct colours for few attention heads; for many, one ladder of brightness in their order."""
    if number <= len(HEAD_COLOURS):
        return HEAD_COLOURS
    from matplotlib import colormaps

    return [colormaps["cividis"](n / (number - 1)) for n in range(number)]


@dataclass(frozen=True)
class Look:
    """How one encoding is drawn in every panel."""

    group: str
    colour: str
    marker: str

    def line(self) -> dict[str, Any]:
        """Keywords of `plot`."""
        size = 5.2 if self.marker in "*PX" else 4.2
        edge = {"markeredgecolor": "white", "markeredgewidth": 0.5, "markersize": size}
        return {"color": self.colour, "marker": self.marker, "linestyle": DASHES[self.group], "linewidth": 1.4, **edge}


def as_bytes(figure: "Figure", kind: str) -> bytes:
    """A figure as one of the kinds of UNDATED."""
    import matplotlib

    into = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(into, format=kind, metadata=UNDATED[kind])
    return into.getvalue()


def legends(figure: "Figure", known: dict[str, Look], several: bool, chance: bool = True) -> list[list["Block"]]:
    """One block a group and one for the rest, side by side, broken into lines where the width is used up."""
    made = []
    for group in GROUPS:
        handles = [_handle(label, **look.line()) for label, look in known.items() if look.group == group]
        made += [_block(figure, TITLES[group], handles)] if handles else []
    reference = _reference(several, chance)
    return _flow([*made, *([_block(figure, "reference", reference)] if reference else [])])


def _reference(several: bool, chance: bool) -> list["Artist"]:
    from matplotlib.patches import Patch

    band = [Patch(facecolor="#999999", alpha=0.35, label="lowest to highest seed")]
    return [*([_handle("chance", **CHANCE)] if chance else []), *(band if several else [])]


def _handle(label: str, **look: Any) -> "Artist":
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **look)


def _flow(blocks: list["Block"]) -> list[list["Block"]]:
    lines: list[list[Block]] = []
    used = WIDTH
    for block in blocks:
        if used + block.width > WIDTH - LEFT:
            lines.append([])
            used = 0.0
        lines[-1].append(block)
        used += block.width + SPACE
    return lines


@dataclass(frozen=True)
class Block:
    """A legend and its measured size in inches."""

    legend: "Legend"
    width: float
    height: float


def _block(figure: "Figure", title: str, handles: list["Artist"]) -> Block:
    """A legend of one title, in as many columns as its rows ask for and the width allows."""
    for columns in range(-(-len(handles) // ROWS), 0, -1):
        legend = _one_legend(figure, title, handles, columns)
        extent = legend.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
        if extent.width / DPI <= WIDTH - LEFT or columns == 1:
            break
        legend.remove()
    return Block(legend, extent.width / DPI, extent.height / DPI)


def _one_legend(figure: "Figure", title: str, handles: list["Artist"], columns: int) -> "Legend":
    legend = figure.legend(
        handles=handles, title=title, ncols=columns, loc="upper left", alignment="left", frameon=False, handlelength=2.9,
        borderpad=0, borderaxespad=0, labelspacing=0.42, columnspacing=1.4, title_fontproperties={"weight": "bold", "size": 8},
    )  # fmt: skip
    legend.get_title().set_color("#222222")
    return legend


def tall(line: list[Block]) -> float:
    return max(block.height for block in line) + 0.14


def place(figure: "Figure", lines: list[list[Block]], height: float) -> None:
    """Puts the blocks at the foot of a figure that is `height` inches high."""
    top = sum(map(tall, lines))
    for line in lines:
        left = LEFT
        for block in line:
            block.legend.set_bbox_to_anchor((left / WIDTH, top / height), transform=figure.transFigure)
            left += block.width + SPACE
        top -= tall(line)


DARK = {  # colours of the figure that vanish on a dark ground, and what they become there
    "#000000": "#FFFFFF",
    "#666666": "#B0B0B0",
    "#332288": "#A79BF2",
    "#882255": "#E07FAE",
    "#661100": "#D98A6C",
    "#AA4499": "#DB8CCF",
    "#0072B2": "#5C8DFF",
    "#56B4E9": "#9BDDFF",
    "#009E73": "#33C79B",
    "#D55E00": "#F08A3C",
    "#999933": "#C9C94F",
}
