"""The figure: a panel per task and training length, accuracy against length, a line per encoding with its range over seeds.

Groups show at first sight: APE is warm and dashed, RPE cool and solid, none black and dotted; within a group colour and marker
differ together, so nothing hangs on colour alone. Drawn without pyplot: no global state, and the same runs give the same bytes.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from rpecli.catalog import GROUPS
from rpecli.plot import (
    CHANCE,
    CLEAR,
    COLOURS,
    COLUMNS,
    DPI,
    LEFT,
    MARKERS,
    STYLE,
    UNDATED,
    UNDER,
    WIDTH,
    Look,
    as_bytes,
    legends,
    place,
    tall,
)
from rpecli.report.aggregate import EncodingResults, TaskResults, natural_key
from rpecli.report.format import MEASURE_NAMES, format_factor
from rpecli.report.stats import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 2.05  # inches, height of a panel


def looks(panels: list[TaskResults]) -> dict[str, Look]:
    """A look for each label that has something to draw, in the order of the tables."""
    labels = {(GROUPS.index(row.group), row.label) for panel in panels for row in panel.encodings if row.by_length}
    made: dict[str, Look] = {}
    for group, label in sorted(labels, key=lambda pair: (pair[0], natural_key(pair[1]))):
        name = GROUPS[group]
        place = sum(look.group == name for look in made.values())
        made[label] = Look(name, COLOURS[name][place % len(COLOURS[name])], MARKERS[place % len(MARKERS)])
    return made


def draw(panels: list[TaskResults]) -> dict[str, bytes]:
    """`{"accuracy.png": ..., "accuracy.svg": ..., "accuracy.pdf": ...}`."""
    return drawn("accuracy", lambda figure: _compose(figure, [panel for panel in panels if panel.lengths]))


def drawn(name: str, compose: Callable[["Figure"], None]) -> dict[str, bytes]:
    """A figure in every format, by file name."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1), dpi=DPI)
        FigureCanvasAgg(figure)
        compose(figure)
    return {f"{name}.{kind}": as_bytes(figure, kind) for kind in UNDATED}


def _compose(figure: "Figure", panels: list[TaskResults]) -> None:
    """Panels from the top down (token accuracy above exact match; side by side for one task), the legend under them."""
    known = looks(panels)
    cells = _grid(panels)
    rows, columns = len(cells), max(len(line) for line in cells)
    titled = sum(any(title for _, _, title in line) for line in cells)
    blocks = legends(figure, known, any(len(row.evaluated_runs) > 1 for panel in panels for row in panel.encodings))
    foot = sum(map(tall, blocks))
    height = rows * (PANEL + UNDER) + titled * 0.28 + (rows - titled) * 0.05 + 0.35 + foot
    figure.set_size_inches(WIDTH, height)
    place(figure, blocks, height)
    figure.text(0.5, (foot + 0.2) / height, "length, and its multiple of the training length", ha="center", color="#333333")
    top = height - 0.05
    for line in cells:
        top -= 0.28 if any(title for _, _, title in line) else 0.05
        for column, (panel, measure, title) in enumerate(line):
            axes = figure.add_axes(box(column, columns, top, height))
            _panel(axes, panel, measure, known)
            axes.set_title(title, loc="left", fontweight="bold", color="#222222", pad=7)
            if column == 0 or len(panels) == 1:
                axes.set_ylabel(MEASURE_NAMES[measure])
            else:
                axes.tick_params(labelleft=False)
        top -= PANEL + UNDER


def _grid(panels: list[TaskResults]) -> list[list[tuple[TaskResults, str, str]]]:
    """Lines of (panel, measure, title): the title stands over the upper of a panel's two measures."""
    upper, lower = "token_accuracy", "exact_match"
    if len(panels) == 1:
        return [[(panels[0], upper, title_of(panels[0], panels)), (panels[0], lower, "")]]
    columns = math.ceil(len(panels) / math.ceil(len(panels) / COLUMNS))
    lines = []
    for start in range(0, len(panels), columns):
        these = panels[start : start + columns]
        lines += [[(panel, upper, title_of(panel, panels)) for panel in these], [(panel, lower, "") for panel in these]]
    return lines


def title_of(panel: TaskResults, panels: list[TaskResults]) -> str:
    """The task, with its training length where the task stands twice."""
    text = panel.title if sum(other.name == panel.name for other in panels) > 1 else panel.name
    return text if len(text) <= 28 else text[:13] + "..." + text[-13:]


def box(column: int, columns: int, top: float, height: float) -> tuple[float, float, float, float]:
    """Left, bottom, width, height of a panel as shares of the figure."""
    left, right = LEFT, 0.08
    gap = 0.2 if columns > 2 else 0.6
    width = (WIDTH - left - right - gap * (columns - 1)) / columns
    return ((left + column * (width + gap)) / WIDTH, (top - PANEL) / height, width / WIDTH, PANEL / height)


def _panel(axes: "Axes", panel: TaskResults, measure: str, known: dict[str, Look]) -> None:
    _frame(axes, panel)
    if measure == "token_accuracy" and panel.chance:
        lengths = sorted(panel.chance)
        axes.plot(lengths, [panel.chance[n] for n in lengths], zorder=1, **CHANCE)
    for row in panel.encodings:
        if any(measure in cell for cell in row.by_length.values()):
            _row(axes, row, measure, known[row.label], min(0.13, 0.9 / len(panel.encodings)))


def _row(axes: "Axes", row: EncodingResults, measure: str, look: Look, shade: float) -> None:
    found = {length: cell[measure] for length, cell in row.by_length.items() if measure in cell}
    line_of(axes, found, look, shade)


def line_of(axes: "Axes", found: dict[int, Summary], look: Look, shade: float, every: int = 1) -> None:
    """Means with a band from the lowest to the highest; `every` so many points has a marker."""
    at, values = list(found), list(found.values())
    axes.plot(at, [each.mean for each in values], zorder=3, clip_on=False, markevery=every, **look.line())
    if any(each.n > 1 for each in values):
        low, high = [each.low for each in values], [each.high for each in values]
        axes.fill_between(at, low, high, color=look.colour, alpha=shade, linewidth=0, zorder=2)


def accuracies(axes: "Axes") -> None:
    """A vertical axis of accuracies, with its grid."""
    axes.set_ylim(-0.02, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.50", "0.75", "1"])
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)


def _frame(axes: "Axes", panel: TaskResults) -> None:
    """Axes, ticks at evaluated lengths, and the line that says where training ended."""
    first, last = min(panel.lengths[0], panel.train_length), max(panel.lengths[-1], panel.train_length)
    axes.set_xscale("log", base=2)
    span = max(1.0, math.log2(last / first))
    axes.set_xlim(first * 2 ** (-0.13 * span), last * 2 ** ((0.06 if last < 10**5 else 0.1) * span))  # long numbers stick out
    accuracies(axes)
    _label(axes, panel)
    axes.axvline(panel.train_length, color="#777777", linewidth=0.9, linestyle=":", zorder=1)
    inside = panel.train_length > panel.lengths[0]  # text over lines wants a ground of its own
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0} if inside else None
    axes.annotate(
        f"trained to {panel.train_length}", (panel.train_length, 0.03), (-2.5, 0), textcoords="offset points", rotation=90,
        ha="right",
        va="bottom", fontsize=6.5, color="#666666", bbox=ground, zorder=4,
    )  # fmt: skip


def _label(axes: "Axes", panel: TaskResults) -> None:
    """A tick at every evaluated length, labelled where its label, as wide as it is drawn, stands clear of the others.

    The training length and both ends are labelled before what lies between them.
    """
    words = {n: f"{n}\n{format_factor(n, panel.train_length)}" for n in panel.lengths}
    axes.set_xticks(list(words), list(words.values()))
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [label.get_window_extent(renderer) for label in axes.get_xticklabels()]
    spans = {n: (box.x0, box.x1 + CLEAR * DPI) for n, box in zip(words, boxes, strict=True)}
    ends = (panel.train_length, panel.lengths[-1], panel.lengths[0])
    shown: list[int] = []
    for n in dict.fromkeys([*(n for n in ends if n in words), *words]):
        if all(spans[n][0] >= spans[other][1] or spans[n][1] <= spans[other][0] for other in shown):
            shown.append(n)
    axes.set_xticks(sorted(shown), [words[n] for n in sorted(shown)])
    rest = [n for n in words if n not in shown]
    axes.set_xticks(rest, [""] * len(rest), minor=True)
