"""The panels of a figure as SVG for a page: matplotlib's own drawing, taken apart, with themed colors and words on hover.

What matplotlib writes is for one file on white paper. In a page every panel stands by itself, colors are custom properties that
a dark ground changes, markers are defined once for all panels, and marks carry their words as `<title>`. Metadata, clip paths,
empty groups and digits below a tenth of a point go.
"""

import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from rpecli import plot
from rpecli.catalog import GROUPS
from rpecli.escape import html_attribute as escape
from rpecli.plot import SeriesStyle
from rpecli.report.figures.layout import Crop, Drawing, Tips

POINTS = 72  # of SVG, to an inch
CHARACTER = 5.0  # points of width, on average
LABEL = 11  # points that the label of an axis takes beside or below a panel
WIDE = 4.0  # inches of a panel that takes two columns of a page
SCALE = 1.75  # pixels that a point of a panel takes at most: its text is then about as large as that of the page
HREF = "{http://www.w3.org/1999/xlink}href"
COLOR = re.compile(r"#[0-9a-f]{6}\b")
NUMBER = re.compile(r"-?\d+\.\d+")
NO_ROTATION = re.compile(r"rotate\(-0[^)]*\)")
ONLY_IN_FILES = ("heading-", "label-")  # groups whose words a page writes above the panel
THEME = {color.lower(): f"--x{color[1:].lower()}" for color in plot.DARK}  # custom properties by color
SILENT = iter(())  # words of marks that say nothing
DEFAULT = {"font-size": "8px", "stroke-dashoffset": "0", "stroke-linejoin": "miter", "stroke-linecap": "square"}


@dataclass(frozen=True)
class Chart:
    """One panel for a page."""

    title: str
    key: str
    svg: str
    wide: bool  # takes two columns where there are several


@dataclass(frozen=True)
class LegendEntry:
    """A label of a legend with a piece of its line."""

    label: str
    svg: str
    series: bool  # its line is highlighted where it is pointed at


LegendBlock = tuple[str, list[LegendEntry]]  # title and entries


@dataclass
class PageCharts:
    """Takes figures apart for one page, and collects what its panels share."""

    markers: dict[str, str] = field(default_factory=dict)  # by id
    looks: dict[str, str] = field(default_factory=dict)  # the class of every style

    def charts(self, drawing: Drawing) -> list[Chart]:
        """Every panel of a figure."""
        return [Chart(crop.title, crop.key, svg, crop.box[2] > WIDE) for crop, svg in self._parts(drawing)]

    def styles_legend(self, styles: dict[str, SeriesStyle]) -> list[LegendBlock]:
        """One block per group that has any style."""
        groups: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
        for style in styles.values():
            groups[style.group][style.title] = style.line()
        return [self.legend(plot.TITLES[group], looks, series=True) for group, looks in groups.items() if looks]

    def legend(self, title: str, looks: dict[str, dict[str, Any]], series: bool = False) -> LegendBlock:
        """One block: an entry per label, with the keyword arguments of its line."""
        parts = self._parts(_legend_drawing(looks)) if looks else ()
        return title, [LegendEntry(crop.title, svg, series) for crop, svg in parts]

    def _parts(self, drawing: Drawing) -> Iterator[tuple[Crop, str]]:
        root = ElementTree.fromstring(drawing.svg)
        nodes = {str(node.get("id")): node for node in root.iter() if node.get("id")}
        for crop in drawing.crops:
            left, top, width, height = (round(POINTS * inches, 1) for inches in crop.box)
            below = LABEL * len(_below(crop))
            beside = LABEL if crop.labels[1] else 0
            words = f'role="img" aria-label="{escape(crop.alt)}"' if crop.alt else 'aria-hidden="true"'
            wide, high = round(width + beside, 1), round(height + below, 1)
            limits = f"min-width:{math.ceil(wide)}px;max-width:{SCALE * wide:.0f}px"  # text of 8 pixels at least
            size = f'viewBox="{left - beside:g} {top:g} {wide:g} {high:g}" style="{limits}"'
            panel = _Panel(drawing.tips, crop.part, nodes, self).element(nodes[crop.gid])
            yield crop, f"<svg {size} {words}>{panel}{_axis_labels(crop, left, top + height)}</svg>"

    def definitions(self) -> str:
        """The markers of all charts so far, for one hidden element of the page."""
        return "".join(self.markers.values())

    def css(self) -> str:
        """The styles of all charts so far, and every color of the figures as a custom property, on either ground."""
        light = "".join(f"{THEME[color.lower()]}:{color};" for color in plot.DARK)
        dark = "".join(f"{THEME[color.lower()]}:{other};" for color, other in plot.DARK.items())
        looks = "\n".join(f".{name}{{{style}}}" for style, name in self.looks.items())
        return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n{looks}\n"


def _themed(style: str) -> str:
    """A style with custom properties in place of the colors of the figures."""
    return COLOR.sub(lambda match: f"var({THEME[match[0]]})" if match[0] in THEME else match[0], style)


def _axis_labels(crop: Crop, left: float, bottom: float) -> str:
    """What the axes of a panel are of: below it, and turned, to its left."""
    x, y = (POINTS * inches for inches in crop.middle)
    places = {line: f'x="{_number(x)}" y="{_number(bottom + LABEL * (n + 0.5))}"' for n, line in enumerate(_below(crop))}
    if crop.labels[1]:
        places[crop.labels[1]] = f'transform="translate({_number(left - LABEL / 4)} {_number(y)})rotate(-90)"'
    return "".join(f'<text {place} class="axis">{escape(text)}</text>' for text, place in places.items())


def _below(crop: Crop) -> list[str]:
    """The label of the horizontal axis, in lines that are no wider than the panel to either side of its middle."""
    if not crop.labels[0]:
        return []
    left, _, width, _ = crop.box
    side = min(crop.middle[0] - left, left + width - crop.middle[0])
    return textwrap.wrap(crop.labels[0], int(2 * side * POINTS / CHARACTER))


def _legend_drawing(looks: dict[str, dict[str, Any]]) -> Drawing:
    """A line per label with its marker in the middle, cropped one by one."""
    width, row = 0.6, 0.2  # inches
    with plot.styled():
        drawing = Drawing(plot.new_figure(width))
        drawing.figure.set_size_inches(width, row * len(looks))
        axes = drawing.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(row * len(looks), 0))
        axes.set_axis_off()
        for n, (label, look) in enumerate(looks.items()):
            (line,) = axes.plot([0.03, width / 2, width - 0.03], [row * (n + 0.5)] * 3, markevery=[1], **look)
            line.set_gid(f"legend-{n}")
            drawing.crops.append(Crop(f"legend-{n}", (0, row * n, width, row), label, ""))
    return drawing


@dataclass
class _Panel:
    """Writes the elements of one panel."""

    tips: dict[str, Tips]
    part: str
    nodes: dict[str, ElementTree.Element]  # of the whole figure, by id
    page: PageCharts

    def element(self, node: ElementTree.Element, words: Iterator[str] = SILENT) -> str:
        """An element of SVG as a page has it; `words` are what the marks in it say, in their order."""
        tag = _tag(node)
        if tag == "g":
            return self._group(node, words)
        if tag == "use":
            return self._use(node, words)
        if tag == "path":
            return self._mark("path", f'd="{short_path(node.get("d", ""))}"', node, next(words, ""))
        return self._text(node) if tag == "text" else ""

    def _group(self, node: ElementTree.Element, words: Iterator[str]) -> str:
        gid = node.get("id", "")
        if gid.startswith(ONLY_IN_FILES):
            return ""
        tips = self.tips.get(gid)
        if tips is not None and self.part and tips.part != self.part:
            return ""
        if tips is None:
            return "".join(self.element(child, words) for child in node)
        marks = [child for child in node.iter() if _tag(child) == "use"]
        lines = [self.element(child) for child in node if _tag(child) == "path"] if marks else []  # a line says nothing itself
        texts = iter(tips.texts)
        inner = "".join([*lines, *(self.element(child, texts) for child in (marks or node))])
        return f'<g class="series" data-k="{escape(tips.label)}">{inner}</g>' if tips.label is not None else inner

    def _use(self, node: ElementTree.Element, words: Iterator[str]) -> str:
        key, x, y = node.get(HREF, "#")[1:], float(node.get("x", 0)), float(node.get("y", 0))
        path = self.nodes[key]
        if not path.get("style"):  # an outline of its own, such as a band
            return self._mark("path", f'd="{short_path(path.get("d", ""), x, y)}"', node, next(words, ""))
        self.page.markers[key] = f'<path id="{key}" d="{_marker_path(path.get("d", ""))}"/>'
        return self._mark("use", f'href="#{key}" x="{_number(x)}" y="{_number(y)}"', node, next(words, ""))

    def _mark(self, tag: str, attributes: str, node: ElementTree.Element, words: str) -> str:
        if not words:
            return f"<{tag} {attributes}{self._class(node)}/>"
        return f"<{tag} {attributes}{self._class(node, 'point')}><title>{escape(words)}</title></{tag}>"

    def _text(self, node: ElementTree.Element) -> str:
        """Text in the page's own font; rotated or moved as in the file."""
        transform = NUMBER.sub(lambda match: _number(float(match[0])), NO_ROTATION.sub("", node.get("transform", "")))
        place = f' transform="{transform}"' if transform else ""
        place += "".join(f' {key}="{_number(float(node.get(key, 0)))}"' for key in ("x", "y") if key in node.attrib)
        spans = "".join(f"<tspan>{escape(child.text or '')}</tspan>" for child in node)
        return f"<text{place}{self._class(node)}>{escape(node.text or '')}{spans}</text>"

    def _class(self, node: ElementTree.Element, *names: str) -> str:
        """The class attribute of an element: a style that many share is written once, on the page."""
        style = _short_style(node.get("style", ""))
        names = (*names, self.page.looks.setdefault(style, f"f{len(self.page.looks)}")) if style else names
        return f' class="{" ".join(names)}"' if names else ""


@lru_cache(maxsize=4096)  # 100,000 elements have some hundred styles and some twenty markers
def _short_style(style: str) -> str:
    """What a style says beyond the defaults, in the colors of the theme; empty where it says nothing."""
    pairs = (part.split(": ", 1) for part in style.split("; ") if part)
    short = ";".join(f"{key}:{value}" for key, value in pairs if DEFAULT.get(key) != value and key != "font-family")
    return _themed(short) if short else ""


@lru_cache(maxsize=4096)
def _marker_path(path: str) -> str:
    return short_path(path, digits=2)


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


def _number(value: float, digits: int = 1) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return {"-0": "0"}.get(text, text)


def short_path(path: str, x: float = 0, y: float = 0, digits: int = 1) -> str:
    """A path of SVG, moved by x and y, with fewer digits; a line through many points as steps from one to the next."""
    words = path.split()
    if set(words[::3]) == {"M", "L"} and words.count("M") == 1 and words[0] == "M" and len(words) > 6 and digits == 1:
        points = [(round(10 * (float(a) + x)), round(10 * (float(b) + y))) for a, b in zip(words[1::3], words[2::3], strict=True)]
        steps = [value for (a, b), (c, d) in pairwise(points) for value in (c - a, d - b)]
        return f"M{_joined(points[0])}l{_joined(steps)}"
    place, parts = 0, list[str]()
    for word in words:
        if word.isalpha():
            parts.append(word)
            continue
        parts.append(_number(float(word) + (y if place % 2 else x), digits))
        place += 1
    return re.sub(r" ?([A-Za-z]) ?", r"\1", " ".join(parts))


def _joined(tenths: Iterable[int]) -> str:
    """Numbers in tenths as short as SVG allows: `5-.3.1` is 5, -0.3 and 0.1."""
    text, fraction = "", False
    for value in tenths:
        whole, tenth = divmod(abs(value), 10)
        word = ("-" if value < 0 else "") + (str(whole) if whole or not tenth else "") + (f".{tenth}" if tenth else "")
        joins = not text or word[0] == "-" or (word[0] == "." and fraction)
        text += word if joins else f" {word}"
        fraction = "." in word
    return text
