"""What panels have in common: lines with bands over seeds, axes of accuracies, and axes of lengths."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpecli.plot import DPI, QUIET, REFERENCE, SeriesStyle
from rpecli.report.figures.layout import Drawing
from rpecli.report.format import format_factor
from rpecli.report.measures import TOKENS, Measure
from rpecli.report.stats import Summary
from rpecli.table import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = 16  # of one line at most: every validation of a long training would be a line of dots
CLEAR = 0.06  # inches between the labels of an axis: about a digit
SHARES = (-0.02, 1.03)  # the limits of an axis of shares
QUARTERS, PERCENT = [0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"]
ROUND = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8))  # first digits of round numbers, from the fewest
LENGTHS = "test length (multiple of the training length)"
BAND = 0.13  # opacity of a band; less where many bands lie on one another


@dataclass(frozen=True)
class Series:
    """Summaries over runs along an axis, and the style of their line."""

    style: SeriesStyle
    points: Mapping[int, Summary]
    words: Callable[[int, Summary], str]  # of one point, for those who point at it


def add_series(drawing: Drawing, axes: "Axes", series: Series, shade: float = BAND) -> None:
    """Means as a line with markers, and a band from the lowest to the highest run."""
    places, summaries = list(series.points), list(series.points.values())
    every = -(-len(places) // MARKERS)
    means = [summary.mean for summary in summaries]
    (line,) = axes.plot(places, means, zorder=3, clip_on=False, markevery=every, **series.style.line())
    words = [series.words(place, summary) for place, summary in series.points.items()]
    drawing.tip(line, series.style.title, [f"{series.style.title} {text}" for text in words[::every]])
    if any(summary.low < summary.high for summary in summaries):
        low, high = [summary.low for summary in summaries], [summary.high for summary in summaries]
        band = axes.fill_between(places, low, high, color=series.style.color, alpha=shade, linewidth=0, zorder=2)
        drawing.tip(band, series.style.title)


def length_words(length: int, summary: Summary, train_length: int, measure: Measure = TOKENS) -> str:
    """A point of an axis of lengths: `at 32 (2x): 84 % (80 to 88), 3 runs`."""
    return f"at {length} ({format_factor(length, train_length)}): {measure.write_range(summary)}, {plural(summary.n, 'run')}"


def shade(number: int) -> float:
    """The opacity of a band among so many."""
    return min(BAND, 0.9 / max(1, number))


def limits_of(summaries: Sequence[Summary], others: Iterable[float] = ()) -> tuple[float, float]:
    """The limits of an axis that shows these ranges and other values, with room around."""
    ends = [*(summary.low for summary in summaries), *(summary.high for summary in summaries), *others] or [0.0, 1.0]
    room = 0.05 * (max(ends) - min(ends)) or 0.1
    return min(ends) - room, max(ends) + room


def share_axis(axes: "Axes") -> None:
    """A vertical axis from 0 to 1 in per cent, with its grid."""
    axes.set_ylim(*SHARES)
    axes.set_yticks(QUARTERS, PERCENT)
    axes.grid(axis="y")


def perplexity_axis(axes: "Axes", limits: tuple[float, float]) -> None:
    """A vertical axis in nats per token, marked with round perplexities, with its grid."""
    low, high = (math.exp(end) for end in limits)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = next(
        (steps for steps in ROUND if sum(low <= step * 10**n <= high for step in steps for n in exponents) >= 3), ROUND[-1]
    )
    ticks = [step * 10**n for n in exponents for step in steps if low <= step * 10**n <= high]
    axes.set_ylim(*limits)
    axes.set_yticks([math.log(tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.grid(axis="y")


def value_axis(axes: "Axes", highest: float, percent: bool = False) -> None:
    """A vertical axis from 0 to a round number above the highest value, with its grid."""
    if percent:
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}")
    axes.set_ylim(*value_limits(highest))
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y")


def value_limits(highest: float) -> tuple[float, float]:
    return -0.02 * highest, 1.06 * highest or 1


def length_axis(drawing: Drawing, axes: "Axes", lengths: list[int], trained: int) -> None:
    """A logarithmic axis with a tick per length, and a line that marks the training length."""
    first, last = min(lengths[0], trained), max(lengths[-1], trained)
    span = max(1.0, math.log2(last / first))
    axes.set_xscale("log", base=2)
    axes.set_xlim(first * 2 ** (-0.13 * span), last * 2 ** ((0.06 if last < 10**5 else 0.1) * span))  # long numbers stick out
    _length_ticks(axes, lengths, trained)
    drawing.tip(axes.axvline(trained, **REFERENCE), None, ["training length"])
    axes.annotate(
        f"trained to {trained}", (trained, 1), (0, 1), xycoords=("data", "axes fraction"), textcoords="offset points",
        ha="center" if trained > lengths[0] else "left", va="bottom", fontsize=7, color=QUIET,
    )  # fmt: skip


def _length_ticks(axes: "Axes", lengths: list[int], trained: int) -> None:
    """A tick at every length, labeled where its label, as wide as it is drawn, stands clear of the others.

    The training length and both ends are labeled before what lies between them.
    """
    labels = {length: f"{length}\n{format_factor(length, trained)}" for length in lengths}
    axes.set_xticks(list(labels), list(labels.values()))
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [label.get_window_extent(renderer) for label in axes.get_xticklabels()]
    spans = {length: (box.x0, box.x1 + CLEAR * DPI) for length, box in zip(labels, boxes, strict=True)}
    ends = [length for length in (trained, lengths[-1], lengths[0]) if length in labels]
    shown: list[int] = []
    for length in dict.fromkeys([*ends, *labels]):
        if all(spans[length][0] >= spans[other][1] or spans[length][1] <= spans[other][0] for other in shown):
            shown.append(length)
    axes.set_xticks(sorted(shown), [labels[length] for length in sorted(shown)])
    rest = [length for length in labels if length not in shown]
    axes.set_xticks(rest, [""] * len(rest), minor=True)
