"""The figure of perplexity by place in the sequence: a panel per length, a line per encoding."""

from functools import partial
from typing import TYPE_CHECKING

from rpecli.plot import REFERENCE, SeriesStyle
from rpecli.report.aggregate import TaskResults
from rpecli.report.figures.layout import (
    ONE_LINE,
    PANEL,
    Drawing,
    Layout,
    Subplot,
    balanced,
    draw,
    named_at_ends,
)
from rpecli.report.figures.line_ends import line_ends
from rpecli.report.figures.series import Series, add_series, limits_of, perplexity_axis, shade
from rpecli.report.format import format_factor
from rpecli.report.measures import PERPLEXITY
from rpecli.report.places import Places, places_by_length
from rpecli.report.stats import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4  # of panels


def places_figure(task: TaskResults, styles: dict[str, SeriesStyle]) -> Drawing | None:
    """None where no run recorded its nats by place."""
    by_length = places_by_length(task)
    if not by_length:
        return None
    summaries = [summary for all_places in by_length.values() for one in all_places for summary in one.by_place.values()]
    limits = limits_of(summaries)
    subplots = [_subplot(task, length, all_places, styles, limits) for length, all_places in by_length.items()]
    rows, entries = named_at_ends(balanced(subplots, COLUMNS), styles)
    return draw(rows, Layout(below="place in the sequence (last of each doubling)", legend=entries, under=ONE_LINE))


def _subplot(
    task: TaskResults, length: int, all_places: list[Places], styles: dict[str, SeriesStyle], limits: tuple[float, float]
) -> Subplot:
    heading = f"length {length} ({format_factor(length, task.train_length)})"
    last = {one.encoding.label: max(one.by_place) for one in all_places}
    ends = {one.encoding.label: (last[one.encoding.label], one.by_place[last[one.encoding.label]].mean) for one in all_places}
    return Subplot(
        partial(_draw, task=task, all_places=all_places, styles=styles, limits=limits),
        title=f"{task.title}: perplexity by place at {heading}", alt=described(task, heading, all_places), heading=heading,
        label=PERPLEXITY.axis, ends=line_ends(styles, ends, limits, PANEL),
    )  # fmt: skip


def _draw(
    drawing: Drawing, axes: "Axes", task: TaskResults, all_places: list[Places], styles: dict[str, SeriesStyle],
    limits: tuple[float, float],
) -> None:  # fmt: skip
    perplexity_axis(axes, limits)
    ends = sorted({place for one in all_places for place in one.by_place})
    axes.set_xscale("log", base=2)
    axes.set_xlim(ends[0] / 1.2, ends[-1] * 1.2)
    axes.set_xticks(ends[::2], [f"{end}" for end in ends[::2]])
    axes.set_xticks([], minor=True)
    if ends[-1] >= task.train_length:
        drawing.tip(axes.axvline(task.train_length, **REFERENCE), None, ["training length"])
    for one in all_places:
        add_series(drawing, axes, Series(styles[one.encoding.label], one.by_place, _words), shade(len(all_places)))


def _words(place: int, summary: Summary) -> str:
    return f"up to place {place}: {PERPLEXITY.write_range(summary)}"


def described(task: TaskResults, heading: str, all_places: list[Places]) -> str:
    """The panel in words: every encoding at the first places and at the last."""
    texts = []
    for one in all_places:
        first, last = min(one.by_place), max(one.by_place)
        texts.append(f"{one.encoding.title} {PERPLEXITY.write(one.by_place[first].mean)} at place {first}, "
                     f"{PERPLEXITY.write(one.by_place[last].mean)} up to {last}")  # fmt: skip
    return f"perplexity by place on {task.title}, {heading}, mean over seeds: {'; '.join(texts)}."
