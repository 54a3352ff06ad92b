"""Comparisons of encodings on runs whose every number is known."""

import pytest
from helpers.fake_runs import made_up, study

from rpecli.report import paired as compare
from rpecli.report.aggregate import panels


def only(made):
    (found,) = made
    return found


def test_a_score_is_the_mean_over_log_length_beyond_training():
    found = compare.scores(only(panels([made_up("rope", 0, {16: 0.1, 32: 1.0, 64: 0.5, 256: 0.0})])), "exact_match")
    assert found == {"rope": {0: pytest.approx((0.75 + 2 * 0.25) / 3)}}


def test_only_lengths_that_every_run_has_are_scored():
    runs = [made_up("rope", 0, {16: 1.0, 32: 0.8, 64: 0.0}), made_up("alibi", 0, {16: 1.0, 32: 0.6})]
    panel = only(panels(runs))
    assert compare.beyond(panel) == [32]
    assert compare.scores(panel, "exact_match") == {"alibi": {0: 0.6}, "rope": {0: 0.8}}


def test_without_a_length_beyond_training_nothing_is_scored():
    assert compare.scores(only(panels([made_up("rope", 0, {8: 1.0, 16: 1.0})])), "exact_match") == {}


def test_pairs_are_of_the_same_seed():
    """Seeds 1 and 2 are shared: (.5 - .1 + .6 - .3) / 2. Means over all seeds would give another number."""
    found = {"a": {0: 1.0, 1: 0.5, 2: 0.6}, "b": {1: 0.1, 2: 0.3, 7: 0.0}}
    assert only(compare.pairs(found)).difference.mean == pytest.approx(0.35)
    assert only(compare.pairs(found)).difference.pairs == 2


def test_two_seeds_are_not_tested_and_do_not_count_in_holm():
    six = dict(enumerate([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))
    found = {"a": six, "b": {s: v - 0.3 for s, v in six.items()}, "c": {0: 0.0, 1: 0.1}}
    by_names = {(pair.first, pair.second): pair for pair in compare.pairs(found)}
    assert by_names["a", "b"].difference.p == by_names["a", "b"].holm == 2 / 64
    assert by_names["a", "c"].difference.p is by_names["a", "c"].holm is by_names["a", "c"].difference.low is None


def test_holm_counts_every_pair_of_the_panel():
    six = dict(enumerate([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))
    found = {name: {s: v - less for s, v in six.items()} for name, less in (("a", 0.0), ("b", 0.2), ("c", 0.4))}
    assert [pair.holm for pair in compare.pairs(found)] == [3 * 2 / 64] * 3


def test_pairs_seen_from_the_other_side_change_their_sign():
    found = {"a": {0: 0.1, 1: 0.2, 2: 0.3}, "b": {0: 0.5, 1: 0.9, 2: 0.6}}
    turned = only(compare.against("b", compare.pairs(found)))
    assert (turned.first, turned.second) == ("b", "a")
    assert (turned.difference.mean, turned.difference.low, turned.difference.high) == pytest.approx((1.4 / 3, 0.3, 0.7))


def test_groups_are_compared_on_seeds_that_all_their_encodings_have():
    panel = only(study({"rope": [0.9, 0.8], "alibi": [0.5, 0.4, 0.3], "learned": [0.1, 0.2]}))
    found = compare.scores(panel, "exact_match")
    assert compare.group_difference(panel, found, "RPE", "APE") == pytest.approx([0.7 - 0.1, 0.6 - 0.2])
    assert compare.group_difference(panel, found, "RPE", "none") == []


def test_strings_are_counted_one_by_one_in_runs_of_the_same_seed():
    """f0 against cc of 8 strings: two right in the first alone, two in the second alone."""
    runs = [
        made_up("rope", 0, {16: 1, 32: 0.5, 64: 0.5}, right={32: "f0", 64: "00"}),
        made_up("alibi", 0, {16: 1, 32: 0.5, 64: 1}, right={32: "cc"}),
    ]
    runs.append(made_up("learned", 1, {16: 1, 32: 1, 64: 1}))
    each = only(compare.strings(only(panels(runs))))
    assert (each.first, each.second, each.seed, each.length, each.n) == ("alibi", "rope", 0, 32, 8)
    assert (each.first_alone, each.second_alone, each.p, each.holm) == (2, 2, 1.0, 1.0)


def test_ranks_are_within_a_seed_and_ties_share():
    found = {"a": {0: 1.0, 1: 0.5}, "b": {0: 0.5, 1: 0.5}, "c": {0: 0.5, 1: 0.0, 2: 1.0}}
    assert compare.seed_ranks(found) == {"a": [1.0, 1.5], "b": [2.5, 1.5], "c": [2.5, 3.0]}


def test_all_tasks_together_have_an_interquartile_mean_and_ranks_with_intervals():
    made = compare.pooled(
        study({"rope": [0.9, 0.8, 0.7], "learned": [0.1, 0.2, 0.3], "none": [0.1, 0.2, 0.3]}, ("copy", "sort")), "exact_match"
    )
    assert [(each.label, each.rank, each.tasks, each.runs) for each in made] == [
        ("rope", 1.0, 2, 6),
        ("learned", 2.5, 2, 6),
        ("none", 2.5, 2, 6),
    ]
    assert made[0].middle == pytest.approx((0.9 + 0.8 + 0.8 + 0.7) / 4)
    assert made[0].rank_interval == (1.0, 1.0)
    low, high = made[0].middle_interval
    assert 0.7 <= low < made[0].middle < high <= 0.9


def test_an_encoding_that_a_task_lacks_is_in_no_pooled_rank():
    runs = [
        made_up(name, 0, {16: 1, 32: 0.5}, task=task) for name, task in (("rope", "copy"), ("rope", "sort"), ("alibi", "copy"))
    ]
    assert [each.label for each in compare.pooled(panels(runs), "exact_match")] == ["rope"]


def test_a_run_that_never_got_there_counts_its_budget():
    panel = only(study({"rope": [0.5], "learned": [0.5]}, steps={"rope": 25, "learned": None}))
    found = compare.log_steps(panel)
    assert found["rope"][0] - found["learned"][0] == 2.0
