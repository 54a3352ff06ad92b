"""Comparisons of encodings on runs whose every number is known."""

import pytest
from helpers.fake_runs import fake_run, fake_study, scored

from rpecli.report import paired
from rpecli.report.aggregate import aggregate
from rpecli.report.measures import EXACT

SIX = dict(enumerate([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))


def lowered(by: float) -> dict[int, float]:
    return {seed: value - by for seed, value in SIX.items()}


def only(items):
    (item,) = items
    return item


def test_a_score_is_the_mean_over_log_length_beyond_training():
    task = only(aggregate([fake_run("rope", 0, {16: 0.1, 32: 1.0, 64: 0.5, 256: 0.0})]))
    assert paired.scores(task, EXACT) == {"rope": {0: pytest.approx((0.75 + 2 * 0.25) / 3)}}


def test_only_lengths_that_every_run_has_are_scored():
    runs = [fake_run("rope", 0, {16: 1.0, 32: 0.8, 64: 0.0}), fake_run("alibi", 0, {16: 1.0, 32: 0.6})]
    task = only(aggregate(runs))
    assert paired.extrapolation_lengths(task) == [32]
    assert paired.scores(task, EXACT) == {"alibi": {0: 0.6}, "rope": {0: 0.8}}


def test_without_a_length_beyond_training_nothing_is_scored():
    assert paired.scores(only(aggregate([fake_run("rope", 0, {8: 1.0, 16: 1.0})])), EXACT) == {}


def test_pairs_are_of_the_same_seed():
    """Seeds 1 and 2 are shared: (0.5 - 0.1 + 0.6 - 0.3) / 2. Means over all seeds would give another number."""
    pair = only(paired.pairs(scored({"alibi": {0: 1.0, 1: 0.5, 2: 0.6}, "rope": {1: 0.1, 2: 0.3, 7: 0.0}}), EXACT))
    assert (pair.first, pair.second, pair.task, pair.training_length) == ("alibi", "rope", "copy", 16)
    assert (pair.mean, pair.pairs) == (pytest.approx(0.35), 2)


def test_two_seeds_are_not_tested_and_do_not_count_in_holm():
    task = scored({"alibi": SIX, "rope": lowered(0.3), "t5": {0: 0.0, 1: 0.1}})
    pairs = {(pair.first, pair.second): pair for pair in paired.pairs(task, EXACT)}
    assert pairs["alibi", "rope"].p == pairs["alibi", "rope"].p_holm == 2 / 64
    assert pairs["alibi", "t5"].p is pairs["alibi", "t5"].p_holm is pairs["alibi", "t5"].low is None


def test_holm_counts_every_pair_of_the_task():
    task = scored({"alibi": SIX, "rope": lowered(0.2), "t5": lowered(0.4)})
    assert [pair.p_holm for pair in paired.pairs(task, EXACT)] == [3 * 2 / 64] * 3


def test_a_reversed_pair_changes_its_sign():
    task = scored({"alibi": {0: 0.1, 1: 0.2, 2: 0.3}, "rope": {0: 0.5, 1: 0.9, 2: 0.6}})
    pair = only(paired.pairs_of("rope", paired.pairs(task, EXACT)))
    assert (pair.first, pair.second) == ("rope", "alibi")
    assert (pair.mean, pair.low, pair.high) == pytest.approx((1.4 / 3, 1.4 / 3 - 0.517115, 1.4 / 3 + 0.517115), abs=1e-5)


def test_groups_are_compared_on_seeds_that_all_their_encodings_have():
    task = only(fake_study({"rope": [0.9, 0.8], "alibi": [0.5, 0.4, 0.3], "learned": [0.1, 0.2]}))
    by_label = paired.scores(task, EXACT)
    relative, absolute = paired.group_scores(task, by_label, ("RPE", "APE"))
    assert relative == {"alibi": {0: 0.5, 1: 0.4}, "rope": {0: 0.9, 1: 0.8}}
    assert paired.group_differences(relative, absolute) == pytest.approx([0.7 - 0.1, 0.6 - 0.2])
    assert paired.group_scores(task, by_label, ("RPE", "none")) == ({}, {})


def test_sequences_are_counted_one_by_one_in_runs_of_the_same_seed():
    """f0 and cc of 8 sequences: two that only the first got right, two that only the second got right."""
    runs = [
        fake_run("rope", 0, {16: 1, 32: 0.5, 64: 0.5}, correct={32: "f0", 64: "00"}),
        fake_run("alibi", 0, {16: 1, 32: 0.5, 64: 1}, correct={32: "cc"}),
        fake_run("learned", 1, {16: 1, 32: 1, 64: 1}),
    ]
    pair = only(paired.mcnemar_pairs(only(aggregate(runs))))
    assert (pair.first, pair.second, pair.seed, pair.length, pair.n) == ("alibi", "rope", 0, 32, 8)
    assert (pair.only_first_correct, pair.only_second_correct, pair.p, pair.p_holm) == (2, 2, 1.0, 1.0)


def test_ranks_are_within_a_seed_and_ties_share():
    by_label = {"a": {0: 1.0, 1: 0.5}, "b": {0: 0.5, 1: 0.5}, "c": {0: 0.5, 1: 0.0, 2: 1.0}}
    assert paired.seed_ranks(by_label) == {"a": [1.0, 1.5], "b": [2.5, 1.5], "c": [2.5, 3.0]}


def test_all_tasks_together_have_an_interquartile_mean_and_ranks_with_intervals():
    scores = {"rope": [0.9, 0.8, 0.7], "learned": [0.1, 0.2, 0.3], "none": [0.1, 0.2, 0.3]}
    rope, *others = paired.pooled(fake_study(scores, ("copy", "sort")), EXACT)
    assert (rope.label, rope.rank, rope.tasks, rope.runs) == ("rope", 1.0, 2, 6)
    assert [(row.label, row.rank, row.tasks, row.runs) for row in others] == [("learned", 2.5, 2, 6), ("none", 2.5, 2, 6)]
    assert rope.iqm == pytest.approx((0.9 + 0.8 + 0.8 + 0.7) / 4)
    assert rope.rank_interval == (1.0, 1.0)
    assert 0.7 <= rope.iqm_low < rope.iqm < rope.iqm_high <= 0.9


def test_an_encoding_that_a_task_lacks_is_not_pooled():
    runs = [
        fake_run(encoding, 0, {16: 1, 32: 0.5}, task=task)
        for encoding, task in (("rope", "copy"), ("rope", "sort"), ("alibi", "copy"))
    ]
    assert [row.label for row in paired.pooled(aggregate(runs), EXACT)] == ["rope"]


def test_a_run_that_never_reached_the_target_counts_its_budget():
    task = only(fake_study({"rope": [0.5], "learned": [0.5]}, steps={"rope": 25, "learned": None}))
    by_label = paired.log_steps(task)
    assert by_label["rope"][0] - by_label["learned"][0] == 2.0
