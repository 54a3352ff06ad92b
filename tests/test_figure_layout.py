"""Panels in rows, names at the ends of lines, and a legend where they do not fit."""

import itertools

import pytest
from helpers.fake_runs import fake_run

from rpecli import plot
from rpecli.report.aggregate import aggregate
from rpecli.report.figures.accuracy import accuracy_figure, series_styles
from rpecli.report.figures.layout import Drawing, Subplot, balanced
from rpecli.report.figures.learning import step_axis
from rpecli.report.figures.line_ends import FAR, SPACE, apart, line_ends

TASKS = ("copy", "parity", "reverse")
STYLES = {name: plot.SeriesStyle(name, "RPE", "#0072B2", "o") for name in "abcdefgh"}


def drawn(scores: dict[str, float]) -> Drawing:
    """Accuracies of several encodings on three tasks."""
    runs = [fake_run(name, 0, {16: 1.0, 32: score}, task=task) for name, score in scores.items() for task in TASKS]
    tasks = aggregate(runs)
    return accuracy_figure(tasks, series_styles(tasks))


def words(drawing: Drawing) -> list[str]:
    return [text.get_text() for axes in drawing.figure.axes for text in axes.texts if not text.get_text().startswith("trained")]


def legend_words(drawing: Drawing) -> list[str]:
    return [text.get_text() for legend in drawing.figure.legends for text in legend.get_texts()]


@pytest.mark.parametrize(
    ("number", "most", "lengths"),
    [(0, 3, []), (1, 3, [1]), (3, 3, [3]), (4, 3, [2, 2]), (5, 3, [3, 2]), (7, 3, [3, 3, 1]), (5, 4, [3, 2]), (8, 4, [4, 4])],
)
def test_panels_are_in_as_few_and_as_even_rows_as_can_be(number: int, most: int, lengths: list[int]) -> None:
    panels = [Subplot(lambda drawing, axes: None, str(n), "") for n in range(number)]
    rows = balanced(panels, most)
    assert [len(row) for row in rows] == lengths
    assert [panel for row in rows for panel in row] == panels


def test_names_that_are_apart_stay_where_their_lines_end() -> None:
    assert apart({"low": 0.1, "high": 1.5}) == {"low": 0.1, "high": 1.5}


def test_names_of_lines_that_end_together_are_spread_around_their_mean() -> None:
    placed = apart({"a": 1.0, "b": 1.0, "c": 1.0, "far": 2.0})
    assert [placed[name] for name in ("a", "b", "c", "far")] == pytest.approx([1 - SPACE, 1.0, 1 + SPACE, 2.0])


def test_names_keep_the_order_of_the_ends() -> None:
    ends = {"a": 0.9, "b": 0.5, "c": 0.55, "d": 0.6, "e": 0.52}
    placed = apart(ends)
    assert sorted(placed, key=placed.__getitem__) == sorted(ends, key=ends.__getitem__)
    heights = sorted(placed.values())
    assert min(b - a for a, b in itertools.pairwise(heights)) >= SPACE - 1e-9


def test_names_that_would_stand_far_from_their_lines_do_not_fit() -> None:
    few = dict.fromkeys("abc", (32.0, 0.5))
    many = dict.fromkeys("abcdefgh", (32.0, 0.5))
    assert len(many) * SPACE / 2 > FAR
    assert line_ends(STYLES, few, (0, 1), 2.0).heights["b"] == pytest.approx(0.5)
    assert line_ends(STYLES, many, (0, 1), 2.0) is None
    assert line_ends(STYLES, {}, (0, 1), 2.0) is None


def test_names_stand_beside_the_last_panel_and_the_legend_has_groups_alone() -> None:
    drawing = drawn({"rope": 0.8, "learned": 0.3})
    assert words(drawing) == ["Learned APE", "RoPE"] * 2, "both measures of the last task"
    assert legend_words(drawing) == ["APE (absolute)", "RPE (relative)", "chance"]
    edge = drawing.figure.bbox.x1
    for axes in drawing.figure.axes:
        assert all(text.get_window_extent().x1 <= edge for text in axes.texts)


def test_lines_that_end_at_one_point_have_a_legend() -> None:
    scores = dict.fromkeys(("alibi", "learned", "none", "rope", "sinusoidal", "t5"), 0.0)
    drawing = drawn(scores)
    assert words(drawing) == []
    assert legend_words(drawing)[:-1] == ["Learned APE", "Sinusoidal APE", "ALiBi", "RoPE", "T5 bias", "NoPE"]


@pytest.mark.parametrize(
    ("steps", "ticks"),
    [
        ([50, 100, 150, 1050], [50, 100, 200, 400, 800]),
        ([100], [100]),
        (list(range(10, 12000, 10)), [10, 40, 160, 640, 2560, 10240]),
    ],
)
def test_training_steps_have_an_axis_of_doublings(steps: list[int], ticks: list[int]) -> None:
    axes = plot.new_figure().add_subplot()
    step_axis(axes, steps)
    assert axes.get_xscale() == "log"
    assert [round(tick) for tick in axes.get_xticks()] == ticks
    low, high = axes.get_xlim()
    assert low < min(steps)
    assert max(steps) < high
