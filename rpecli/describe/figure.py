"""A portrait as a figure: score against distance above maps of queries and keys; the same portrait gives the same bytes.

Heads differ in colour and dashes; the maps share one scale of brightness, which reads alike for colour-blind readers and in grey.
"""

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli.plot import DPI, HEAD_DASHES, STYLE, UNDATED, WIDTH, FigureError, as_bytes, head_colors
from rpecli.run.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

TINTS, UNSEEN = "cividis", "#E4E4E4"
MAPS, COLUMNS = 10, 5  # drawn at most, the mean of all heads among them; in a row
LEFT, RIGHT, HEAD, LINES = 0.75, 0.95, 0.75, 2.3  # inches: margins, titles, the upper panel
UNDER, GAP, BETWEEN = 0.75, 0.3, 0.42  # inches: under the upper panel, between maps, between rows of maps


def write(data: dict[str, Any], path: Path) -> None:
    """Draws a portrait into a file. Raises FigureError where its suffix is not one that can be drawn, or it cannot be written."""
    kind = path.suffix.lstrip(".").lower()
    if kind not in UNDATED:
        raise FigureError(f"{path}: a figure is .svg, .png or .pdf: write for example {path.with_suffix('.svg')}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, draw(data, kind))
    except OSError as error:
        raise FigureError(f"the figure cannot be written: {error}: choose another place") from error


def draw(data: dict[str, Any], kind: str = "svg") -> bytes:
    """The figure as `svg`, `png` or `pdf`, from `Portrait.data()`."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1), dpi=DPI)
        FigureCanvasAgg(figure)
        _compose(figure, data)
    return as_bytes(figure, kind)


def _compose(figure: "Figure", data: dict[str, Any]) -> None:
    maps = _maps(data)
    rows = -(-len(maps) // COLUMNS)
    side = (WIDTH - LEFT - RIGHT - GAP * (COLUMNS - 1)) / COLUMNS
    note = textwrap.wrap(_note(data), 165)
    top = HEAD + LINES + UNDER
    height = top + rows * (side + BETWEEN) + 0.2 + 0.16 * len(note)
    figure.set_size_inches(WIDTH, height)
    _titles(figure, data, note, height)
    upper = figure.add_axes(_box(LEFT, HEAD, WIDTH - LEFT - RIGHT, LINES, height))
    _lines(upper, data)
    for n, (title, cells) in enumerate(maps):
        row, column = divmod(n, COLUMNS)
        axes = figure.add_axes(_box(LEFT + column * (side + GAP), top + row * (side + BETWEEN), side, side, height))
        image = _map(axes, title, cells, data)
        axes.tick_params(labelleft=column == 0, labelsize=6.5)
        axes.set_ylabel("query i" if column == 0 else "", labelpad=1)
        axes.set_xlabel("key j" if n + COLUMNS >= len(maps) else "", labelpad=1)
    right = LEFT + min(len(maps), COLUMNS) * (side + GAP) - GAP + 0.15
    figure.colorbar(image, cax=figure.add_axes(_box(right, top, 0.12, side, height)))


def _box(left: float, top: float, width: float, high: float, height: float) -> tuple[float, float, float, float]:
    """Inches from the left and top of a figure `height` inches high, as shares of it."""
    return left / WIDTH, (height - top - high) / height, width / WIDTH, high / height


def _titles(figure: "Figure", data: dict[str, Any], note: list[str], height: float) -> None:
    figure.text(0.1 / WIDTH, 1 - 0.12 / height, data["encoding"], fontsize=12, fontweight="bold", color="#222222", va="top")
    summary = textwrap.shorten(data["summary"], 160, placeholder=" ...")
    figure.text(0.1 / WIDTH, 1 - 0.38 / height, summary, color="#444444", va="top")
    figure.text(0.1 / WIDTH, 0.1 / height, "\n".join(note), fontsize=7, color="#666666", va="bottom", linespacing=1.5)


def _note(data: dict[str, Any]) -> str:
    shape, more = data["shape"], max(0, len(data["maps"]) - MAPS + 1)
    text = f"Shown: {data['shown']}. " + (
        "Bands: 10th to 90th percentile over query positions and contents. " if _bands(data) else ""
    )
    text += f"Heads: {shape['n_head']}, of width {shape['d_model'] // shape['n_head']}. Seed: {shape['seed']}. "
    return text + "Dotted: the trained length. Grey: not seen." + (f" Maps left out: {more}." if more else "")


def _bands(data: dict[str, Any]) -> bool:
    return any(head["low"] != head["high"] for head in data["heads"])


# ------------------------------------------------------------------------------------------------------------------- lines


def _lines(axes: "Axes", data: dict[str, Any]) -> None:
    colours = head_colors(len(data["heads"]))
    for n, head in enumerate(data["heads"]):
        mean, low, high = (_numbers(head[side]) for side in ("mean", "low", "high"))
        dashes = HEAD_DASHES[n % len(HEAD_DASHES)]
        axes.plot(mean, color=colours[n], linestyle=dashes, linewidth=1.4, label=f"head {n + 1}", zorder=3)
        _end(axes, mean, colours[n])
        if head["low"] != head["high"]:
            axes.fill_between(range(len(low)), low, high, color=colours[n], alpha=0.12, linewidth=0, zorder=2)
    axes.set_xlim(0, data["shape"]["drawn"] - 1)
    axes.set_xlabel("distance i-j")
    axes.set_ylabel("effect on the score")
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    trained = data["shape"]["trained"]
    axes.axvline(trained, color="#777777", linewidth=0.9, linestyle=":", zorder=1)
    axes.annotate(f"trained to {trained}", (trained, 1), (3, 1), xycoords=("data", "axes fraction"), textcoords="offset points",
                  va="bottom", fontsize=6.5, color="#666666")  # fmt: skip
    axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1), frameon=False, handlelength=2.6, borderaxespad=0, fontsize=7)


def _end(axes: "Axes", mean: list[float], colour: str) -> None:
    """A dot where a line ends before the panel does: nothing farther is seen."""
    seen = [distance for distance, value in enumerate(mean) if not math.isnan(value)]
    if seen and seen[-1] < len(mean) - 1:
        axes.plot(seen[-1], mean[seen[-1]], color=colour, marker="o", markersize=4, zorder=4, clip_on=False)


def _numbers(values: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


# -------------------------------------------------------------------------------------------------------------------- maps


def _maps(data: dict[str, Any]) -> list[tuple[str, list[list[float]]]]:
    """Titles and cells: the mean of all heads first."""
    heads = [(f"head {n + 1}", each) for n, each in enumerate(data["maps"])]
    shown = [("mean of heads", data["average"]), *heads] if len(heads) > 1 else heads
    return [(title, [_numbers(row) for row in cells]) for title, cells in shown[:MAPS]]


def _map(axes: "Axes", title: str, cells: list[list[float]], data: dict[str, Any]) -> "AxesImage":
    low, high = _range(data)
    drawn, trained = data["shape"]["drawn"], data["shape"]["trained"]
    axes.set_facecolor(UNSEEN)
    image = axes.imshow(cells, cmap=TINTS, vmin=low, vmax=high, interpolation="nearest", aspect="equal")
    for line in (axes.axvline, axes.axhline):
        line(trained - 0.5, color="#777777", linewidth=0.8, linestyle=":")
    axes.set_title(title, loc="left", fontsize=8, color="#222222", pad=4)
    axes.set_xticks([0, trained, drawn - 1])
    axes.set_yticks([0, trained, drawn - 1])
    return image


def _range(data: dict[str, Any]) -> tuple[float, float]:
    seen = [value for cells in data["maps"] for row in cells for value in row if value is not None] or [0.0]
    low, high = min(seen), max(seen)
    return (low, high) if high > low else (low - 1, high + 1)
