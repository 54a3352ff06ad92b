"""The figure of report.html: accuracy against length as inline SVG, a chart per panel and measure, a series per encoding."""

import math
from html import escape

from rpecli.catalog import GROUPS
from rpecli.plot import DARK, TITLES, Look
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.format import MEASURE_NAMES, format_factor, format_mean_range, format_number
from rpecli.report.stats import Summary

WIDE, HIGH = 440, 250
LEFT, RIGHT, TOP, FOOT = 34, 12, 10, 40
DASH = {"APE": "6 3", "RPE": "", "content": "8 2.5 2 2.5", "none": "1.5 2.5"}
SIDES = {"p": 5, "h": 6}
CLEAR = 40  # between two labels of an axis: six digits wide
Point = tuple[float, Summary, str]  # where on the axis, what, and in words


def colours(known: dict[str, Look]) -> str:
    """The custom properties that series are drawn with, on either ground."""
    light = "".join(f"--k{i}:{look.colour};" for i, look in enumerate(known.values()))
    dark = "".join(f"--k{i}:{DARK.get(look.colour, look.colour)};" for i, look in enumerate(known.values()))
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def legend(known: dict[str, Look]) -> str:
    """A list by group, each entry drawn as its line is."""
    made = []
    for group in GROUPS:
        mine = [(i, label, look) for i, (label, look) in enumerate(known.items()) if look.group == group]
        entries = "".join(_legend_entry(*each) for each in mine)
        made += [f'<ul><li class="head">{TITLES[group]}</li>{entries}</ul>'] if mine else []
    return f'<div class="legend">{"".join(made)}</div>'


def _legend_entry(place: int, label: str, look: Look) -> str:
    line = f'<path class="line" d="M1 7H39" stroke="var(--k{place})"{_dash(look)}/>'
    drawn = f'<svg viewBox="0 0 40 14" aria-hidden="true"><g class="series">{line}{_marker(look, place, 20, 7)}</g></svg>'
    return f'<li data-k="{escape(label)}" tabindex="0">{drawn}{escape(label)}</li>'


def chart(panel: TaskResults, measure: str, known: dict[str, Look]) -> str:
    """One chart, with what it shows in words for those who cannot see it."""
    axes = Axes(panel)
    end = f'<path class="end" d="M{axes.x(panel.train_length):.1f} {TOP}V{HIGH - FOOT}"><title>the training length</title></path>'
    parts = [frame(axes), end]
    if measure == "token_accuracy" and panel.chance:
        points = [(axes.x(n), axes.y(panel.chance[n])) for n in sorted(panel.chance)]
        parts.append(f'<path class="chance" d="{_path(points)}"><title>chance</title></path>')
    for place, (label, look) in enumerate(known.items()):
        rows = [row for row in panel.encodings if row.label == label]
        parts += [series(axes, label, _points(row, panel, measure), look, place) for row in rows]
    title = f"{escape(panel.title)}: {MEASURE_NAMES[measure]}"
    drawn = picture(escape(described(panel, measure)), "".join(parts))
    return f"<figure><figcaption>{title}</figcaption>{drawn}</figure>"


def picture(words: str, drawn: str) -> str:
    """The SVG element; `words` is its alt text."""
    return f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{words}">{drawn}</svg>'


def _points(row: EncodingResults, panel: TaskResults, measure: str) -> list[Point]:
    found = {n: cell[measure] for n, cell in row.by_length.items() if measure in cell}
    return [
        (n, each, f"at {n} ({format_factor(n, panel.train_length)}): {format_mean_range(each)}, {_runs(each)}")
        for n, each in found.items()
    ]


def _runs(found: Summary) -> str:
    return f"{found.n} run{'s' * (found.n != 1)}"


def described(panel: TaskResults, measure: str) -> str:
    """The alt text: every encoding at the training length and at the longest."""
    ends = [n for n in dict.fromkeys((panel.train_length, panel.lengths[-1])) if n in panel.lengths]
    said = [
        _described_row(row, measure, ends) for row in panel.encodings if any(measure in cell for cell in row.by_length.values())
    ]
    return f"{MEASURE_NAMES[measure]} against length on {panel.title}, mean over seeds: {'; '.join(said)}."


def _described_row(row: EncodingResults, measure: str, ends: list[int]) -> str:
    found = [f"{format_number(row.by_length[n][measure].mean)} at {n}" for n in ends if measure in row.by_length.get(n, {})]
    return f"{row.label} {', '.join(found)}"


class Frame:
    """Where accuracies stand in a chart, and what its horizontal axis has to know."""

    left, right = LEFT + 14.0, WIDE - RIGHT - 12.0

    def x(self, value: float) -> float:
        raise NotImplementedError

    def y(self, value: float) -> float:
        return TOP + (HIGH - TOP - FOOT) * (1 - value)

    def levels(self) -> list[tuple[float, str]]:
        """Values of the lines across, and what stands beside them."""
        return [(0, "0"), (0.25, "0.25"), (0.5, "0.50"), (0.75, "0.75"), (1, "1")]

    def labels(self) -> list[tuple[float, str, str]]:
        """Where to write what under the axis, in two lines."""
        raise NotImplementedError


class Axes(Frame):
    """Lengths on a logarithmic axis."""

    def __init__(self, panel: TaskResults) -> None:
        self.panel = panel
        first, last = min(panel.lengths[0], panel.train_length), max(panel.lengths[-1], panel.train_length)
        self.first, self.span = math.log2(first), max(1.0, math.log2(last / first))

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * (math.log2(value) - self.first) / self.span

    def labels(self) -> list[tuple[float, str, str]]:
        """Lengths that stand clear of those before them, the training length first."""
        kept: list[int] = []
        for n in [self.panel.train_length, *self.panel.lengths]:
            if all(abs(self.x(n) - self.x(other)) > CLEAR for other in kept):
                kept.append(n)
        return [(self.x(n), str(n), format_factor(n, self.panel.train_length)) for n in sorted(kept)]


def frame(axes: Frame) -> str:
    """Grid and the words along both axes."""
    parts = []
    for value, text in axes.levels():
        y = axes.y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDE - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for x, upper, lower in axes.labels():
        text = f'{escape(upper)}<tspan x="{x:.1f}" dy="13">{escape(lower)}</tspan>'
        parts.append(f'<text x="{x:.1f}" y="{HIGH - FOOT + 15}" text-anchor="middle">{text}</text>')
    return "".join(parts)


def series(axes: Frame, label: str, points: list[Point], look: Look, place: int) -> str:
    """A line with its band and its points, each with the words that show when it is pointed at."""
    parts = []
    if any(each.high > each.low for _, each, _ in points):
        lows = [(axes.x(at), axes.y(each.low)) for at, each, _ in points]
        highs = [(axes.x(at), axes.y(each.high)) for at, each, _ in points]
        parts.append(f'<path class="band" fill="var(--k{place})" d="{_path(lows + highs[::-1])}Z"/>')
    line = _path([(axes.x(at), axes.y(each.mean)) for at, each, _ in points])
    parts += [f'<path class="line" stroke="var(--k{place})"{_dash(look)} d="{line}"/>'] if points else []
    for at, each, words in points:
        shown = _marker(look, place, axes.x(at), axes.y(each.mean))
        parts.append(f'<g class="point"><title>{escape(f"{label} {words}")}</title>{shown}</g>')
    return f'<g class="series" data-k="{escape(label)}">{"".join(parts)}</g>'


def _dash(look: Look) -> str:
    return f' stroke-dasharray="{DASH[look.group]}"' if DASH[look.group] else ""


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _marker(look: Look, place: int, x: float, y: float) -> str:
    size = 4.3 if look.marker in "os" else 5.2
    points = [(x + size * a, y + size * b) for a, b in _outline(look.marker)]
    return f'<path fill="var(--k{place})" d="{_path(points)}Z"/>'


def _outline(marker: str) -> list[tuple[float, float]]:
    """The corners of a marker, named as matplotlib names it, about (0, 0)."""
    if marker in "PX":
        plus = [(-1, 0.35), (-1, -0.35), (-0.35, -0.35), (-0.35, -1), (0.35, -1), (0.35, -0.35),
                (1, -0.35), (1, 0.35), (0.35, 0.35), (0.35, 1), (-0.35, 1), (-0.35, 0.35)]  # fmt: skip
        return plus if marker == "P" else [((a - b) * 0.75, (a + b) * 0.75) for a, b in plus]
    if marker == "*":
        return [_corner(i / 10, 1.1 if i % 2 == 0 else 0.45) for i in range(10)]
    if marker in "Dd":
        across = 1.0 if marker == "D" else 0.6
        return [(0, -1), (across, 0), (0, 1), (-across, 0)]
    if marker in "^v<>":
        return [_corner(i / 3 + {"^": 0, ">": 0.25, "v": 0.5, "<": 0.75}[marker], 1.1) for i in range(3)]
    if marker == "s":
        return [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
    sides = SIDES.get(marker, 16)  # sixteen are round enough at this size
    return [_corner(i / sides, 1.0) for i in range(sides)]


def _corner(turn: float, radius: float) -> tuple[float, float]:
    """`turn` of a circle clockwise from the top."""
    return radius * math.sin(2 * math.pi * turn), -radius * math.cos(2 * math.pi * turn)
