"""Performance profiles on runs whose every number is known."""

import pytest
from helpers.fake_runs import fake_study

from rpecli.report import stats
from rpecli.report.figures.accuracy import series_styles
from rpecli.report.figures.profiles import profiles_figure
from rpecli.report.measures import ACCURACY, EXACT
from rpecli.report.profiles import THRESHOLDS, profile_points


def test_a_profile_is_the_share_of_runs_above_each_threshold():
    """Scores 0, 0.5 and 1 on each of two tasks: exactly 0.5 is not above 0.5."""
    tasks = fake_study({"rope": [0.0, 0.5, 1.0], "learned": [0.0, 0.0, 0.1]}, ("copy", "sort"))
    points = profile_points(tasks, EXACT)
    shares = {(point.label, point.threshold): point.share for point in points}
    assert [shares["rope", at] for at in (0.0, 0.45, 0.5, 0.95)] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert [shares["learned", at] for at in (0.0, 0.1)] == pytest.approx([1 / 3, 0])
    assert {point.runs for point in points} == {6}
    assert len(points) == 2 * len(THRESHOLDS)


def test_the_band_is_a_bootstrap_over_seeds_within_tasks():
    """One of three runs is above: no resample has it in 8 of 27 cases and all three have it in 1 of 27."""
    assert stats.share_intervals([[0.0, 0.0, 1.0]], [0.5]) == [(0.0, 1.0)]
    assert stats.share_intervals([[1.0] * 3, [0.0] * 3], [0.5]) == [(0.5, 0.5)], "the tasks are not mixed"
    assert stats.share_intervals([[1.0, 0.0]], [0.5, 0.7]) == [(None, None)] * 2


def test_an_encoding_that_a_task_lacks_has_no_profile():
    tasks = fake_study({"rope": [0.5] * 3, "learned": [0.1] * 3}) + fake_study({"rope": [0.5] * 3}, ("sort",))
    assert {point.label for point in profile_points(tasks, EXACT)} == {"rope"}


def test_both_measures_have_a_panel_that_says_what_it_shows():
    tasks = fake_study({"rope": [0.4, 0.6, 1.0], "learned": [0.0, 0.0, 0.1]})
    points = [point for measure in ACCURACY.compared for point in profile_points(tasks, measure)]
    drawing = profiles_figure(points, series_styles(tasks))
    assert [crop.key for crop in drawing.crops] == ["exact_match", "token_accuracy"]
    assert "RoPE 0.67" in drawing.crops[0].alt
    assert profiles_figure([], {}) is None
