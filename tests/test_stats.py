"""Statistics against cases worked by hand."""

import math
from itertools import product
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test, trim_mean, ttest_1samp, ttest_ind

from rpecli.evaluate.scores import rescaled_accuracy, wilson_interval
from rpecli.report import stats

SEED = np.random.default_rng(0)


def wilson_formula(k: int, n: int) -> tuple[float, float]:
    z = 1.959963984540054
    centre = (k / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))
    return centre - half, centre + half


@pytest.mark.parametrize(("k", "n"), [(5, 10), (1, 7), (250, 256)])
def test_the_wilson_interval_is_the_formula(k, n):
    assert wilson_interval(k, n) == pytest.approx(wilson_formula(k, n), abs=1e-12)


def test_the_wilson_interval_of_five_in_ten():
    low, high = wilson_interval(5, 10)
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)


def test_the_wilson_interval_of_nothing_and_of_everything_stays_in_zero_to_one():
    assert wilson_interval(0, 10) == pytest.approx((0, 0.27753), abs=1e-5)
    assert wilson_interval(10, 10) == pytest.approx((0.72247, 1), abs=1e-5)


def test_a_summary_is_mean_range_number_and_median():
    assert stats.summary([0.5, 1.0, 0.9]) == stats.Summary(mean=pytest.approx(0.8), low=0.5, high=1.0, n=3, median=0.9)


def test_a_summary_without_values_is_none():
    assert stats.summary([]) is None


def test_a_run_is_solved_from_nine_tenths_at_its_training_length():
    assert stats.solved({16: 0.9, 32: 0.1}, 16) is True
    assert stats.solved({16: 0.899, 32: 1.0}, 16) is False
    assert stats.solved({32: 1.0}, 16) is None


def test_rescaled_accuracy_puts_chance_at_zero():
    assert rescaled_accuracy(0.5, 0.5) == 0
    assert rescaled_accuracy(1.0, 0.1) == 1
    assert rescaled_accuracy(0.75, 0.5) == 0.5
    assert rescaled_accuracy(0.4, 0.5) == pytest.approx(-0.2)
    assert rescaled_accuracy(1.0, 1.0) is None


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


def test_the_effective_length_takes_another_threshold():
    assert stats.effective_length({16: 0.96, 32: 0.5, 64: 0.49}, stats.EFFECTIVE_HALF) == 32


def test_each_task_weighs_the_same_in_a_mean():
    assert stats.mean([[1.0, 1.0, 1.0, 1.0], [0.0]]) == 0.5


def test_the_interquartile_mean_cuts_a_quarter_from_either_end():
    assert stats.interquartile_mean([0, 1, 2, 3, 4, 5, 6, 100]) == 3.5
    assert stats.interquartile_mean([0.0, 0.5, 1.0]) == 0.5


def test_fewer_than_three_seeds_have_no_interval_and_no_test():
    for strata in ([[0.1, 0.2]], [[0.1, 0.2, 0.3], [0.4, 0.5]], []):
        assert stats.mean_interval(strata) is None
        assert stats.interquartile_interval(strata) is None
        assert stats.sign_flip(strata) is None


def test_the_interval_of_few_seeds_is_that_of_students_t():
    values = [0.2, 0.9, 0.4, 0.5, 0.3]
    assert stats.mean_interval([values]) == pytest.approx(tuple(ttest_1samp(values, 0).confidence_interval(0.95)))
    assert stats.mean_interval([[0.1, 0.2, 0.3]]) == pytest.approx((0.2 - 0.248414, 0.2 + 0.248414), abs=1e-6)


def test_the_interval_of_few_seeds_of_two_samples_is_that_of_welch():
    first, second = [0.2, 0.9, 0.4], [0.5, 0.3, 0.6, 0.6]
    expected = tuple(ttest_ind(second, first, equal_var=False).confidence_interval(0.95))
    assert stats.unpaired_interval(first, second) == pytest.approx(expected)
    low, high = stats.mean_interval([second, [-value for value in first]])
    assert (2 * low, 2 * high) == pytest.approx(expected), "the mean of two tasks is half their sum"


def test_tasks_of_one_variance_pool_their_degrees_of_freedom():
    """Three tasks with the same variance, 0.01 over three seeds: six degrees of freedom, where t is 2.4469."""
    low, high = stats.mean_interval([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5], [0.6, 0.7, 0.8]])
    assert (low, high) == pytest.approx((0.4 - 2.446912 / 30, 0.4 + 2.446912 / 30), abs=1e-6)


def test_an_interval_of_few_seeds_is_cut_at_the_bounds_of_its_values():
    assert stats.mean_interval([[0.2, 0.9, 0.4]], (0, 1)) == (0, 1)
    assert stats.unpaired_interval([0.2, 0.9, 0.4], [0.1, 0.8, 0.0], (-1, 1))[0] == -1


def test_equivalence_is_two_one_sided_tests():
    """The margin minus the second values is 0.04, 0.03, 0.02, 0.01, 0.05, -0.01: three of 64 flips have as large a sum."""
    assert stats.equivalence([[0.01, -0.01, 0.02, -0.02, 0.0, 0.01]], 0.05) == 1 / 64
    assert stats.equivalence([[0.01, 0.02, 0.03, 0.04, 0.0, 0.06]], 0.05) == 3 / 64
    assert stats.equivalence([[0.2, 0.2, 0.2]], 0.05) == 1.0
    assert stats.equivalence([[0.2, 0.2]], 0.05) is None


def test_the_interval_of_equal_seeds_is_a_point():
    assert stats.mean_interval([[0.5] * 4]) == (0.5, 0.5)


@pytest.mark.parametrize("strata", [[[0.1, 0.5, 0.4, 0.9, 0.3, 0.6]], [[0.1, 0.5, 0.4, 0.9] * 2, [0.2, 0.3, 0.8, 0.1, 0.6] * 2]])
def test_the_bootstrap_agrees_with_scipy(strata):
    def mean(*resampled, axis):
        return sum(values.mean(axis=axis) for values in resampled) / len(resampled)

    interval = bootstrap(strata, mean, method="percentile", n_resamples=50000, random_state=SEED).confidence_interval
    assert stats.mean_interval(strata) == pytest.approx((interval.low, interval.high), abs=0.02)


def test_the_interval_of_an_interquartile_mean_agrees_with_scipy():
    strata = [[0.1, 0.5, 0.4, 0.9], [0.2, 0.3, 0.8, 0.1, 0.6]]

    def iqm(*resampled, axis):
        return trim_mean(np.concatenate(resampled, axis=axis), 0.25, axis=axis)

    interval = bootstrap(strata, iqm, method="percentile", n_resamples=50000, random_state=SEED).confidence_interval
    assert stats.interquartile_interval(strata) == pytest.approx((interval.low, interval.high), abs=0.02)


def test_resampling_stays_within_a_task():
    """Resampled over all six values, the interval would be wide."""
    assert stats.mean_interval([[0.0] * 3, [1.0] * 3]) == (0.5, 0.5)


def test_resampling_is_the_same_each_time():
    assert stats.mean_interval([[0.1, 0.5, 0.4, 0.9]]) == stats.mean_interval([[0.1, 0.5, 0.4, 0.9]])


def test_a_sign_flip_by_hand():
    """Of the eight sums of +-1 +-2 +-3, only 6 and -6 are as far from 0 as 6."""
    assert stats.sign_flip([[1.0, 2.0, 3.0]]) == 2 / 8
    assert stats.sign_flip([[1.0, 2.0, -3.0]]) == 1.0
    assert stats.sign_flip([[0.0] * 5]) == 1.0
    assert stats.sign_flip([[0.2] * 6]) == 2 / 64


def test_a_sign_flip_is_scipys_permutation_test_of_pairs():
    first, second = np.array([0.3, 0.9, 0.4, 0.7, 0.5, 0.6, 0.2]), np.array([0.4, 0.6, 0.1, 0.5, 0.55, 0.2, 0.1])
    test = permutation_test((first, second), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples")
    assert stats.sign_flip([list(first - second)]) == pytest.approx(test.pvalue)


def test_a_sign_flip_over_tasks_weighs_each_task_the_same():
    """(1+1+1+1)/4 + (-1-1-1)/3 is 0, so every arrangement is at least as far."""
    assert stats.sign_flip([[1.0] * 4, [-1.0] * 3]) == 1.0
    strata = [[0.4, 0.1, 0.3], [-0.1, 0.2, 0.1, 0.05, 0.6]]
    sums = [fmean(signs[i] * v for i, v in enumerate(strata[0])) + fmean(signs[3 + i] * v for i, v in enumerate(strata[1]))
            for signs in product((1, -1), repeat=8)]  # fmt: skip
    assert stats.sign_flip(strata) == sum(abs(total) >= sums[0] - 1e-12 for total in sums) / 256


def test_many_pairs_are_flipped_at_random_and_never_reach_zero():
    assert stats.sign_flip([[0.5] * 20]) == 1 / 10000
    strata = [[0.5 - 0.11 * (i % 9) for i in range(20)]]
    test = permutation_test(
        (np.array(strata[0]), np.zeros(20)), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        n_resamples=50000, random_state=SEED,
    )  # fmt: skip
    assert stats.sign_flip(strata) == pytest.approx(test.pvalue, abs=0.02)


def test_mcnemar_by_hand():
    """One against nine: 2 (1 + 10) / 2**10."""
    assert stats.mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert stats.mcnemar(9, 1) == stats.mcnemar(1, 9)
    assert stats.mcnemar(0, 0) == stats.mcnemar(4, 4) == 1.0


def test_holm_by_hand():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.5, 0.9]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_holm_and_mcnemar_agree_with_statsmodels():
    from statsmodels.stats import contingency_tables, multitest

    values = [0.01, 0.2, 0.03, 0.04, 0.0005, 0.04]
    assert stats.holm(values) == pytest.approx(list(multitest.multipletests(values, method="holm")[1]))
    assert stats.mcnemar(3, 11) == pytest.approx(contingency_tables.mcnemar([[5, 3], [11, 9]], exact=True).pvalue)


def test_ties_share_the_mean_of_their_ranks():
    assert stats.ranks([0.5, 0.5, 1.0, 0.0]) == [2.5, 2.5, 1.0, 4.0]


def test_there_is_one_flag_per_sequence():
    assert stats.correct_flags("a0", 5).tolist() == [True, False, True, False, False]
    assert stats.correct_flags("ff", 3).tolist() == [True] * 3


@pytest.mark.parametrize("values", [[100, None, 300], [100, 200], [100, None], [None, None, 100], [], [50], [None], [1, 2, 3, 4]])
def test_with_one_budget_the_kaplan_meier_median_is_the_censored_one(values):
    assert stats.median_steps(values, [1000] * len(values)) == stats.censored_median(values)


def test_a_run_stopped_early_says_nothing_of_later_steps():
    """The first is censored at 100, so the curve of the others is 1 until 200, 1/2 until 400 and then 0."""
    assert stats.median_steps([None, 200, 400], [100, 1000, 1000]) == 300
    assert stats.median_steps([None, 200, 400, 500], [100, 1000, 1000, 1000]) == 400


def test_an_interval_between_unpaired_samples_is_second_minus_first_and_agrees_with_scipy():
    assert stats.unpaired_interval([0.0] * 3, [1.0] * 3) == (1.0, 1.0)
    assert stats.unpaired_interval([0.0] * 3, [1.0] * 2) is None
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 12), rng.normal(2, 1, 9)
    low, high = stats.unpaired_interval(first, second)
    statistic = lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis)  # noqa: E731
    scipy_result = bootstrap([second, first], statistic, method="percentile", random_state=SEED)
    assert (low, high) == pytest.approx(tuple(scipy_result.confidence_interval), abs=0.05)


def test_holm_needs_no_larger_factor_than_hypotheses_can_be_true_together():
    """Four hypotheses of which two at most are true: factors 2, 2, 2 and 1, where Holm alone takes 4, 3, 2 and 1."""
    assert stats.holm([0.01, 0.02, 0.03, 0.9], most_true=2) == pytest.approx([0.02, 0.04, 0.06, 0.9])


def test_the_interval_of_an_interquartile_mean_is_the_same_whether_resamples_are_sorted_or_counted(monkeypatch):
    numbers = np.random.default_rng(0).random((4, 40)).round(2).tolist()  # with ties, and 160 values
    assert sum(map(len, numbers)) > stats.MANY_VALUES
    counted = stats.interquartile_interval(numbers)
    monkeypatch.setattr(stats, "MANY_VALUES", 1000)
    assert counted == pytest.approx(stats.interquartile_interval(numbers), abs=1e-12)
    assert stats.interquartile_interval([[0.5] * 150, [0.5] * 2]) is None, "a task has fewer than three seeds"
