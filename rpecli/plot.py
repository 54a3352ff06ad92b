"""How every figure looks: one palette, one line style per group, and saving, without pyplot.

Groups differ at first sight: APE is warm and dashed, RPE cool and solid, none black and dotted. An encoding has one color and one
marker, whatever else a figure shows: its file states them (`look = ("#0072B2", "o")`), or they follow from its name. Within a
group color and marker differ together, so that nothing depends on color alone. The same data give the same bytes.
"""

import gc
import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rpecli.choice import parse_choice, split_layers, split_switch
from rpecli.titles import constants, is_own

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {  # by group; after Okabe & Ito (2008) and Tol (2021), each at a contrast of 3:1 with white at least
    "APE": ["#D55E00", "#B87400", "#882255", "#9A6324"],
    "RPE": ["#0072B2", "#009E73", "#332288", "#7A7A1F", "#8A5FBF", "#1287A0", "#5B8C2A", "#4477AA", "#00837B", "#117733"],
    "content": ["#8E5A8E", "#661100", "#8C4A2F", "#6B7A8F"],
    "none": ["#000000", "#666666"],
}
OWN = ("#D6006E", "*")  # color and marker of users' own encodings, which no other has
TITLES = {"APE": "APE (absolute)", "RPE": "RPE (relative)", "content": "content", "none": "no encoding"}
DASHES: dict[str, Any] = {"APE": (0, (4, 1.6)), "RPE": "solid", "content": (0, (6, 1.5, 1.2, 1.5)), "none": (0, (1, 1.3))}
MARKERS = "os^DvPX<>phd"
HEAD_COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#000000"]
HEAD_DASHES: list[Any] = ["solid", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1.2, 1.5))]

TEXT, QUIET, FRAME, GRID, GROUND = "#222222", "#555555", "#888888", "#E6E6E6", "#FFFFFF"
DARK = {  # all colors above and what they become on a dark ground
    TEXT: "#E7EAEE", QUIET: "#A3ACB8", FRAME: "#7C8592", GRID: "#363C45", GROUND: "#14171B",
    "#000000": "#FFFFFF", "#666666": "#B0B0B0", "#D55E00": "#F08A3C", "#B87400": "#E6A63A", "#882255": "#E07FAE",
    "#9A6324": "#CFA06A", "#0072B2": "#5C8DFF", "#009E73": "#33C79B", "#332288": "#A79BF2", "#7A7A1F": "#C9C94F",
    "#8A5FBF": "#C19BF5", "#1287A0": "#45C1DB", "#5B8C2A": "#93C95C", "#4477AA": "#86B4E3", "#00837B": "#3FC4BA",
    "#117733": "#55B877", "#8E5A8E": "#D3A0D3", "#661100": "#D98A6C", "#8C4A2F": "#CF9276", "#6B7A8F": "#A6B4C8",
    "#D6006E": "#FF6BB0", "#CC79A7": "#CC79A7", "#E69F00": "#E69F00", "#56B4E9": "#9BDDFF",
}  # fmt: skip

CHANCE: dict[str, Any] = {"color": FRAME, "linewidth": 1, "linestyle": (0, (5, 3)), "zorder": 1}
REFERENCE: dict[str, Any] = {"color": FRAME, "linewidth": 0.9, "linestyle": ":", "zorder": 1}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 8, "text.color": TEXT, "axes.labelcolor": QUIET, "axes.titlesize": 9,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 10, "axes.titlecolor": TEXT,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": FRAME, "axes.linewidth": 0.7, "axes.axisbelow": True,
    "grid.color": GRID, "grid.linewidth": 0.6, "xtick.color": FRAME, "ytick.color": FRAME, "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "svg.hashsalt": "rpe",
    "svg.fonttype": "none",  # text stays text: it can be searched, and a page sets it in its own font
    "pdf.fonttype": 42,  # TrueType, which a journal's checks accept
    "text.parse_math": False,  # dollars in names are dollars
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
    """The name, color, marker and dashes of one encoding, the same in every figure of every report."""

    title: str
    group: str
    color: str
    marker: str
    hollow: bool = False  # a reference result: thin, with an empty marker

    def line(self) -> dict[str, Any]:
        """Keyword arguments of matplotlib's `plot`."""
        size = 5.2 if self.marker in "*PX" else 4.2
        edge = {"markeredgecolor": GROUND, "markeredgewidth": 0.5, "markersize": size}
        if self.hollow:
            edge |= {"markeredgecolor": self.color, "markerfacecolor": GROUND, "markeredgewidth": 0.9}
        width = 0.8 if self.hollow else 1.4
        return {"color": self.color, "marker": self.marker, "linestyle": DASHES[self.group], "linewidth": width, **edge}


def series_style(choice: str, group: str, title: str, variant: str = "") -> SeriesStyle:
    """The style of a choice of encoding. `variant` is what else tells a series from others, such as positions or settings."""
    first = split_layers(split_switch(choice)[0])[0]
    name = parse_choice(first)[0]
    color, marker = OWN if is_own(first) else named_look(name, group)
    if (rest := choice.removeprefix(name) + variant) != "":  # the color of its encoding, with a marker of its own
        others = MARKERS.replace(marker, "")
        marker = others[_number(rest) % len(others)]
    return SeriesStyle(title, group, color, marker)


def named_look(name: str, group: str) -> tuple[str, str]:
    """Color and marker of a shipped encoding: what its file states as `look`, else by a number computed from its name."""
    if "look" in (stated := constants("encodings", name)):
        color, marker = stated["look"]
        return color, marker
    colors = COLORS[group]
    place = _number(name)
    return colors[place % len(colors)], MARKERS[place // len(colors) % len(MARKERS)]


def _number(text: str) -> int:
    """A number that is the same for a text on every machine and in every version of Python."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def head_colors(number: int) -> list[Any]:
    """Distinct colors for few attention heads; for many, one ladder of brightness in their order."""
    if number <= len(HEAD_COLORS):
        return HEAD_COLORS
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["cividis"](n / (number - 1))) for n in range(number)]


@contextmanager
def no_collection() -> Iterator[None]:
    """Work without garbage collection, which took a third of the time of a report: a figure is cycles by the thousand, and runs
    by the thousand are millions of objects. Within, `gc.collect()` looks at the objects made since alone."""
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


@contextmanager
def styled() -> Iterator[None]:
    """Within, figures have the one look; characters that the font lacks become boxes without a warning."""
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@contextmanager
def typeface(serif: bool) -> Iterator[None]:
    """Within, the text of figures has serifs, as that of most papers, or none."""
    old = STYLE["font.family"]
    STYLE["font.family"] = "STIXGeneral" if serif else old
    try:
        yield
    finally:
        STYLE["font.family"] = old


def as_bytes(figure: "Figure", kind: str) -> bytes:
    """A figure as one of the kinds of UNDATED."""
    file = io.BytesIO()
    with styled():
        figure.savefig(file, format=kind, metadata=UNDATED[kind])
    return file.getvalue()


def for_notebooks(figure: "Figure") -> "Figure":
    """The figure, with a picture for notebooks, where only pyplot's own figures have one; half as large as its pixels."""
    size = dict(zip(("width", "height"), (figure.get_size_inches() * DPI / 2).astype(int).tolist(), strict=True))
    figure._repr_png_ = lambda: (as_bytes(figure, "png"), size)  # type: ignore[attr-defined]
    return figure


def new_figure(width: float = WIDTH) -> "Figure":
    """An empty figure that can measure its text; to be filled within `styled()`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 1), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure
