"""A portrait in characters: facts as a table, score against distance in Braille dots, the map of queries and keys in shades."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rpecli import table as tables

HEADS = 8  # drawn in a terminal
SAME = 1e-3  # changes of scores below it are rounding
LABEL, PLOT, HIGH = 7, 29, 4  # characters: the label of an axis, a plot's width and height
MAP, SHADES = (32, 16), "·░▒▓█"
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # bits of a Braille cell, by column and row
EDGE = "┊"
BY_DISTANCE, BY_PAIR = "Score against distance i-j", "Score by query and key"
FILLED = 100  # characters of a docstring's line, from which on it ends where its width did

Values = list[float | None]


def facts(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Everything but the curves, as label and words."""
    rows = {
        "encoding": data["encoding"],
        "what it does": data["summary"],
        "group": data["group"],
        "paper": f"{data['paper']} ({data['year']})" if data["year"] else data["paper"],
        "options": ", ".join(_options(data)),
        "acts on": "; ".join(data["acts"]),
        "kernel": f"{data['kernel']}: {data['cost']}",
        "channels": _channels(data["channels"]),
        "learns": _parameters(data["parameters"]),
        "shift invariant": _shift(data),
        "attention": "causal only" if data["causal_only"] else "causal or in both directions",
        "past trained": data["extrapolation"],
    }
    return [(label, words or "none") for label, words in rows.items()]


def _options(data: dict[str, Any]) -> Iterator[str]:
    for key, option in data["options"].items():
        value, default = str(option["value"]), str(option["default"])
        yield f"{key}={value}" + (f" (default {default})" if value.lower() != default.lower() else "")


def _channels(channels: dict[str, int]) -> str:
    own, compared = channels["model"], channels["compared"]
    return f"{own} a head" + (f", {compared} as compared" if compared != own else "")


def _parameters(parameters: dict[str, int]) -> str:
    words = {"layer": "a layer", "shared": "for all layers"}
    return ", ".join(f"{number:,} parameters {words[key]}" for key, number in parameters.items() if number) or "nothing"


def _shift(data: dict[str, Any]) -> str:
    shift = data["shift"]
    claim = "yes" if shift["claimed"] else "no"
    holds = shift["change"] < SAME
    verdict = (
        ""
        if holds == shift["claimed"]
        else ", which is not what it claims"
        if shift["claimed"]
        else ", though it does not claim so"
    )
    return f"{claim}: moving all positions by {shift['by']} changed scores by at most {shift['change']:.2g}{verdict}"


# ------------------------------------------------------------------------------------------------------------------ curves


def curves(data: dict[str, Any]) -> str:
    """A plot a head, two side by side, all on one scale."""
    lines = [head["mean"] for head in data["heads"][:HEADS]]
    low, high = _range(value for line in lines for value in line)
    plots = [_plot(f"head {n + 1}", line, low, high, data["shape"]["trained"]) for n, line in enumerate(lines)]
    pairs = [plots[n : n + 2] for n in range(0, len(plots), 2)]
    rows = ["  ".join(parts).rstrip() for pair in pairs for parts in zip(*pair, strict=True)]
    more = len(data["heads"]) - HEADS
    return "\n".join([*rows, *([f"and {more} more heads: --json, --out FILE.svg"] if more > 0 else [])])


def _range(values: Iterable[float | None]) -> tuple[float, float]:
    """The least and greatest value; a range around a constant."""
    seen = [value for value in values if value is not None] or [0.0]
    low, high = min(seen), max(seen)
    return (low, high) if high > low else (low - 1, high + 1)


def _plot(title: str, line: Values, low: float, high: float, trained: int) -> list[str]:
    edge = round(trained / (len(line) - 1) * (PLOT - 1))
    cells = _braille(line, low, high)
    rows = ["".join(EDGE if n == edge and cell == "⠀" else cell for n, cell in enumerate(row)) for row in cells]
    labels = [_label(high), *[""] * (HIGH - 2), _label(low)]
    body = [f"{label:>{LABEL}} │{row}" for label, row in zip(labels, rows, strict=True)]
    axis = _axis({0: 0, edge: trained, PLOT - 1: len(line) - 1}, PLOT)
    return [f"{'':{LABEL}}  {title:{PLOT}}", *body, f"{'':{LABEL}}  {axis}"]


def _braille(line: Values, low: float, high: float) -> list[str]:
    """The line in dots, two a character across and four down, steps joined."""
    wide, tall = 2 * PLOT, 4 * HIGH
    bits = [[0] * PLOT for _ in range(HIGH)]
    before: int | None = None
    for x in range(wide):
        value = line[round(x / (wide - 1) * (len(line) - 1))]
        y = None if value is None else round((high - value) / (high - low) * (tall - 1))
        for dot in _between(before, y):
            bits[dot // 4][x // 2] |= DOTS[x % 2][dot % 4]
        before = y
    return ["".join(chr(0x2800 + cell) for cell in row) for row in bits]


def _between(before: int | None, y: int | None) -> range:
    """The dots that join the last column's dot to this one's."""
    if y is None:
        return range(0)
    if before is None or before == y:
        return range(y, y + 1)
    return range(before + 1, y + 1) if before < y else range(y, before)


def _label(value: float) -> str:
    return f"{value:.3g}"


def _axis(marks: dict[int, int], width: int) -> str:
    """Numbers under their columns, left ones first."""
    text = ""
    for column, number in marks.items():
        word = str(number)
        start = max(len(text) + (1 if text else 0), min(column - len(word) // 2, width - len(word)))
        text = text.ljust(start) + word
    return text.ljust(width)


# --------------------------------------------------------------------------------------------------------------------- map


def shades(data: dict[str, Any]) -> str:
    """The head average for every query and key, coarse, with a legend beside it."""
    average, trained = data["average"], data["shape"]["trained"]
    cells = [[_mean(average, r, c) for c in range(MAP[0])] for r in range(MAP[1])]
    low, high = _range(value for row in cells for value in row)
    marks = {0: 0, trained * MAP[1] // len(average): trained, MAP[1] - 1: len(average) - 1}
    rows = [f"{marks.get(n, ''):>{LABEL}} │{''.join(_shade(each, low, high) for each in row)}" for n, row in enumerate(cells)]
    axis = _axis({0: 0, trained * MAP[0] // len(average): trained, MAP[0] - 1: len(average) - 1}, MAP[0])
    legend = [
        "mean of all heads",
        "down: query i, across: key j",
        f"past {trained}: not trained",
        "",
        *_legend(low, high),
        "  not seen",
    ]
    beside = [*legend, *[""] * (len(rows) - len(legend))]
    body = [f"{row}   {words}".rstrip() for row, words in zip(rows, beside, strict=True)]
    return "\n".join([*body, f"{'':{LABEL}}  {axis}".rstrip()])


def _mean(average: list[Values], row: int, column: int) -> float | None:
    """The mean of one block of the map."""
    size = len(average)
    rows = range(row * size // MAP[1], max(row * size // MAP[1] + 1, (row + 1) * size // MAP[1]))
    columns = range(column * size // MAP[0], max(column * size // MAP[0] + 1, (column + 1) * size // MAP[0]))
    seen = [value for i in rows for j in columns if (value := average[i][j]) is not None]
    return math.fsum(seen) / len(seen) if seen else None


def _shade(value: float | None, low: float, high: float) -> str:
    return " " if value is None else SHADES[min(len(SHADES) - 1, int((value - low) / (high - low) * len(SHADES)))]


def _legend(low: float, high: float) -> list[str]:
    step = (high - low) / len(SHADES)
    return [f"{SHADES[n]} {_label(low + n * step)} to {_label(low + (n + 1) * step)}" for n in reversed(range(len(SHADES)))]


# ------------------------------------------------------------------------------------------------------------------- whole


def terminal(data: dict[str, Any]) -> list[RenderableType]:
    """What `rpe show` prints on a screen, 80 columns or more."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, words in facts(data):
        table.add_row(label, Text(words))
    parts: list[RenderableType] = [table, ""]
    if data["about"]:
        parts += [Text(flow(data["about"]), style="dim", overflow="fold"), ""]
    return [*parts, Text(BY_DISTANCE, style="bold"), Text(_caption(data)), "", Text(curves(data)), "",
            Text(BY_PAIR, style="bold"), "", Text(shades(data))]  # fmt: skip


def flow(about: str) -> str:
    """A docstring for any width: filled lines run on, lines that were laid out with spaces stay lines, without the spaces."""
    text = ""
    for line in about.splitlines():
        spaced = re.sub(r"(?<=\S) {2,}|^ {20,}", "  ", line)
        text += spaced + (" " if len(line) >= FILLED and "  " not in line else "\n")
    return text.rstrip()


def _caption(data: dict[str, Any]) -> str:
    shape = data["shape"]
    return (
        f"{data['shown'][0].upper()}{data['shown'][1:]}. {EDGE} marks the trained length, {shape['trained']}; "
        f"heads {shape['n_head']}, of width {shape['d_model'] // shape['n_head']}."
    )


def markdown(data: dict[str, Any]) -> str:
    """The same for a pipe or a file."""
    parts = [
        f"# {data['encoding']}",
        tables.Table("", ["fact", "value"], "ll", list(map(list, facts(data)))).markdown(padded=False),
        f"```text\n{data['about']}\n```" if data["about"] else "",
        f"## {BY_DISTANCE}",
        _caption(data),
        f"```text\n{curves(data)}\n```",
        f"## {BY_PAIR}",
        f"```text\n{shades(data)}\n```",
    ]
    return "\n\n".join(filter(None, parts))
