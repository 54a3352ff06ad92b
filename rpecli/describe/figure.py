"""A profile of an encoding as a figure: score against distance above maps of queries and keys.

Heads differ in color and dashes; the maps share one scale of brightness, which reads alike for color-blind readers and in
grayscale. The same profile gives the same bytes.
"""

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from rpecli.describe.effect import EncodingProfile, value_range
from rpecli.plot import (
    HEAD_DASHES,
    QUIET,
    REFERENCE,
    UNDATED,
    WIDTH,
    FigureError,
    as_bytes,
    head_colors,
    new_figure,
    styled,
)
from rpecli.run.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

COLOR_MAP, MASKED_COLOR = "cividis", "#E4E4E4"
MAX_MAPS, COLUMNS = 10, 5  # the mean of all heads is one of the maps; maps per row
LEFT, RIGHT, HEADER, CURVES = 0.75, 0.95, 0.75, 2.3  # inches: margins, titles, height of the curves
UNDER_CURVES, GAP, ROW_GAP = 0.75, 0.3, 0.42  # inches: below the curves, between maps, between rows of maps


def kind_of(path: Path) -> str:
    """svg, png or pdf. Raises FigureError for another suffix."""
    kind = path.suffix.lstrip(".").lower()
    if kind not in UNDATED:
        example = path / "figure.svg" if path.is_dir() else path.with_suffix(".svg")
        raise FigureError(f"{path}: a figure is .svg, .png or .pdf: write for example {example}")
    return kind


def write(profile: EncodingProfile, path: Path) -> None:
    """Draws a profile into an .svg, .png or .pdf file. Raises FigureError for another suffix or a file that cannot be written."""
    kind = kind_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, draw(profile, kind))
    except OSError as error:
        raise FigureError(f"the figure cannot be written: {error}: choose another place") from error


def draw(profile: EncodingProfile, kind: str = "svg") -> bytes:
    """The figure as `svg`, `png` or `pdf`."""
    with styled():
        figure = new_figure()
        _compose(figure, profile)
    return as_bytes(figure, kind)


def _compose(figure: "Figure", profile: EncodingProfile) -> None:
    maps = titled_maps(profile)
    rows = -(-len(maps) // COLUMNS)
    side = (WIDTH - LEFT - RIGHT - GAP * (COLUMNS - 1)) / COLUMNS
    footer = textwrap.wrap(note(profile), 165)
    top = HEADER + CURVES + UNDER_CURVES
    height = top + rows * (side + ROW_GAP) + 0.2 + 0.16 * len(footer)
    figure.set_size_inches(WIDTH, height)
    _titles(figure, profile, footer, height)
    _curves(figure.add_axes(_box(LEFT, HEADER, WIDTH - LEFT - RIGHT, CURVES, height)), profile)
    for n, (title, cells) in enumerate(maps):
        row, column = divmod(n, COLUMNS)
        axes = figure.add_axes(_box(LEFT + column * (side + GAP), top + row * (side + ROW_GAP), side, side, height))
        image = _map(axes, title, cells, profile)
        axes.tick_params(labelleft=column == 0, labelsize=6.5)
        axes.set_ylabel("query i" if column == 0 else "", labelpad=1)
        axes.set_xlabel("key j" if n + COLUMNS >= len(maps) else "", labelpad=1)
    right = LEFT + min(len(maps), COLUMNS) * (side + GAP) - GAP + 0.15
    figure.colorbar(image, cax=figure.add_axes(_box(right, top, 0.12, side, height)))


def _box(left: float, top: float, width: float, height: float, figure_height: float) -> tuple[float, float, float, float]:
    """A box in inches from the left and the top of a figure, as matplotlib's left, bottom, width and height in shares of it."""
    return left / WIDTH, (figure_height - top - height) / figure_height, width / WIDTH, height / figure_height


def _titles(figure: "Figure", profile: EncodingProfile, footer: list[str], height: float) -> None:
    figure.text(0.1 / WIDTH, 1 - 0.12 / height, profile.encoding, fontsize=12, fontweight="bold", va="top")
    summary = textwrap.shorten(profile.summary, 160, placeholder=" ...")
    figure.text(0.1 / WIDTH, 1 - 0.38 / height, summary, color=QUIET, va="top")
    figure.text(0.1 / WIDTH, 0.1 / height, "\n".join(footer), fontsize=7, color=QUIET, va="bottom", linespacing=1.5)


def note(profile: EncodingProfile) -> str:
    """What the figure shows, in sentences."""
    shape, n_omitted = profile.shape, max(0, len(profile.maps) - MAX_MAPS + 1)
    has_bands = any(head["low"] != head["high"] for head in profile.heads)
    sentences = [
        f"Shown: {profile.caption}.",
        *(["Bands: 10th to 90th percentile over query positions and contents."] if has_bands else []),
        f"Heads: {shape['n_head']}, of width {shape['d_model'] // shape['n_head']}.",
        f"Seed: {shape['seed']}.",
        "Dotted: the training length. Gray: masked.",
        *([f"Maps not shown: {n_omitted}."] if n_omitted else []),
    ]
    return " ".join(sentences)


def _curves(axes: "Axes", profile: EncodingProfile) -> None:
    """The mean effect of every head by distance, with a band where it varies."""
    colors = head_colors(len(profile.heads))
    for n, head in enumerate(profile.heads):
        mean, low, high = (_with_nan(head[side]) for side in ("mean", "low", "high"))
        dashes = HEAD_DASHES[n % len(HEAD_DASHES)]
        axes.plot(mean, color=colors[n], linestyle=dashes, linewidth=1.4, label=f"head {n + 1}", zorder=3)
        _mark_end(axes, mean, colors[n])
        if head["low"] != head["high"]:
            axes.fill_between(range(len(low)), low, high, color=colors[n], alpha=0.12, linewidth=0, zorder=2)
    axes.set_xlim(0, profile.shape["n_positions"] - 1)
    axes.set_xlabel("distance i-j")
    axes.set_ylabel("effect on the score")
    axes.grid(axis="y")
    train_length = profile.shape["train_length"]
    axes.axvline(train_length, **REFERENCE)
    axes.annotate(f"trained to {train_length}", (train_length, 1), (3, 1), xycoords=("data", "axes fraction"),
                  textcoords="offset points", va="bottom", fontsize=6.5, color=QUIET)  # fmt: skip
    axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1), frameon=False, handlelength=2.6, borderaxespad=0, fontsize=7)


def _mark_end(axes: "Axes", mean: list[float], color: str) -> None:
    """A dot where a curve ends before the panel does, because greater distances are masked."""
    last = max((distance for distance, value in enumerate(mean) if not math.isnan(value)), default=len(mean) - 1)
    if last < len(mean) - 1:
        axes.plot(last, mean[last], color=color, marker="o", markersize=4, zorder=4, clip_on=False)


def _with_nan(values: list[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def titled_maps(profile: EncodingProfile) -> list[tuple[str, list[list[float]]]]:
    """Titles and cells of at most MAX_MAPS maps, the mean of all heads first."""
    maps = [(f"head {n + 1}", cells) for n, cells in enumerate(profile.maps)]
    maps = [("mean of heads", profile.average), *maps] if len(maps) > 1 else maps
    return [(title, [_with_nan(row) for row in cells]) for title, cells in maps[:MAX_MAPS]]


def _map(axes: "Axes", title: str, cells: list[list[float]], profile: EncodingProfile) -> "AxesImage":
    low, high = value_range(value for cells in profile.maps for row in cells for value in row)
    n_positions, train_length = profile.shape["n_positions"], profile.shape["train_length"]
    axes.set_facecolor(MASKED_COLOR)
    image = axes.imshow(cells, cmap=COLOR_MAP, vmin=low, vmax=high, interpolation="nearest", aspect="equal")
    for line in (axes.axvline, axes.axhline):
        line(train_length - 0.5, **REFERENCE | {"zorder": 2})
    axes.set_title(title, fontsize=8, fontweight="normal", pad=4)
    axes.set_xticks([0, train_length, n_positions - 1])
    axes.set_yticks([0, train_length, n_positions - 1])
    return image
