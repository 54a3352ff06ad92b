"""A profile of an encoding as text: facts as a table, score against distance in Braille dots, the map of scores in shades."""

import math
import re
from typing import TYPE_CHECKING, Any

from rpecli.describe.effect import EncodingProfile, value_range
from rpecli.escape import fenced, visible
from rpecli.escape import markdown as markdown_text
from rpecli.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

MAX_HEADS = 8  # drawn in a terminal
ROUNDING = 1e-3  # smaller changes of scores are rounding
LABEL, PLOT_WIDTH, PLOT_HEIGHT = 7, 29, 4  # characters: the label of an axis, a plot
MAP_WIDTH, MAP_HEIGHT, SHADES = 32, 16, "·░▒▓█"
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # bits of a Braille cell, by column and row
TRAIN_LENGTH_MARK = "┊"
BY_DISTANCE, BY_PAIR = "Score against distance i-j", "Score by query and key"
FULL_LINE = 100  # characters of a docstring's line from which on it was broken only because its width was used up

Values = list[float | None]


def facts_table(profile: EncodingProfile) -> Table:
    """Everything but the curves, one row per fact."""
    channels = profile.channels
    parameters = {"per layer": profile.parameters["layer"], "for all layers": profile.parameters["shared"]}
    facts = {
        "encoding": profile.encoding,
        "what it does": profile.summary,
        "group": profile.group,
        "paper": f"{profile.paper} ({profile.year})" if profile.year else profile.paper,
        "options": ", ".join(_option(key, **option) for key, option in profile.options.items()),
        "acts on": "; ".join(profile.acts_on),
        "kernel": f"{profile.kernel}: {profile.cost}",
        "channels": f"{channels['model']} per head"
        + (f", {channels['compared']} as compared" if channels["compared"] != channels["model"] else ""),
        "learns": ", ".join(f"{number:,} parameters {where}" for where, number in parameters.items() if number) or "nothing",
        "shift invariant": _shift(profile),
        "attention": "causal only" if profile.causal_only else "causal or in both directions",
        "past training length": profile.extrapolation,
    }
    return Table("", ["fact", "value"], "ll", [[name, value or "none"] for name, value in facts.items()])


def _option(name: str, value: Any, default: Any) -> str:
    changed = str(value).lower() != str(default).lower()
    return f"{name}={value}" + (f" (default {default})" if changed else "")


def _shift(profile: EncodingProfile) -> str:
    """The claim of shift invariance and what was measured."""
    claimed, change, shift = profile.shift["claimed"], profile.shift["change"], profile.shift["by"]
    remark = {(True, False): ", which contradicts the claim", (False, True): ", although it does not claim to be"}
    text = f"{'yes' if claimed else 'no'}: shifting all positions by {shift} changed scores by at most {change:.2g}"
    return text + remark.get((claimed, change < ROUNDING), "")


def curves(profile: EncodingProfile) -> str:
    """One plot per head, two side by side, all on one scale."""
    means = [head["mean"] for head in profile.heads[:MAX_HEADS]]
    low, high = value_range(value for mean in means for value in mean)
    plots = [_plot(f"head {n + 1}", mean, (low, high), profile.shape["train_length"]) for n, mean in enumerate(means)]
    pairs = [plots[n : n + 2] for n in range(0, len(plots), 2)]
    rows = ["  ".join(parts).rstrip() for pair in pairs for parts in zip(*pair, strict=True)]
    n_omitted = len(profile.heads) - MAX_HEADS
    return "\n".join([*rows, *([f"and {n_omitted} more heads: --json, --out FILE.svg"] if n_omitted > 0 else [])])


def _plot(title: str, values: Values, limits: tuple[float, float], train_length: int) -> list[str]:
    """The lines of one plot: title, curve, axis."""
    mark = round(train_length / (len(values) - 1) * (PLOT_WIDTH - 1))
    rows = ["".join(TRAIN_LENGTH_MARK if n == mark and cell == "⠀" else cell for n, cell in enumerate(row))
            for row in braille(values, *limits)]  # fmt: skip
    labels = [f"{limits[1]:.3g}", *[""] * (PLOT_HEIGHT - 2), f"{limits[0]:.3g}"]
    body = [f"{label:>{LABEL}} │{row}" for label, row in zip(labels, rows, strict=True)]
    axis = _axis({0: 0, mark: train_length, PLOT_WIDTH - 1: len(values) - 1}, PLOT_WIDTH)
    return [f"{'':{LABEL}}  {title:{PLOT_WIDTH}}", *body, f"{'':{LABEL}}  {axis}"]


def braille(values: Values, low: float, high: float) -> list[str]:
    """A curve in PLOT_HEIGHT rows of Braille cells, two dots across and four down per cell; steps are joined."""
    width, height = 2 * PLOT_WIDTH, 4 * PLOT_HEIGHT
    cells = [[0] * PLOT_WIDTH for _ in range(PLOT_HEIGHT)]
    previous: int | None = None
    for x in range(width):
        value = values[round(x / (width - 1) * (len(values) - 1))]
        y = None if value is None else round((high - value) / (high - low) * (height - 1))
        for dot in _joined(previous, y):
            cells[dot // 4][x // 2] |= DOTS[x % 2][dot % 4]
        previous = y
    return ["".join(chr(0x2800 + bits) for bits in row) for row in cells]


def _joined(previous: int | None, y: int | None) -> range:
    """The dots of a column: its own, and those that join it to the previous column's."""
    if y is None:
        return range(0)
    if previous is None or previous == y:
        return range(y, y + 1)
    return range(previous + 1, y + 1) if previous < y else range(y, previous)


def _axis(marks: dict[int, int], width: int) -> str:
    """Numbers under their columns, from the left."""
    text = ""
    for column, number in marks.items():
        label = str(number)
        start = max(len(text) + (1 if text else 0), min(column - len(label) // 2, width - len(label)))
        text = text.ljust(start) + label
    return text.ljust(width)


def shades(profile: EncodingProfile) -> str:
    """The average over heads for every query and key, in MAP_HEIGHT rows of shades, with a legend beside them."""
    average, train_length = profile.average, profile.shape["train_length"]
    cells = [[_block_mean(average, row, column) for column in range(MAP_WIDTH)] for row in range(MAP_HEIGHT)]
    low, high = value_range(value for row in cells for value in row)
    labels = {0: 0, train_length * MAP_HEIGHT // len(average): train_length, MAP_HEIGHT - 1: len(average) - 1}
    marks = {0: 0, train_length * MAP_WIDTH // len(average): train_length, MAP_WIDTH - 1: len(average) - 1}
    step = (high - low) / len(SHADES)
    legend = [
        "mean of all heads",
        "down: query i, across: key j",
        f"past {train_length}: not trained",
        "",
        *(f"{SHADES[n]} {low + n * step:.3g} to {low + (n + 1) * step:.3g}" for n in reversed(range(len(SHADES)))),
        "  masked",
    ]
    legend += [""] * (MAP_HEIGHT - len(legend))
    body = [f"{labels.get(n, ''):>{LABEL}} │{''.join(_shade(value, low, high) for value in row)}   {legend[n]}".rstrip()
            for n, row in enumerate(cells)]  # fmt: skip
    return "\n".join([*body, f"{'':{LABEL}}  {_axis(marks, MAP_WIDTH)}".rstrip()])


def _block_mean(average: list[Values], row: int, column: int) -> float | None:
    """The mean of the queries and keys that one character of the map stands for; None if all are masked."""
    size = len(average)
    queries = range(row * size // MAP_HEIGHT, max(row * size // MAP_HEIGHT + 1, (row + 1) * size // MAP_HEIGHT))
    keys = range(column * size // MAP_WIDTH, max(column * size // MAP_WIDTH + 1, (column + 1) * size // MAP_WIDTH))
    values = [value for i in queries for j in keys if (value := average[i][j]) is not None]
    return math.fsum(values) / len(values) if values else None


def _shade(value: float | None, low: float, high: float) -> str:
    return " " if value is None else SHADES[min(len(SHADES) - 1, int((value - low) / (high - low) * len(SHADES)))]


def terminal(profile: EncodingProfile) -> list["RenderableType"]:
    """What `rpe show` prints in a terminal of 80 columns or more."""
    from rich.text import Text

    about: list[RenderableType] = [Text(flow(profile.about), style="dim", overflow="fold"), ""] if profile.about else []
    return [facts_table(profile), "", *about,
            Text(BY_DISTANCE, style="bold"), Text(_caption(profile)), "", Text(curves(profile)), "",
            Text(BY_PAIR, style="bold"), "", Text(shades(profile))]  # fmt: skip


def flow(about: str) -> str:
    """A docstring for any width: joins full lines with the next; lines laid out with spaces stay lines, without the spaces."""
    text, lines = "", visible(about).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        compact = re.sub(r"(?<=\S) {2,}|^ {20,}", "  ", line)
        text += compact + (" " if len(line) >= FULL_LINE and "  " not in line and following.strip() else "\n")
    return text.rstrip()


def _caption(profile: EncodingProfile) -> str:
    shape = profile.shape
    return (
        f"{profile.caption[0].upper()}{profile.caption[1:]}. {TRAIN_LENGTH_MARK} marks the training length, "
        f"{shape['train_length']}; {shape['n_head']} heads of width {shape['d_model'] // shape['n_head']}."
    )


def markdown(profile: EncodingProfile) -> str:
    """The same as Markdown, for a pipe or a file."""
    parts = [
        f"# {markdown_text(profile.encoding)}",
        facts_table(profile).markdown(padded=False),
        fenced(profile.about, "text") if profile.about else "",
        f"## {BY_DISTANCE}",
        _caption(profile),
        fenced(curves(profile), "text"),
        f"## {BY_PAIR}",
        fenced(shades(profile), "text"),
    ]
    return "\n\n".join(filter(None, parts))
