"""The probes as figures: attention by distance, what it is against length, score terms, similarity, and what a shift changes.

Encodings look as in the report's figure (colour, marker and dashes by group); heads differ in colour and dashes, terms in colour
and hatching. Drawn without pyplot, undated: the same data give the same bytes.
"""

import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli.plot import (
    COLOURS,
    DPI,
    HEAD_COLOURS,
    HEAD_DASHES,
    MARKERS,
    STYLE,
    UNDATED,
    WIDTH,
    FigureError,
    Look,
    as_bytes,
    head_colours,
)
from rpecli.report.load_probes import TaskProbes
from rpecli.report.probe_values import (
    ROUNDING,
    SHIFT_KINDS,
    SHIFT_MEASURES,
    ShiftLines,
    format_factor,
    pair_names,
    run_name,
    shift_value,
    similarity_matrix,
)  # fmt: skip
from rpecli.run.files import write_bytes
from rpecli.table import slug as table_slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TERMS = [HEAD_COLOURS[n] for n in (4, 5, 2, 0)]
HATCHES = ["", "///", "...", "xx"]
GREY: dict[str, Any] = {"color": "#777777", "linewidth": 0.9, "linestyle": ":", "zorder": 1}
LEGEND = 2.1  # inches at the right
PANEL = (2.2, 0.72)  # inches: height of a panel, room under and above it
Panels = Callable[[list[list["Axes"]]], None]
Figures = dict[str, "Figure"]
Measure = Callable[[dict[str, Any], dict[str, Any], int], float | None]  # run, length, layer -> a number


def write(folder: Path, data: dict[str, Any], shifts: ShiftLines) -> list[Path]:
    """Every figure there is something for, as png, svg and pdf. Raises FigureError where the folder cannot be written."""
    if folder.suffix.lstrip(".").lower() in UNDATED:
        kinds = "several figures, each as .png, .svg and .pdf, go into a folder"
        raise FigureError(f"{folder}: {kinds}: write for example {folder.with_suffix('')}")
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures(data, shifts).items():
            for kind in UNDATED:
                write_bytes(folder / f"{name}.{kind}", as_bytes(figure, kind))
                written.append(folder / f"{name}.{kind}")
    except OSError as error:
        raise FigureError(f"the figures cannot be written: {error}: choose another place") from error
    return written


def figures(data: dict[str, Any], shifts: ShiftLines) -> Figures:
    """`{"distance-RUN": ..., "entropy-TASK": ..., ...}`; `shifts` holds the lines of runs in `data`."""
    made: Figures = {f"distance-{slug(run_name(each))}": by_distance(each) for each in data["runs"] if each.get("lengths")}
    for task in dict.fromkeys(each["task"] for each in data["runs"]):
        runs = [each for each in data["runs"] if each["task"] == task]
        pairs = [pair for pair in data.get("similarity", []) if pair["task"] == task]
        made |= {f"{name}-{slug(task)}": figure for name, figure in of_task(runs, pairs, shifts).items()}
    return made


def of_report(looked: dict[str, TaskProbes]) -> dict[str, bytes]:
    """`{"why-PANEL-entropy.svg": ...}` for report.md."""
    return {
        f"why-{table_slug(title)}-{name}.svg": as_bytes(figure, "svg")
        for title, seen in looked.items()
        for name, figure in of_task(seen.runs, seen.pairs, {}).items()
    }


def of_task(runs: list[dict[str, Any]], pairs: list[dict[str, Any]], shifts: ShiftLines) -> Figures:
    """What sets the runs of one task side by side."""
    seen, made = [each for each in runs if each.get("lengths")], Figures()
    moved = [each for each in runs if run_name(each) in shifts]
    if seen:
        made |= {name: against_length(seen, *what) for name, what in AGAINST.items()}
    if any(each["patterned_heads"] for each in seen):
        made["rules"] = against_length([each for each in seen if each["patterned_heads"]], *RULES)
    if any(line["terms"] for each in seen for line in each["lengths"]):
        made["terms"] = terms([each for each in seen if each["lengths"][0]["terms"]])
    if pairs:
        made["similarity"] = similarity(pairs)
    if moved:
        made["shift"] = shift(moved, shifts)
    return made


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def by_distance(each: dict[str, Any]) -> "Figure":
    """A row of panels a layer, a column a length, a line a head; heads that look by a rule are named."""
    lengths, n_layer = each["lengths"], len(each["lengths"][0]["layers"])
    colours = head_colours(len(lengths[0]["layers"][0]))

    def fill(axes: list[list["Axes"]]) -> None:
        for layer, line in enumerate(axes):
            for panel, at in zip(line, lengths, strict=True):
                least = 0 if each["causal"] else 1 - at["sequence"]
                for n, head in enumerate(at["layers"][layer]):
                    distances = range(least, least + len(head["by_distance"]))
                    panel.plot(distances, head["by_distance"], color=colours[n], linestyle=HEAD_DASHES[n % len(HEAD_DASHES)],
                               linewidth=1.2, label=f"head {n + 1}")  # fmt: skip
                panel.set_ylim(0, 1)
                times = format_factor(at["length"], each["trained"])
                panel.set_title(f"layer {layer + 1}, length {at['length']} ({times})", loc="left", fontsize=8)
                panel.tick_params(labelleft=panel is line[0])
                if at["length"] == each["trained"]:
                    _named(panel, [found for found in each["patterned_heads"] if found["layer"] == layer + 1])
            line[0].set_ylabel("share of weight")
        for panel in axes[-1]:
            panel.set_xlabel("distance i-j")

    return _draw(f"{run_name(each)}: attention by distance, where answers are said", n_layer, len(lengths), fill)


def _named(panel: "Axes", found: list[dict[str, Any]]) -> None:
    if not found:
        return
    text = "\n".join(f"head {each['head']}: {each['rule']}" for each in found)
    panel.annotate(text, (0.98, 0.97), xycoords="axes fraction", fontsize=6, color="#444444", ha="right", va="top",
                   bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})  # fmt: skip


def _fact(name: str) -> Measure:
    """Mean over a layer's heads of a number that every head has."""

    def measure(each: dict[str, Any], line: dict[str, Any], layer: int) -> float | None:
        heads = line["layers"][layer] if layer < len(line["layers"]) else []
        return sum(head[name] for head in heads) / len(heads) if heads else None

    return measure


def function_share(each: dict[str, Any], line: dict[str, Any], layer: int) -> float | None:
    """Mean over a layer's heads of how much of their mean score is a function of i-j."""
    heads = line["scores"][layer] if line["scores"] and layer < len(line["scores"]) else []
    found = [head["r2"] for head in heads if head["r2"] is not None]
    return sum(found) / len(found) if found else None


def position_share(each: dict[str, Any], line: dict[str, Any], layer: int) -> float | None:
    """Mean over the heads of the first layer of how much of their position-position term is a function of i-j."""
    found = [head["toeplitz"]["r2"] for head in line["terms"] or [] if layer == 0]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


def kept_share(each: dict[str, Any], line: dict[str, Any], layer: int) -> float | None:
    """Mean over a layer's named heads of the weight that they keep by their rule."""
    found = [head["share"][str(line["length"])] for head in each["patterned_heads"] if head["layer"] == layer + 1]
    return sum(found) / len(found) if found else None


AGAINST: dict[str, tuple[Measure, str, str]] = {
    "attended": (_fact("distance"), "mean distance attended to", "how far back attention goes, mean of heads"),
    "entropy": (_fact("entropy"), "entropy of attention, nats", "how wide attention spreads, mean of heads"),
    "function": (
        function_share,
        "variance explained by f(i-j)",
        "how much of the mean score is a function of i-j, mean of heads",
    ),
}
RULES: tuple[Measure, str, str] = (kept_share, "share of weight", "heads that look by a rule: what they keep there, mean of them")


def against_length(runs: list[dict[str, Any]], measure: Measure, axis: str, title: str) -> "Figure":
    """A panel a layer, a line a run: mean over heads against length."""
    n_layer, known = max(len(each["lengths"][0]["layers"]) for each in runs), looks(runs)
    share = measure in (function_share, kept_share)

    def fill(axes: list[list["Axes"]]) -> None:
        for layer, panel in enumerate(axes[0]):
            for each in runs:
                at = [(line["length"], measure(each, line, layer)) for line in each["lengths"]]
                drawn = [(n, value) for n, value in at if value is not None]
                if drawn:
                    panel.plot(*zip(*drawn, strict=True), label=each["label"], clip_on=False, **known[each["label"]].line())
            if measure is AGAINST["entropy"][0]:
                equal = [(line["length"], line["layers"][0][0]["uniform"]) for line in runs[0]["lengths"]]
                panel.plot(*zip(*equal, strict=True), label="equal weights", **GREY)
            _powers(panel, [line["length"] for each in runs for line in each["lengths"]])
            panel.axvline(runs[0]["trained"], **GREY)
            panel.set_ylim(0, 1 if share else None)
            panel.set_title(f"layer {layer + 1}", loc="left", fontsize=8)
            panel.set_xlabel("length (dotted: trained)")
        axes[0][0].set_ylabel(axis)

    return _draw(f"{runs[0]['task']}: {title}", 1, n_layer, fill)


def terms(runs: list[dict[str, Any]]) -> "Figure":
    """A row a length from the trained one on; a bar a head, its four terms stacked, above it how much of the position term is a
    function of i-j."""
    told = {line["length"] / each["trained"] for each in runs for line in each["lengths"] if line["terms"]}
    factors = sorted(times for times in told if times >= 1)

    def fill(axes: list[list["Axes"]]) -> None:
        for (panel,), times in zip(axes, factors, strict=True):
            found = [(each, line["terms"] or []) for each in runs for line in each["lengths"]
                     if line["length"] == times * each["trained"]]  # fmt: skip
            _bars(panel, [(each, heads) for each, heads in found if heads])
            panel.set_title(f"{times:g}x the training length", loc="left", fontsize=8, pad=12)

    title = f"{runs[0]['task']}: first-layer scores by term (query-key), a bar a head; above: position term that is f(i-j)"
    return _draw(title, len(factors), 1, fill)


def _bars(panel: "Axes", found: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
    bars = [head for _, heads in found for head in heads]
    below = [0.0] * len(bars)
    for n, name in enumerate(bars[0]["share"]):
        values = [head["share"][name] for head in bars]
        panel.bar(range(len(bars)), values, bottom=below, color=TERMS[n], hatch=HATCHES[n], edgecolor="white", linewidth=0.5,
                  width=0.8, label=name)  # fmt: skip
        below = [a + b for a, b in zip(below, values, strict=True)]
    for x, head in enumerate(bars):
        fit = head["toeplitz"]["r2"]
        panel.annotate("-" if fit is None else f"{100 * fit:.0f}%", (x, 1), (0, 2), textcoords="offset points", ha="center",
                       fontsize=6 if len(bars) < 30 else 4)  # fmt: skip
    start = 0
    for each, heads in found:
        panel.annotate(f"{each['label']} s{each['seed']}", (start + (len(heads) - 1) / 2, 0), (0, -16),
                       textcoords="offset points", ha="center", va="top", fontsize=7)  # fmt: skip
        start += len(heads)
        panel.axvline(start - 0.5, color="#BBBBBB", linewidth=0.6)
    panel.set_xticks(range(len(bars)), [str(head["head"]) for head in bars])
    panel.set_xlim(-0.6, len(bars) - 0.4)
    panel.set_ylim(0, 1)
    panel.set_ylabel("share of variance")


def similarity(pairs: list[dict[str, Any]]) -> "Figure":
    """Encodings against encodings, brightness and number; runs where each is of an encoding of its own."""
    by_label = len({label for pair in pairs for label in pair["labels"]}) < len({name for p in pairs for name in pair_names(p)})
    cells = similarity_matrix(pairs, (lambda pair: pair["labels"]) if by_label else pair_names)
    names = sorted({name for key in cells for name in key})
    values = [[cells.get((row, name), float("nan" if by_label else 1)) for name in names] for row in names]

    def fill(axes: list[list["Axes"]]) -> None:
        panel = axes[0][0]
        panel.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if value == value:
                    panel.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=max(3, min(7, 60 // len(names))),
                               color="white" if value < 0.5 else "black")  # fmt: skip
        panel.set_xticks(range(len(names)), [str(n + 1) for n in range(len(names))])
        panel.set_yticks(range(len(names)), [f"{name}  {n + 1}" for n, name in enumerate(names)], fontsize=6)

    title = f"{pairs[0]['task']}: similarity of attention, 1 - JS/ln 2, heads paired, mean of layers"
    title += " and of pairs of runs" if by_label else ""
    return _draw(title, 1, 1, fill, tall=max(1.0, len(names) / 10), left=2.6)


def shift(runs: list[dict[str, Any]], lines: ShiftLines) -> "Figure":
    """A row a measure, logits first; later positions at the left, prefixes at the right."""
    known = looks(runs)

    def fill(axes: list[list["Axes"]]) -> None:
        for row, measure in enumerate(SHIFT_MEASURES):
            for panel, (probe, words) in zip(axes[row], SHIFT_KINDS.items(), strict=True):
                found = {run_name(each): [line for line in lines[run_name(each)] if line["probe"] == probe] for each in runs}
                for each in runs:
                    at = [(line["shift"], shift_value(line, measure)) for line in found[run_name(each)]]
                    look = known[each["label"]].line()
                    panel.plot(*zip(*at, strict=True), label=each["label"], clip_on=False, **look)
                if row == 0:
                    _still(panel, [each["label"] for each in runs if _rests(found[run_name(each)])])
                _powers(panel, [line["shift"] for each in found.values() for line in each])
                panel.set_title(words, loc="left", fontsize=8)
        every = [line for each in runs for line in lines[run_name(each)]]
        for row, (measure, words) in enumerate(SHIFT_MEASURES.items()):
            axes[row][0].set_ylabel(textwrap.fill(words.partition(" (")[0], 28))
            for panel in axes[row]:
                if measure.split("_")[0] in ROUNDING:
                    panel.set_yscale("symlog", linthresh=ROUNDING[measure.split("_")[0]])
                panel.set_ylim(0, max(1.0, 2 * max(line[measure] for line in every)) if "_mean" in measure else 1)
        for panel in axes[-1]:
            panel.set_xlabel("moved by")

    return _draw(f"{runs[0]['task']}: the same strings, moved", len(SHIFT_MEASURES), 2, fill, left=0.8)


def _rests(lines: list[dict[str, Any]]) -> bool:
    return all(line["logits_max"] < ROUNDING["logits"] for line in lines)


def _still(panel: "Axes", encodings: list[str]) -> None:
    """ShiftLines that lie on one another at 0 are named."""
    if encodings:
        text = textwrap.fill(f"no change: {', '.join(dict.fromkeys(encodings))}", 48)
        panel.annotate(text, (0.02, 0.04), xycoords="axes fraction", fontsize=6.5, color="#444444", va="bottom")


# -------------------------------------------------------------------------------------------------------------------- frame


def _draw(title: str, rows: int, columns: int, fill: Panels, tall: float = 1.0, left: float = 0.6) -> "Figure":
    """A grid of panels under a title, the legend of them all at the right."""
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
        _legend(figure, [panel for line in axes for panel in line], 1 - 0.55 / height)
    return figure


def _legend(figure: "Figure", panels: list["Axes"], top: float) -> None:
    found = [zip(*reversed(panel.get_legend_handles_labels()), strict=True) for panel in panels]
    once = dict(entry for entries in found for entry in entries)
    if once:
        figure.legend(once.values(), once.keys(), loc="upper left", bbox_to_anchor=(1 - LEGEND / WIDTH, top), frameon=False,
                      handlelength=3, borderaxespad=0, fontsize=7.5)  # fmt: skip


def _powers(panel: "Axes", values: Iterable[int]) -> None:
    """A logarithmic axis marked at what was measured."""
    panel.set_xscale("log", base=2)
    marks = sorted(set(values))
    panel.set_xticks(marks, [str(mark) for mark in marks])
    panel.set_xticks([], minor=True)


def looks(runs: list[dict[str, Any]]) -> dict[str, Look]:
    """A look for each label, by its group; seeds of one share it."""
    made: dict[str, Look] = {}
    for group, label in sorted({(each["group"] or "RPE", each["label"]) for each in runs}):
        place = sum(look.group == group for look in made.values())
        made[label] = Look(group, COLOURS[group][place % len(COLOURS[group])], MARKERS[place % len(MARKERS)])
    return made
