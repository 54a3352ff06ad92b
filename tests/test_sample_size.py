"""The number of seeds that should decide a claim."""

import numpy as np
import pytest
from scipy.stats import t

from rpecli.report.sample_size import p_exists, seeds_needed


def test_three_claims_need_seven_pairs():
    assert [p_exists(pairs) for pairs in (6, 7)] == [False, True]
    assert [p_exists(pairs, claims=1) for pairs in (5, 6)] == [False, True]


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 7), (2, 4), (3, 3)])
def test_a_clear_effect_needs_as_many_seeds_as_give_a_p(tasks, seeds):
    assert seeds_needed([[0.5, 0.51]] * tasks, 0.05) == seeds
    assert seeds_needed([[0.5]] * tasks, 0.05) == seeds, "one seed has no spread"


def test_more_seeds_than_there_are_are_proposed():
    assert seeds_needed([[0.5, 0.51, 0.49, 0.5]] * 3, 0.05) == 5


def test_the_number_is_the_first_with_enough_power():
    """One task, mean 0.3, standard deviation 0.3: t of alpha / 3 and t of the power fit into the effect from 15 seeds on."""
    values = [0.0, 0.3, 0.6]

    def fits(seeds: int) -> bool:
        return (t.ppf(1 - 0.05 / 6, seeds - 1) + t.ppf(0.8, seeds - 1)) * 0.3 / np.sqrt(seeds) <= 0.3

    needed = seeds_needed([values], 0.05)
    assert (fits(needed), fits(needed - 1)) == (True, False)


def test_a_precise_null_needs_seeds_to_show_that_there_is_no_difference():
    assert seeds_needed([[0.01, -0.01, 0.0]] * 3, 0.05) == 4
    assert seeds_needed([[0.01, -0.01, 0.0]], 0.05) == 7


def test_an_interval_alone_needs_no_p():
    assert seeds_needed([[0.3, 0.32]], 0.05, claims=1, by_interval=True) == 3
    assert seeds_needed([[0.3]], 0.05, claims=1, by_interval=True) == 3


def test_an_interval_within_the_margin_shows_that_there_is_no_difference():
    """Standard deviation 0.02, margin 0.05: t of half of alpha and t of the power fit into it from 4 seeds on."""
    values = [0.02, -0.02, 0.0]

    def fits(seeds: int) -> bool:
        return (t.ppf(0.975, seeds - 1) + t.ppf(0.8, seeds - 1)) * 0.02 / np.sqrt(seeds) <= 0.05

    needed = seeds_needed([values], 0.05, claims=1, by_interval=True)
    assert (needed, fits(needed), fits(needed - 1)) == (4, True, False)


def test_a_small_effect_with_a_wide_spread_is_out_of_reach():
    assert seeds_needed([[0.9, -0.9, 0.1]], 0.05) is None
