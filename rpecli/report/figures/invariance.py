"""What a shift of the content changes, as a figure: a row of panels per measure, a column per kind of shift."""

import math
from functools import partial
from typing import TYPE_CHECKING

from rpecli.plot import SeriesStyle
from rpecli.report import stats
from rpecli.report.figures.layout import Drawing, Layout, Subplot, band_entry, draw, legend
from rpecli.report.figures.series import Series, add_series, share_axis
from rpecli.report.probe_values import ROUNDING, SHIFT_KINDS, shift_value
from rpecli.report.stats import Summary
from rpecli.report.tables.invariance import KINDS
from rpecli.run.records import ShiftLine
from rpecli.table import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = {
    "changed": "predictions changed (%)",
    "exact_match": "exact match (%)",
    "attention": "attention weight that moved (%)",
    "kl_mean": "KL divergence (nats)",
    "logits_mean": "mean change of a logit",
}
UNDER = 0.34  # inches, room for one line of tick labels
ShiftLines = dict[str, list[list[ShiftLine]]]  # by label: the runs, and the lines of every run


def shift_figure(task: str, shifts: ShiftLines, styles: dict[str, SeriesStyle]) -> Drawing:
    """Every measure by every kind of shift, a line per label with its range over runs."""
    rows = []
    for measure in MEASURES:
        points = {kind: _points(shifts, measure, kind) for kind in KINDS}
        rows += [[_subplot(task, measure, kind, points[kind], styles) for kind in KINDS if points[kind]]]
    several = any(len(runs) > 1 for runs in shifts.values())
    shown = {label: style for label, style in styles.items() if label in shifts}
    title = f"{task}: what a shift of the content changes"
    layout = Layout(title, "shift (tokens)", legend(shown, *([band_entry()] if several else [])), panel=1.6, under=UNDER)
    return draw([row for row in rows if row], layout)


def _points(shifts: ShiftLines, measure: str, kind: str) -> dict[str, dict[int, Summary]]:
    """One measure by the size of the shift, over the runs of every label."""
    points = {}
    for label, runs in shifts.items():
        values: dict[int, list[float]] = {}
        for line in [line for lines in runs for line in lines if line["probe"] == kind and measure in line]:
            values.setdefault(line["shift"], []).append(shift_value(line, measure))
        points[label] = {by: summary for by, numbers in sorted(values.items()) if (summary := stats.summary(numbers))}
    return {label: summaries for label, summaries in points.items() if summaries}


def _subplot(
    task: str, measure: str, kind: str, points: dict[str, dict[int, Summary]], styles: dict[str, SeriesStyle]
) -> Subplot:
    title = f"{MEASURES[measure].removesuffix(' (%)')}, {KINDS[kind]}"
    by_label = {label: dict.fromkeys((min(summaries), max(summaries))) for label, summaries in points.items()}
    ends = [f"{styles[label].title} " + ", ".join(f"{points[label][by].mean:.3g} +{by}" for by in sizes)
            for label, sizes in by_label.items()]  # fmt: skip
    heading = SHIFT_KINDS[kind] if measure == next(iter(MEASURES)) else ""
    alt = f"{title} on {task}, mean over seeds: {'; '.join(ends)}."
    draw_panel = partial(_draw, measure=measure, points=points, styles=styles)
    return Subplot(draw_panel, title, alt, heading, MEASURES[measure], measure)


def _draw(
    drawing: Drawing, axes: "Axes", measure: str, points: dict[str, dict[int, Summary]], styles: dict[str, SeriesStyle]
) -> None:
    shifts = sorted({by for summaries in points.values() for by in summaries})
    axes.set_xscale("log", base=2)
    axes.set_xticks(shifts, [f"+{by}" for by in shifts])
    axes.set_xticks([], minor=True)
    rounding = ROUNDING.get(measure.split("_")[0])
    if rounding:
        highest = max(summary.high for summaries in points.values() for summary in summaries.values())
        _logarithmic(axes, rounding, max(1.0, 2 * highest))
    else:
        share_axis(axes)
    for label, summaries in points.items():
        add_series(drawing, axes, Series(styles[label], summaries, _words))


def _logarithmic(axes: "Axes", rounding: float, top: float) -> None:
    """A vertical axis of powers of ten, linear below what is rounding."""
    first, last = round(math.log10(rounding)), math.floor(math.log10(top))
    powers = [10.0**power for power in range(last, first, -max(1, (last - first) // 4))]
    axes.set_yscale("symlog", linthresh=rounding)
    axes.set_ylim(0, top)
    axes.set_yticks([0, *powers], ["0", *(f"{power:g}".replace("e-0", "e-") for power in powers)])
    axes.set_yticks([], minor=True)
    axes.grid(axis="y")


def _words(by: int, summary: Summary) -> str:
    return f"shifted by {by}: {summary.mean:.3g}, {plural(summary.n, 'run')}"
