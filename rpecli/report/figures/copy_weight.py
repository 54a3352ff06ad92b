"""The figure of how much weight copying heads keep beyond training: one panel, a line per encoding."""

from functools import partial
from typing import TYPE_CHECKING

from rpecli.plot import SeriesStyle
from rpecli.report.copy_weight import CopyWeight
from rpecli.report.figures.layout import PANEL, Drawing, Layout, Subplot, band_entry, draw, legend, named_at_ends
from rpecli.report.figures.line_ends import line_ends
from rpecli.report.figures.series import LENGTHS, SHARES, Series, add_series, length_axis, length_words, shade, share_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def copy_weight_figure(weight: CopyWeight, styles: dict[str, SeriesStyle]) -> Drawing:
    """One panel."""
    ends = {label: (max(points), points[max(points)].mean) for label, points in weight.points.items()}
    title = f"{weight.task}: weight of the strongest head that attends {weight.back}"
    subplot = Subplot(
        partial(_draw, weight=weight, styles=styles), title=title, alt=weight.sentence, label="attention weight (%)",
        ends=line_ends(styles, ends, SHARES, PANEL),
    )  # fmt: skip
    shown = {label: style for label, style in styles.items() if label in weight.points}
    rows, _ = named_at_ends([[subplot]], shown)
    return draw(rows, Layout(below=LENGTHS, legend=legend(shown, band_entry())))


def _draw(drawing: Drawing, axes: "Axes", weight: CopyWeight, styles: dict[str, SeriesStyle]) -> None:
    length_axis(drawing, axes, sorted({length for points in weight.points.values() for length in points}), weight.train_length)
    share_axis(axes)
    for label, points in weight.points.items():
        words = partial(length_words, train_length=weight.train_length)
        add_series(drawing, axes, Series(styles[label], points, words), shade(len(weight.points)))
