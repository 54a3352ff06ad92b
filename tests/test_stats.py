"""Statistics against cases worked by hand."""

import math

import pytest

from rpecli import stats


def by_hand(k: int, n: int) -> tuple[float, float]:
    z = 1.959963984540054
    centre = (k / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))
    return centre - half, centre + half


@pytest.mark.parametrize(("k", "n"), [(5, 10), (1, 7), (250, 256)])
def test_the_wilson_interval_is_the_formula(k, n):
    assert stats.wilson(k, n) == pytest.approx(by_hand(k, n), abs=1e-12)


def test_the_wilson_interval_of_five_in_ten():
    low, high = stats.wilson(5, 10)
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)


def test_the_wilson_interval_of_nothing_and_of_everything_stays_in_zero_to_one():
    assert stats.wilson(0, 10) == pytest.approx((0, 0.27753), abs=1e-5)
    assert stats.wilson(10, 10) == pytest.approx((0.72247, 1), abs=1e-5)


def test_a_summary_is_mean_range_and_number():
    assert stats.summary([0.5, 1.0, 0.75]) == stats.Summary(mean=0.75, low=0.5, high=1.0, number=3)


def test_a_summary_of_nothing_is_none():
    assert stats.summary([]) is None


def test_a_run_is_solved_from_nine_tenths_at_its_training_length():
    assert stats.solved({16: 0.9, 32: 0.1}, 16) is True
    assert stats.solved({16: 0.899, 32: 1.0}, 16) is False
    assert stats.solved({32: 1.0}, 16) is None


def test_rescaled_accuracy_puts_chance_at_zero():
    assert stats.rescaled(0.5, 0.5) == 0
    assert stats.rescaled(1.0, 0.1) == 1
    assert stats.rescaled(0.75, 0.5) == 0.5
    assert stats.rescaled(0.4, 0.5) == pytest.approx(-0.2)
    assert math.isnan(stats.rescaled(1.0, 1.0))


def test_the_effective_length_ends_before_the_first_length_that_fails():
    assert stats.effective_length({64: 0.99, 16: 1.0, 32: 0.95, 128: 0.94, 256: 1.0}) == 64
    assert stats.effective_length({16: 0.94, 32: 1.0}) == 0


def test_the_area_weighs_each_doubling_the_same():
    assert stats.area({16: 1.0, 32: 1.0, 128: 1.0}) == 1
    assert stats.area({16: 1.0, 32: 0.5, 128: 0.0}) == pytest.approx((0.75 + 2 * 0.25) / 3)
    assert stats.area({16: 0.3}) == 0.3


def test_a_median_counts_never_as_later_than_everything():
    assert stats.censored_median([100, None, 300]) == 300
    assert stats.censored_median([100, 200]) == 150
    assert stats.censored_median([100, None]) is None
    assert stats.censored_median([None, None, 100]) is None
    assert stats.censored_median([]) is None
