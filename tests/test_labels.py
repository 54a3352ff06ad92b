"""Tests over the labels of encodings against cases counted by hand and against scipy."""

from itertools import combinations
from statistics import fmean

import pytest
from scipy.stats import ttest_1samp, ttest_ind

from rpecli.report import labels
from rpecli.report.labels import label_test


def test_the_true_labels_of_four_and_two_that_differ_most_reach_the_smallest_p():
    test = label_test([0.7, 0.8, 0.9, 1.0], [0.1, 0.2])
    assert (test.p, test.smallest, test.extreme, test.relabellings, test.exact) == (1 / 15, 1 / 15, 1, 15, True)


def test_two_groups_of_one_size_count_their_mirror_image():
    test = label_test([0.8, 0.9], [0.1, 0.2])
    assert (test.p, test.smallest) == (2 / 6, 2 / 6)


def test_one_encoding_against_one_says_nothing():
    assert (label_test([1.0], [0.0]).p, label_test([1.0], [0.0]).smallest, label_test([1.0], [0.0]).p_welch) == (1.0, 1.0, None)


def test_every_relabelling_is_counted():
    first, second = [0.3, 0.9, 0.2, 0.5], [0.4, 0.1]
    values = [*first, *second]
    gaps = [
        abs(fmean(values[i] for i in chosen) - fmean(values[i] for i in range(6) if i not in chosen))
        for chosen in combinations(range(6), 4)
    ]
    observed = abs(fmean(first) - fmean(second))
    assert label_test(first, second).extreme == sum(gap >= observed - 1e-12 for gap in gaps)


def test_equal_encodings_differ_under_no_labels():
    test = label_test([0.5] * 4, [0.5] * 2)
    assert (test.p, test.p_welch) == (1.0, None)


def test_too_many_relabellings_are_drawn(monkeypatch):
    """Of all 3,003 ways to choose five of fifteen, 1 in 15 has a difference as large as the second largest would."""
    first, second = [float(value) for value in (1, 9, 3, 12, 11)], [float(value) for value in (0, 2, 4, 5, 6, 7, 8, 10, 13, 14)]
    exact = label_test(first, second)
    monkeypatch.setattr(labels, "MAX_EXACT", 3000)
    drawn = label_test(first, second)
    assert (exact.exact, exact.relabellings, drawn.exact, drawn.relabellings, drawn.smallest) == (True, 3003, False, 9999, 1e-4)
    assert drawn.p == pytest.approx(exact.p, abs=0.02)


def test_welch_agrees_with_scipy():
    first, second = [0.7, 0.2, 0.9, 1.0], [0.1, 0.3, 0.2]
    assert label_test(first, second).p_welch == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue)
    assert label_test([0.7, 0.2, 0.9], [0.1, 0.1]).p_welch == pytest.approx(ttest_1samp([0.6, 0.1, 0.8], 0).pvalue)
