"""Attention weight by distance, as a figure: a panel per length, a line per encoding, in the last layer."""

import math
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rpecli import plot
from rpecli.plot import QUIET, SeriesStyle
from rpecli.report.figures.layout import ONE_LINE, Drawing, Layout, Subplot, balanced, draw, legend
from rpecli.report.figures.series import share_axis, value_axis
from rpecli.report.format import format_percent
from rpecli.report.load_probes import InspectedRun
from rpecli.report.probe_values import line_at
from rpecli.run.records import LengthAttention

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WEIGHT = "attention weight (%)"
POINTS = 200  # of a curve; of more, the highest of every few neighbors
TICKS = 3  # at least, between the first and the last distance
ByLabel = dict[str, list[InspectedRun]]


@dataclass(frozen=True)
class Curve:
    """Attention weight by distance, and the look of its line."""

    label: str  # of the series that it belongs to
    words: str
    weights: dict[int, float]
    look: dict[str, Any]
    part: str = ""  # of a crowded panel, of which a page shows one part at a time

    def peaks(self) -> dict[int, float]:
        """At most POINTS points; of more, the highest of every few neighbors."""
        distances, every = list(self.weights), -(-len(self.weights) // POINTS)
        parts = (distances[start : start + every] for start in range(0, len(distances), every))
        return {distance: self.weights[distance] for part in parts for distance in [max(part, key=self.weights.__getitem__)]}


def distance_figure(task: str, by_label: ByLabel, styles: dict[str, SeriesStyle]) -> Drawing:
    """The last layer: a panel per length from the trained one on, a line per label, mean over heads and runs."""
    factors = {at["length"] / run["train_length"] for runs in by_label.values() for run in runs for at in run["lengths"]}
    subplots = [_encodings_subplot(task, by_label, styles, times) for times in sorted(factors) if times >= 1]
    shown = {label: style for label, style in styles.items() if label in by_label}
    title = f"{task}: attention weight by distance in the last layer, mean over heads and runs"
    return draw(balanced(subplots), Layout(title, "distance i-j", legend(shown), under=ONE_LINE))


def _encodings_subplot(task: str, by_label: ByLabel, styles: dict[str, SeriesStyle], times: float) -> Subplot:
    curves, peaks = [], []
    for label, runs in by_label.items():
        weights, style = _mean_over_heads(runs, times), styles[label]
        if weights:
            curves.append(Curve(style.title, style.title, weights, {"color": style.color, "linestyle": plot.DASHES[style.group]}))
            peaks.append(
                f"{style.title} most at {max(weights, key=weights.__getitem__)}, {format_percent(max(weights.values()))}"
            )
    title = f"attention weight by distance i-j, last layer, at {times:g}x the training length"
    alt = f"{title} on {task}, mean over heads and seeds: {'; '.join(peaks)}."
    return Subplot(partial(draw_curves, curves=curves), title, alt, f"{times:g}x the training length", WEIGHT)


def _mean_over_heads(runs: list[InspectedRun], times: float) -> dict[int, float]:
    """The last layer at a multiple of the training length, mean over its heads and over runs."""
    entries = [(run, at) for run in runs if (at := line_at(run, times))]
    heads = [head["by_distance"] for _, at in entries for head in at["layers"][-1]]
    return dict(enumerate(map(fmean, zip(*heads, strict=False)), first_distance(*entries[0]))) if entries else {}


def first_distance(run: InspectedRun, at: LengthAttention) -> int:
    """The distance i-j that the first value of `by_distance` is of."""
    return 0 if run["causal"] else 1 - int(at["sequence"])


def draw_curves(drawing: Drawing, axes: "Axes", curves: list[Curve], highest: float | None = None, note: str = "") -> None:
    for curve in curves:
        points = curve.peaks()
        (line,) = axes.plot(list(points), list(points.values()), linewidth=1.2, clip_on=False, **curve.look)
        drawing.tip(line, curve.label, [curve.words], curve.part)
    highest = highest or max(max(curve.weights.values()) for curve in curves)
    share_axis(axes) if highest > 0.5 else value_axis(axes, highest, percent=True)
    distances = [distance for curve in curves for distance in (min(curve.weights), max(curve.weights))]
    first, last = min(distances), max(distances)
    axes.set_xlim(first - 0.02 * (last - first), last + 0.02 * (last - first))
    step = 2 ** max(0, math.floor(math.log2(max(1, last - first) / TICKS)))
    axes.set_xticks(range(-(-first // step) * step, last + 1, step))
    if note:
        axes.annotate(note, (1, 0.97), xycoords="axes fraction", fontsize=6, color=QUIET, ha="right", va="top")
