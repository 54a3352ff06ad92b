"""The probes as figures: attention by distance, entropy against length, score terms, similarity, and what a shift changes.

Encodings look as in the report's figure (colour, marker and dashes by group); heads differ in colour and dashes, terms in colour
and hatching. Drawn without pyplot, undated: the same data give the same bytes.
"""

import io
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli import run
from rpecli.report import ReportError
from rpecli.report.figure import COLOURS, DPI, MARKERS, STYLE, WIDTH, Look
from rpecli.report.portrait_figure import COLOURS as HEADS
from rpecli.report.portrait_figure import DASHES, UNDATED, _colours
from rpecli.report.probe_text import ROUNDING, WORDS, Lines, alike, factor, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("svg", "png")
TERMS = [HEADS[4], HEADS[5], HEADS[2], HEADS[0]]
HATCHES = ["", "///", "...", "xx"]
GREY: dict[str, Any] = {"color": "#777777", "linewidth": 0.9, "linestyle": ":", "zorder": 1}
LEGEND = 2.1  # inches at the right
PANEL = (2.2, 0.72)  # inches: height of a panel, room under and above it
Panels = Callable[[list[list["Axes"]]], None]


def write(folder: Path, data: dict[str, Any], shifts: Lines) -> list[Path]:
    """Every figure there is something for, as svg and png. Raises ReportError where the folder cannot be written."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures(data, shifts).items():
            for kind, content in figure.items():
                run.replace(folder / f"{name}.{kind}", content)
                written.append(folder / f"{name}.{kind}")
    except OSError as error:
        raise ReportError(f"the figures cannot be written: {error}: choose another place") from error
    return written


def figures(data: dict[str, Any], shifts: Lines) -> dict[str, dict[str, bytes]]:
    """`{"distance-RUN": {"svg": ..., "png": ...}, "entropy-TASK": ..., ...}`; `shifts` holds the lines of runs in `data`."""
    made: dict[str, dict[str, bytes]] = {}
    for each in data["runs"]:
        if each.get("lengths"):
            made[f"distance-{slug(name_of(each))}"] = by_distance(each)
    for task in dict.fromkeys(each["task"] for each in data["runs"]):
        runs = [each for each in data["runs"] if each["task"] == task]
        seen = [each for each in runs if each.get("lengths")]
        moved = [each for each in runs if name_of(each) in shifts]
        pairs = [pair for pair in data.get("similarity", []) if set(pair["runs"]) <= {each["run"] for each in runs}]
        if seen:
            made[f"entropy-{slug(task)}"] = entropy(seen)
        if any(each["terms"] for each in seen):
            made[f"terms-{slug(task)}"] = terms([each for each in seen if each["terms"]])
        if pairs:
            made[f"similarity-{slug(task)}"] = similarity(pairs)
        if moved:
            made[f"shift-{slug(task)}"] = shift(moved, shifts)
    return made


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def by_distance(each: dict[str, Any]) -> dict[str, bytes]:
    """A row of panels a layer, a column a length, a line a head."""
    lengths, n_layer = each["lengths"], len(each["scores"])
    colours = _colours(len(each["scores"][0]))

    def fill(axes: list[list["Axes"]]) -> None:
        for layer, line in enumerate(axes):
            for panel, at in zip(line, lengths, strict=True):
                least = 0 if each["causal"] else 1 - at["sequence"]
                for n, head in enumerate(at["layers"][layer]):
                    distances = range(least, least + len(head["by_distance"]))
                    panel.plot(distances, head["by_distance"], color=colours[n], linestyle=DASHES[n % len(DASHES)],
                               linewidth=1.2, label=f"head {n + 1}")  # fmt: skip
                panel.set_ylim(0, 1)
                times = factor(at["length"], each["trained"])
                panel.set_title(f"layer {layer + 1}, length {at['length']} ({times})", loc="left", fontsize=8)
                panel.tick_params(labelleft=panel is line[0])
            line[0].set_ylabel("share of weight")
        for panel in axes[-1]:
            panel.set_xlabel("distance i-j")

    return _draw(f"{name_of(each)}: attention by distance, where answers are said", n_layer, len(lengths), fill)


def entropy(runs: list[dict[str, Any]]) -> dict[str, bytes]:
    """A panel a layer, a line a run: mean over heads against length; dotted: equal weights."""
    n_layer, known = max(len(each["scores"]) for each in runs), _looks(runs)

    def fill(axes: list[list["Axes"]]) -> None:
        for layer, panel in enumerate(axes[0]):
            for each in runs:
                at = [(line["length"], line["layers"][layer]) for line in each["lengths"] if layer < len(line["layers"])]
                mean = [sum(head["entropy"] for head in heads) / len(heads) for _, heads in at]
                panel.plot([n for n, _ in at], mean, label=each["encoding"], **known[each["encoding"]].line())
                if each is runs[0]:
                    panel.plot([n for n, _ in at], [heads[0]["uniform"] for _, heads in at], label="equal weights", **GREY)
            _powers(panel, [line["length"] for each in runs for line in each["lengths"]])
            panel.axvline(runs[0]["trained"], **GREY)
            panel.set_ylim(bottom=0)
            panel.set_title(f"layer {layer + 1}", loc="left", fontsize=8)
            panel.set_xlabel("length (dotted: trained)")
        axes[0][0].set_ylabel("entropy of attention, nats")

    return _draw(f"{runs[0]['task']}: how wide attention spreads, mean of heads", 1, n_layer, fill)


def terms(runs: list[dict[str, Any]]) -> dict[str, bytes]:
    """A bar a head, its four terms stacked; above it how much of the position term is a function of i-j."""
    bars = [(each, head) for each in runs for head in each["terms"]]

    def fill(axes: list[list["Axes"]]) -> None:
        panel, below = axes[0][0], [0.0] * len(bars)
        for n, name in enumerate(bars[0][1]["share"]):
            values = [head["share"][name] for _, head in bars]
            panel.bar(range(len(bars)), values, bottom=below, color=TERMS[n], hatch=HATCHES[n], edgecolor="white", linewidth=0.5,
                      width=0.8, label=name)  # fmt: skip
            below = [a + b for a, b in zip(below, values, strict=True)]
        for x, (_, head) in enumerate(bars):
            fit = head["toeplitz"]["plain"]
            panel.annotate("-" if fit is None else f"{100 * fit:.0f}%", (x, 1), (0, 2), textcoords="offset points", ha="center",
                           fontsize=6 if len(bars) < 30 else 4)  # fmt: skip
        start = 0
        for each in runs:
            panel.annotate(f"{each['encoding']} s{each['seed']}", (start + (len(each["terms"]) - 1) / 2, 0), (0, -16),
                           textcoords="offset points", ha="center", va="top", fontsize=7)  # fmt: skip
            start += len(each["terms"])
            panel.axvline(start - 0.5, color="#BBBBBB", linewidth=0.6)
        panel.set_xticks(range(len(bars)), [str(head["head"]) for _, head in bars])
        panel.set_xlim(-0.6, len(bars) - 0.4)
        panel.set_ylim(0, 1)
        panel.set_ylabel("share of variance within rows")

    title = f"{runs[0]['task']}: first-layer scores by term (query-key), a bar a head; above: position term that is f(i-j)"
    return _draw(title, 1, 1, fill)


def similarity(pairs: list[dict[str, Any]]) -> dict[str, bytes]:
    """Runs against runs, brightness and number."""
    names = list(dict.fromkeys(name for pair in pairs for name in pair["runs"]))
    cells = [[1.0] * len(names) for _ in names]
    for pair in pairs:
        a, b = (names.index(name) for name in pair["runs"])
        cells[a][b] = cells[b][a] = alike(pair)

    def fill(axes: list[list["Axes"]]) -> None:
        panel = axes[0][0]
        panel.imshow(cells, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for y, row in enumerate(cells):
            for x, value in enumerate(row):
                panel.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=max(3, min(7, 60 // len(names))),
                           color="white" if value < 0.5 else "black")  # fmt: skip
        panel.set_xticks(range(len(names)), [str(n + 1) for n in range(len(names))])
        panel.set_yticks(range(len(names)), [f"{name}  {n + 1}" for n, name in enumerate(names)], fontsize=6)

    title = f"{pairs[0]['task']}: similarity of attention, 1 - JS/ln 2, heads paired, mean of layers"
    return _draw(title, 1, 1, fill, tall=max(1.0, len(names) / 10), left=2.6)


def shift(runs: list[dict[str, Any]], lines: Lines) -> dict[str, bytes]:
    """Change of logits above, predictions changed below; later positions at the left, fillers at the right."""
    known = _looks(runs)

    def fill(axes: list[list["Axes"]]) -> None:
        for row, measure in enumerate(("logits_mean", "changed")):
            for panel, (probe, words) in zip(axes[row], WORDS.items(), strict=True):
                found = {name_of(each): [line for line in lines[name_of(each)] if line["probe"] == probe] for each in runs}
                for each in runs:
                    at = [(line["shift"], line[measure]) for line in found[name_of(each)]]
                    look = known[each["encoding"]].line()
                    panel.plot(*zip(*at, strict=True), label=each["encoding"], clip_on=False, **look)
                if row == 0:
                    _still(panel, [each["encoding"] for each in runs if _rests(found[name_of(each)])])
                _powers(panel, [line["shift"] for each in found.values() for line in each])
                panel.set_title(words, loc="left", fontsize=8)
        most = max(line["logits_mean"] for each in runs for line in lines[name_of(each)])
        for panel in axes[0]:
            panel.set_yscale("symlog", linthresh=ROUNDING["logits"])
            panel.set_ylim(0, max(1.0, 2 * most))
        for panel in axes[1]:
            panel.set_ylim(0, 1)
            panel.set_xlabel("moved by")
        axes[0][0].set_ylabel("mean change of a logit")
        axes[1][0].set_ylabel("share of predictions changed")

    return _draw(f"{runs[0]['task']}: the same strings, moved", 2, 2, fill)


def _rests(lines: list[dict[str, Any]]) -> bool:
    return all(line["logits_max"] < ROUNDING["logits"] for line in lines)


def _still(panel: "Axes", encodings: list[str]) -> None:
    """Lines that lie on one another at 0 are named."""
    if encodings:
        text = textwrap.fill(f"no change: {', '.join(dict.fromkeys(encodings))}", 48)
        panel.annotate(text, (0.02, 0.04), xycoords="axes fraction", fontsize=6.5, color="#444444", va="bottom")


# -------------------------------------------------------------------------------------------------------------------- frame


def _draw(title: str, rows: int, columns: int, fill: Panels, tall: float = 1.0, left: float = 0.6) -> dict[str, bytes]:
    """A grid of panels under a title, the legend of the first panel at the right."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        high = PANEL[0] * tall
        height = rows * (high + PANEL[1]) + 0.32
        figure = Figure(figsize=(WIDTH, height), dpi=DPI)
        FigureCanvasAgg(figure)
        wide = (WIDTH - left - LEGEND) / columns
        corners = [[(left + c * wide, height - 0.55 - high - r * (high + PANEL[1])) for c in range(columns)] for r in range(rows)]
        size = (wide - 0.4) / WIDTH, high / height
        axes = [[figure.add_axes((x / WIDTH, y / height, *size)) for x, y in line] for line in corners]
        fill(axes)
        figure.text(0.1 / WIDTH, 1 - 0.08 / height, title, fontsize=9.5, fontweight="bold", color="#222222", va="top")
        _legend(figure, axes[0][0], 1 - 0.55 / height)
        return {kind: _bytes(figure, kind) for kind in KINDS}


def _legend(figure: "Figure", panel: "Axes", top: float) -> None:
    handles, labels = panel.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        figure.legend(once.values(), once.keys(), loc="upper left", bbox_to_anchor=(1 - LEGEND / WIDTH, top), frameon=False,
                      handlelength=3, borderaxespad=0, fontsize=7.5)  # fmt: skip


def _bytes(figure: "Figure", kind: str) -> bytes:
    into = io.BytesIO()
    figure.savefig(into, format=kind, metadata=UNDATED[kind])
    return into.getvalue()


def _powers(panel: "Axes", values: Iterable[int]) -> None:
    """A logarithmic axis marked at what was measured."""
    panel.set_xscale("log", base=2)
    marks = sorted(set(values))
    panel.set_xticks(marks, [str(mark) for mark in marks])
    panel.set_xticks([], minor=True)


def _looks(runs: list[dict[str, Any]]) -> dict[str, Look]:
    """A look for each encoding, by its group; seeds of one share it."""
    made: dict[str, Look] = {}
    for group, encoding in sorted({(each["group"] or "RPE", each["encoding"]) for each in runs}):
        place = sum(look.group == group for look in made.values())
        made[encoding] = Look(group, COLOURS[group][place % len(COLOURS[group])], MARKERS[place % len(MARKERS)])
    return made
