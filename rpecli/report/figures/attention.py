"""Attention against length, as figures: mean distance, entropy, functions of the distance, patterned heads.

A run is the line of its inspection in probes.jsonl with `run`, `task`, `encoding`, `label`, `title`, `group` and `seed`. A line
of a figure is the mean over the runs of one label.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rpecli import plot
from rpecli.catalog import GROUPS
from rpecli.plot import UNDATED, FigureError, SeriesStyle
from rpecli.report import stats
from rpecli.report.aggregate import natural_key
from rpecli.report.figures.distance import ByLabel, distance_figure
from rpecli.report.figures.heads import heads_figure
from rpecli.report.figures.invariance import ShiftLines, shift_figure
from rpecli.report.figures.layout import (
    PANEL,
    Drawing,
    Layout,
    Subplot,
    balanced,
    band_entry,
    draw,
    line_entry,
    named_at_ends,
)
from rpecli.report.figures.line_ends import line_ends
from rpecli.report.figures.score_terms import has_terms, similarity_figure, terms_figure
from rpecli.report.figures.series import LENGTHS, SHARES, Series, add_series, length_axis, share_axis, value_axis, value_limits
from rpecli.report.load_probes import InspectedRun, SimilarityPair
from rpecli.report.probe_values import mean_or_none, run_name
from rpecli.report.stats import Summary
from rpecli.run.files import write_files
from rpecli.run.records import LengthAttention, ShiftLine
from rpecli.table import plural
from rpecli.titles import display

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Measure = Callable[[InspectedRun, LengthAttention, int], float | None]  # run, its entry of one length, layer -> a number


def write(folder: Path, data: dict[str, Any], shifts: dict[str, list[ShiftLine]]) -> list[Path]:
    """Draws every figure that there are data for, as png, svg and pdf. `shifts` has the lines of shifts by run.

    Raises FigureError if the folder cannot be written.
    """
    check_folder(folder)
    drawings = figures(data, shifts)
    files = {name: content for stem, drawing in drawings.items() for name, content in drawing.files(stem).items()}
    try:
        return write_files(folder, files)
    except OSError as error:
        raise FigureError(f"the figures cannot be written: {error}: choose another place") from error


def check_folder(folder: Path) -> None:
    """Raises FigureError for the name of a figure in the place of a folder."""
    if folder.suffix.lstrip(".").lower() in UNDATED:
        kinds = "several figures, each as .png, .svg and .pdf, go into a folder"
        raise FigureError(f"{folder}: {kinds}: write for example {folder.with_suffix('')}")


def figures(data: dict[str, Any], shifts: dict[str, list[ShiftLine]]) -> dict[str, Drawing]:
    """`{"heads-RUN": ..., "entropy-TASK": ..., ...}` of inspected runs."""
    drawings = {f"heads-{_slug(run_name(run))}": heads_figure(run) for run in data["runs"] if run.get("lengths")}
    for task in dict.fromkeys(run["task"] for run in data["runs"]):
        runs = _told_apart([run for run in data["runs"] if run["task"] == task])
        styles = _styles(runs)
        pairs = [pair for pair in data.get("similarity", []) if pair["task"] == task]
        shifted: ShiftLines = {}
        for run in runs:
            shifted.setdefault(run["label"], []).extend([shifts[run_name(run)]] if run_name(run) in shifts else [])
        shown = display("tasks", task)
        drawings |= {f"{name}-{_slug(task)}": drawing for name, drawing in task_figures(shown, runs, pairs, styles).items()}
        if any(shifted.values()):
            drawings[f"shift-{_slug(task)}"] = shift_figure(shown, shifted, styles)
    return drawings


def _styles(runs: list[InspectedRun]) -> dict[str, SeriesStyle]:
    """A style per label, by group and then by name."""
    ordered = sorted(runs, key=lambda run: (GROUPS.index(run["group"]), natural_key(run["title"].lower())))
    variants = {run["label"]: (run, run["label"].removeprefix(run["encoding"])) for run in ordered}
    return {label: plot.series_style(run["encoding"], run["group"], run["title"], variant)
            for label, (run, variant) in variants.items()}  # fmt: skip


def _told_apart(runs: list[InspectedRun]) -> list[InspectedRun]:
    """Runs of one label are seeds of each other; where they are not, their own names become their labels."""
    by_label: dict[str, list[tuple[Any, Any]]] = {}
    for run in runs:
        by_label.setdefault(run["label"], []).append((run["seed"], run.get("train_length")))
    seeds = {label for label, pairs in by_label.items() if len({*pairs}) == len(pairs) and len({n for _, n in pairs}) == 1}
    return [run if run["label"] in seeds else run | {"label": run_name(run), "title": run_name(run)} for run in runs]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def task_figures(
    task: str, runs: list[InspectedRun], pairs: list[SimilarityPair], styles: dict[str, SeriesStyle]
) -> dict[str, Drawing]:
    """What compares the runs of one task: the names of AGAINST, `distance`, `terms`, `similarity`, where there are data."""
    runs = [run for run in runs if run.get("lengths")]
    by_label: ByLabel = {}
    for run in runs:
        by_label.setdefault(run["label"], []).append(run)
    drawings = {name: against_length(task, by_label, name, styles) for name in AGAINST if runs and _has(by_label, name)}
    if runs:
        drawings["distance"] = distance_figure(task, by_label, styles)
    if any(map(has_terms, runs)):
        drawings["terms"] = terms_figure(task, [run for run in runs if has_terms(run)])
    if pairs:
        drawings["similarity"] = similarity_figure(task, pairs, {label: style.title for label, style in styles.items()})
    return drawings


def _mean_over_heads(name: Literal["distance", "entropy"]) -> Measure:
    """The mean over a layer's heads of a number that every head has."""

    def measure(run: InspectedRun, at: LengthAttention, layer: int) -> float | None:
        heads = at["layers"][layer] if layer < len(at["layers"]) else []
        return mean_or_none(head[name] for head in heads)

    return measure


def function_of_distance(run: InspectedRun, at: LengthAttention, layer: int) -> float | None:
    """The mean over a layer's heads of how much of their mean score is a function of i-j."""
    heads = at["scores"][layer] if at["scores"] and layer < len(at["scores"]) else []
    return mean_or_none(head["r2"] for head in heads)


def pattern_weight(run: InspectedRun, at: LengthAttention, layer: int) -> float | None:
    """The mean over a layer's patterned heads of the weight that they give to the position of their pattern."""
    return mean_or_none(head["share"][str(at["length"])] for head in run["patterned_heads"] if head["layer"] == layer + 1)


AGAINST: dict[str, tuple[Measure, str, str]] = {  # measure, label of the axis, title
    "mean-distance": (_mean_over_heads("distance"), "distance i-j", "mean attention distance"),
    "entropy": (_mean_over_heads("entropy"), "entropy (nats)", "attention entropy"),
    "function": (function_of_distance, "R² (%)", "variance of the mean score explained by a function of i-j (R²)"),
    "patterns": (pattern_weight, "attention weight (%)", "patterned heads: attention weight on their pattern"),
}
OF_SHARES = ("function", "patterns")


def _layers(by_label: ByLabel) -> int:
    return max(len(run["lengths"][0]["layers"]) for runs in by_label.values() for run in runs)


def _has(by_label: ByLabel, name: str) -> bool:
    return any(_points(runs, name, layer) for runs in by_label.values() for layer in range(_layers(by_label)))


def _points(runs: list[InspectedRun], name: str, layer: int) -> dict[int, Summary]:
    """One measure of one layer by length, over the runs of a label."""
    measure = AGAINST[name][0]
    values: dict[int, list[float]] = {}
    for run in runs:
        for at in run["lengths"]:
            value = measure(run, at, layer)
            values.setdefault(at["length"], []).extend([] if value is None else [value])
    summaries = {length: stats.summary(numbers) for length, numbers in sorted(values.items())}
    return {length: summary for length, summary in summaries.items() if summary}


@dataclass(frozen=True)
class LayerPanel:
    """One measure of one layer against length: a line per label."""

    name: str  # of AGAINST
    layer: int
    lines: dict[str, dict[int, Summary]]
    run: InspectedRun  # any of them: the training length and the entropy of uniform attention are the same
    styles: dict[str, SeriesStyle]

    @property
    def uniform(self) -> dict[int, float]:
        return {at["length"]: at["layers"][0][0]["uniform"] for at in self.run["lengths"]} if self.name == "entropy" else {}

    @property
    def highest(self) -> float:
        return max([*self.uniform.values(), *(summary.high for points in self.lines.values() for summary in points.values())])

    def subplot(self, task: str) -> Subplot:
        _, label, title = AGAINST[self.name]
        alt = f"{title} against length in layer {self.layer + 1} on {task}, mean over heads and seeds: {self._words()}."
        ends = {label: (max(points), points[max(points)].mean) for label, points in self.lines.items()}
        limits = SHARES if self.name in OF_SHARES else value_limits(self.highest)
        names, layer = line_ends(self.styles, ends, limits, PANEL), f"layer {self.layer + 1}"
        return Subplot(self.draw, f"{title}, {layer}", alt, layer, label, ends=names)

    def _words(self) -> str:
        """The first and the last value of every line."""
        words = []
        for label, points in self.lines.items():
            ends = dict.fromkeys((min(points), max(points)))
            words.append(f"{self.styles[label].title} {', '.join(f'{points[n].mean:.3g} at {n}' for n in ends)}")
        return "; ".join(words)

    def draw(self, drawing: Drawing, axes: "Axes") -> None:
        lengths = sorted({length for points in self.lines.values() for length in points})
        length_axis(drawing, axes, lengths, self.run["train_length"])
        if self.uniform:
            (line,) = axes.plot(list(self.uniform), list(self.uniform.values()), **plot.CHANCE)
            drawing.tip(line, None, ["uniform attention"])
        share_axis(axes) if self.name in OF_SHARES else value_axis(axes, self.highest)
        for label, points in self.lines.items():
            add_series(drawing, axes, Series(self.styles[label], points, _words))


def against_length(task: str, by_label: ByLabel, name: str, styles: dict[str, SeriesStyle]) -> Drawing:
    """One measure against length: a panel per layer, a line per label, its band over runs."""
    run, panels = next(iter(by_label.values()))[0], []
    for layer in range(_layers(by_label)):
        lines = {label: points for label, runs in by_label.items() if (points := _points(runs, name, layer))}
        panels += [LayerPanel(name, layer, lines, run, styles).subplot(task)] if lines else []
    references = [band_entry()] if any(len(runs) > 1 for runs in by_label.values()) else []
    references += [line_entry("uniform attention", **plot.CHANCE)] if name == "entropy" else []
    shown = {label: style for label, style in styles.items() if label in by_label}
    rows, entries = named_at_ends(balanced(panels), shown, *references)
    return draw(rows, Layout(f"{task}: {AGAINST[name][2]}, mean over heads", LENGTHS, entries))


def _words(length: int, summary: Summary) -> str:
    return f"at {length}: {summary.mean:.3g}, {plural(summary.n, 'run')}"
