"""The figure of performance profiles: a panel per measure, the share of runs that score above each threshold."""

from functools import partial
from typing import TYPE_CHECKING

from rpecli.plot import FRAME, SeriesStyle
from rpecli.report.figures.layout import ONE_LINE, Drawing, Layout, Subplot, draw, legend, patch_entry
from rpecli.report.figures.series import PERCENT, SHARES, Series, add_series, shade, share_axis
from rpecli.report.format import format_number
from rpecli.report.measures import COMPARED
from rpecli.report.records import ProfilePoint
from rpecli.report.stats import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = dict[int, Summary]  # by threshold in per cent


def profiles_figure(points: list[ProfilePoint], styles: dict[str, SeriesStyle]) -> Drawing | None:
    """Exact match beside token accuracy; None without points."""
    if not points:
        return None
    measures = dict.fromkeys(point.measure for point in points)
    subplots = [_subplot(measure, _curves(points, measure), styles) for measure in measures]
    labels = {point.label for point in points}
    bands = [patch_entry("95 % bootstrap interval", facecolor=FRAME, alpha=0.35)] if points[0].low is not None else []
    entries = legend({label: style for label, style in styles.items() if label in labels}, *bands)
    return draw(
        [subplots], Layout(below="threshold (%), of the mean over log length beyond training", legend=entries, under=ONE_LINE)
    )


def _curves(points: list[ProfilePoint], measure: str) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for point in points:
        if point.measure == measure:
            low, high = (point.share if end is None else end for end in (point.low, point.high))
            curves.setdefault(point.label, {})[round(100 * point.threshold)] = Summary(point.share, low, high, point.runs)
    return curves


def _subplot(measure: str, curves: dict[str, Curve], styles: dict[str, SeriesStyle]) -> Subplot:
    name = COMPARED[measure].name
    return Subplot(
        partial(_draw, curves=curves, styles=styles), title=f"Runs above a threshold of {name}", heading=name,
        alt=_described(name, curves, styles), label="runs above it (%)", key=measure,
    )  # fmt: skip


def _draw(drawing: Drawing, axes: "Axes", curves: dict[str, Curve], styles: dict[str, SeriesStyle]) -> None:
    axes.set_xlim(*(100 * end for end in SHARES))
    axes.set_xticks([int(tick) for tick in PERCENT], PERCENT)
    share_axis(axes)
    for label, curve in curves.items():
        add_series(drawing, axes, Series(styles[label], curve, _words), shade(len(curves)))


def _words(threshold: int, summary: Summary) -> str:
    return f"above {threshold} %: {format_number(summary.mean)} of {summary.n} runs"


def _described(name: str, curves: dict[str, Curve], styles: dict[str, SeriesStyle]) -> str:
    """The panel in words: the share of runs above one half."""
    halves = [f"{styles[label].title} {format_number(curve[50].mean)}" for label, curve in curves.items()]
    return f"Share of runs with {name} beyond training above 50 %: {'; '.join(halves)}."
