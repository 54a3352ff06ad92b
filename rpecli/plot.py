"""How every figure looks: one palette, one line style per group, and saving, without pyplot.

Groups differ at first sight: APE is warm and dashed, RPE cool and solid, none black and dotted. Within a group color and marker
differ together, so that nothing depends on color alone. The same data give the same bytes.
"""

import gc
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpecli.catalog import GROUPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {  # after Okabe & Ito (2008) and Tol (2021): distinct for color-blind readers too
    "APE": ["#D55E00", "#E69F00", "#CC79A7", "#882255", "#B8860B"],
    "RPE": ["#0072B2", "#009E73", "#56B4E9", "#332288", "#999933", "#9467BD", "#17BECF"],
    "content": ["#AA4499", "#661100", "#DDAADD"],
    "none": ["#000000", "#666666"],
}
TITLES = {"APE": "APE (absolute)", "RPE": "RPE (relative)", "content": "content", "none": "none"}
DASHES: dict[str, Any] = {"APE": (0, (4, 1.6)), "RPE": "solid", "content": (0, (6, 1.5, 1.2, 1.5)), "none": (0, (1, 1.3))}
MARKERS = "os^DvPX<>phd*"
HEAD_COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#000000"]
HEAD_DASHES: list[Any] = ["solid", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1.2, 1.5))]

TEXT, QUIET, FRAME, GRID, GROUND = "#222222", "#555555", "#888888", "#E6E6E6", "#FFFFFF"
DARK = {  # all colors above and what they become on a dark ground
    TEXT: "#E7EAEE", QUIET: "#A3ACB8", FRAME: "#7C8592", GRID: "#363C45", GROUND: "#14171B",
    "#000000": "#FFFFFF", "#666666": "#B0B0B0", "#332288": "#A79BF2", "#882255": "#E07FAE", "#661100": "#D98A6C",
    "#AA4499": "#DB8CCF", "#0072B2": "#5C8DFF", "#56B4E9": "#9BDDFF", "#009E73": "#33C79B", "#D55E00": "#F08A3C",
    "#999933": "#C9C94F", "#E69F00": "#E69F00", "#CC79A7": "#CC79A7", "#B8860B": "#D0A030", "#9467BD": "#B08BDD",
    "#17BECF": "#17BECF", "#DDAADD": "#DDAADD",
}  # fmt: skip

CHANCE: dict[str, Any] = {"color": FRAME, "linewidth": 1, "linestyle": (0, (5, 3)), "zorder": 1}
REFERENCE: dict[str, Any] = {"color": FRAME, "linewidth": 0.9, "linestyle": ":", "zorder": 1}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8, "text.color": TEXT, "axes.labelcolor": QUIET, "axes.titlesize": 9,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 7, "axes.titlecolor": TEXT,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": FRAME, "axes.linewidth": 0.7, "axes.axisbelow": True,
    "grid.color": GRID, "grid.linewidth": 0.6, "xtick.color": FRAME, "ytick.color": FRAME, "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "svg.hashsalt": "rpe",
    "svg.fonttype": "none",  # text stays text: it can be searched, and a page sets it in its own font
    "pdf.fonttype": 42,  # TrueType, which a journal's checks accept
}  # fmt: skip
UNDATED: dict[str, dict[str, Any]] = {  # the kinds of files; the same data give the same bytes
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

DPI = 200  # of PNG
WIDTH = 9.0  # inches of a figure; at DPI twice the 900 pixels that a page of Markdown shows


class FigureError(ValueError):
    """A figure that cannot be written where it was asked for; its message says what to type instead."""


@dataclass(frozen=True)
class SeriesStyle:
    """The color, marker and dashes of one encoding in every panel."""

    group: str
    color: str
    marker: str

    def line(self) -> dict[str, Any]:
        """Keyword arguments of matplotlib's `plot`."""
        size = 5.2 if self.marker in "*PX" else 4.2
        edge = {"markeredgecolor": GROUND, "markeredgewidth": 0.5, "markersize": size}
        return {"color": self.color, "marker": self.marker, "linestyle": DASHES[self.group], "linewidth": 1.4, **edge}


def styles(labels: Iterable[tuple[str, str]]) -> dict[str, SeriesStyle]:
    """A style per label, from (group, label) in the order of the tables; the labels of a group come together."""
    named: dict[str, SeriesStyle] = {}
    for group, label in sorted(dict.fromkeys(labels), key=lambda pair: GROUPS.index(pair[0])):
        place = sum(style.group == group for style in named.values())
        colors = COLORS[group]
        named[label] = SeriesStyle(group, colors[place % len(colors)], MARKERS[place % len(MARKERS)])
    return named


def head_colors(number: int) -> list[Any]:
    """Distinct colors for few attention heads; for many, one ladder of brightness in their order."""
    if number <= len(HEAD_COLORS):
        return HEAD_COLORS
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["cividis"](n / (number - 1))) for n in range(number)]


@contextmanager
def no_collection() -> Iterator[None]:
    """Drawing without garbage collection: a figure is cycles by the thousand, and collecting them took a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def as_bytes(figure: "Figure", kind: str) -> bytes:
    """A figure as one of the kinds of UNDATED."""
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format=kind, metadata=UNDATED[kind])
    return file.getvalue()


def new_figure(width: float = WIDTH) -> "Figure":
    """An empty figure that can measure its text; to be filled within `matplotlib.rc_context(STYLE)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 1), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure
