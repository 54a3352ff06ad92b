"""Verdicts on made-up results with a known answer."""

from dataclasses import replace

import pytest
from helpers.fake_runs import fake_run, fake_study

from rpecli.report import format as report_format
from rpecli.report import paired, rows, verdict, verdict_lines
from rpecli.report.aggregate import aggregate, own_tasks
from rpecli.report.headline import headline
from rpecli.report.records import Difference
from rpecli.report.verdict import AT_FLOOR, CONTRADICTED, MIXED, NO_DIFFERENCE, NOT_ENOUGH, NOT_MEASURED, SUPPORTED

HIGH, LOW = [0.9, 0.85, 0.95, 0.9, 0.88, 0.92], [0.2, 0.3, 0.1, 0.25, 0.15, 0.2]


def extrapolation(scores, *args, **options):
    return verdict.extrapolation(fake_study(scores, *args, **options))


def runs_of(scores, exact, task="copy"):
    """One run per seed and score; `exact` gives exact match by length for a score."""
    return [
        fake_run(name, seed, exact(score), task=task) for name, by_seed in scores.items() for seed, score in enumerate(by_seed)
    ]


def at_32(score):
    return {16: 1, 32: score}


def line_with(result, words):
    (line,) = [line for line in result.lines if words in line]
    return line


def test_an_encoding_that_is_truly_better_is_supported_with_its_numbers():
    result = extrapolation({"rope": HIGH, "learned": LOW})
    assert result.outcome == SUPPORTED
    assert result.difference.mean == pytest.approx(0.7)
    assert result.difference.p == 2 / 64
    assert (
        "Learned APE) on this task: exact match over log length beyond training, +70 points [63, 77], p = 0.031"
        in result.lines[1]
    )
    assert "RoPE has the highest mean exact match beyond training, 90 %" in line_with(
        result, "significantly different from Learned APE"
    )


def test_all_encodings_with_the_highest_mean_lead():
    same = [0.9] * 7
    (task,) = fake_study({"rope": same, "alibi": same, "learned": [*LOW, 0.2]})
    line = verdict_lines.leader(task)
    assert line.startswith("Copy, trained to 16: ALiBi and RoPE have the highest mean exact match beyond training, 90 %, ")
    assert line.endswith("significantly different from Learned APE (Holm, 3 pairs)."), line
    (task,) = fake_study({"rope": same, "learned": same})
    assert verdict_lines.leader(task) == (
        "Copy, trained to 16: all encodings have the same mean exact match beyond training, 90 %."
    )


def test_an_encoding_that_is_worse_contradicts_the_claim():
    assert extrapolation({"rope": LOW, "learned": HIGH}).outcome == CONTRADICTED


def test_two_seeds_are_not_enough_however_far_apart():
    result = extrapolation({"rope": [1.0, 1.0], "learned": [0.0, 0.0]}, ("copy", "sort", "parity"))
    assert (result.outcome, result.difference.p, result.difference.interval) == (NOT_ENOUGH, None, None)
    assert "A task has only 2 seeds; at least 3 per task are needed for a test." in result.lines
    assert not any("p =" in line for line in result.lines)


def test_one_task_with_two_seeds_leaves_the_whole_undecided():
    runs = runs_of({"rope": [1.0] * 9, "learned": [0.0] * 9}, at_32)
    runs += runs_of({"rope": [1.0] * 2, "learned": [0.0] * 2}, at_32, task="sort")
    assert verdict.extrapolation(aggregate(runs)).outcome == NOT_ENOUGH


def test_three_seeds_of_one_task_cannot_decide_and_the_page_says_why():
    result = extrapolation({"rope": HIGH[:3], "learned": LOW[:3]})
    assert result.outcome == NOT_ENOUGH
    assert "3 pairs cannot give p < 0.25; at least 7 are needed for 3 claims." in result.lines


def test_three_seeds_of_two_tasks_can_decide():
    assert extrapolation({"rope": HIGH[:3], "learned": LOW[:3]}, ("copy", "sort")).outcome == SUPPORTED


def test_equal_encodings_are_no_difference_and_no_victory():
    near = [value + 0.01 * (-1) ** seed for seed, value in enumerate(HIGH)]
    assert extrapolation({"rope": HIGH, "learned": near}).outcome == NO_DIFFERENCE
    assert extrapolation({"rope": HIGH, "learned": HIGH}).outcome == NO_DIFFERENCE


def test_three_equal_seeds_are_too_few_for_no_difference():
    assert extrapolation({"rope": HIGH[:3], "learned": HIGH[:3]}).outcome == NOT_ENOUGH


def test_a_difference_within_the_margin_is_negligible_however_sure():
    assert extrapolation({"rope": HIGH, "learned": [value - 0.02 for value in HIGH]}).outcome == NO_DIFFERENCE


def test_seeds_that_disagree_are_not_enough_evidence():
    assert (
        extrapolation({"rope": [0.9, 0.1, 0.8, 0.2, 0.9, 0.1], "learned": [0.1, 0.9, 0.2, 0.7, 0.3, 0.6]}).outcome == NOT_ENOUGH
    )


def test_a_task_on_which_it_is_the_other_way_round_is_mixed():
    runs = [run for task in ("copy", "sort") for run in runs_of({"rope": HIGH, "learned": LOW}, at_32, task=task)]
    result = verdict.extrapolation(aggregate(runs + runs_of({"rope": [0.5] * 6, "learned": [0.6] * 6}, at_32, task="parity")))
    assert result.outcome == MIXED
    assert result.by_task["Parity, trained to 16"].mean == pytest.approx(-0.1)
    assert line_with(result, "Parity, trained to 16: -10 points")


def test_groups_that_both_fail_are_at_the_floor():
    assert extrapolation({"rope": [0.0] * 6, "learned": [0.0] * 6}).outcome == AT_FLOOR
    few = extrapolation({"rope": [0.0] * 3, "learned": [0.0] * 3})
    (few,) = verdict.corrected([few])
    assert (few.outcome, few.settle) == (AT_FLOOR, None), "more seeds would not help"


def test_a_group_that_learned_nothing_decides_nothing():
    runs = runs_of({"rope": [0.9] * 6}, at_32) + runs_of({"learned": [0.0] * 6}, lambda score: {16: 0.1, 32: score})
    result = verdict.extrapolation(aggregate(runs))
    assert result.outcome == NOT_ENOUGH
    assert line_with(result, "0 of 6 APE runs learned their training length.")
    assert "No APE run learned its training length, so extrapolation cannot be judged." in result.lines


def test_runs_that_were_measured_beyond_training_alone_may_have_learned():
    runs = runs_of({"rope": HIGH, "learned": LOW}, lambda score: {32: score})
    result = verdict.extrapolation(aggregate(runs))
    assert result.outcome == SUPPORTED
    assert not any("so extrapolation cannot be judged" in line for line in result.lines)


def test_a_run_that_stopped_early_before_90_percent_says_nothing_of_the_steps_that_it_needs():
    """Stopped by stop_at at step 25 of 100: it is not known that it needs more steps than a run that reached 90 % at step 50."""
    runs = [fake_run("rope", seed, {16: 1, 32: 0.5}, steps=None, step=25) for seed in range(7)]
    runs += [fake_run("learned", seed, {16: 1, 32: 0.5}, steps=50, step=60) for seed in range(7)]
    result = verdict.efficiency(aggregate(runs))
    assert (result.outcome, result.difference) == (NOT_MEASURED, None)
    whole = [replace(run, record=run.record | {"step": run.config.steps}) for run in runs]
    assert verdict.efficiency(aggregate(whole)).outcome == CONTRADICTED


def test_runs_that_learned_are_told_with_their_mean_beyond_training():
    runs = [*runs_of({"rope": [0.8], "learned": [0.2]}, at_32), fake_run("rope", 1, {16: 0.1, 32: 0.0})]
    result = verdict.extrapolation(aggregate(runs))
    line = line_with(result, "learned their training length")
    assert line.startswith("1 of 2 RPE runs learned their training length; their mean exact match beyond training is 80 %. ")


def test_the_best_that_differs_from_no_other_is_named_without_a_list_of_all_others():
    near = [value - 0.001 + 0.01 * (-1) ** seed for seed, value in enumerate(HIGH)]
    result = extrapolation({"rope": HIGH, "alibi": near, "learned": near})
    assert line_with(result, "highest").endswith(", 90 %, not significantly different from any other (Holm, 3 pairs).")


COMMAND = "rpe train --task copy --encoding sinusoidal --seed 0:6 --length 16 --steps 100, then rpe eval --lengths 64 --samples 8"


def test_a_missing_baseline_is_said():
    result = extrapolation({"rope": HIGH, "alibi": LOW})
    assert (result.outcome, result.lines) == (
        NOT_MEASURED,
        [f"no absolute encoding: {COMMAND}"],
    )


def test_failed_runs_and_the_seed_they_take_with_them_are_said():
    runs = [*runs_of({"rope": HIGH, "learned": LOW, "alibi": [0.9] * 5}, at_32), fake_run("alibi", 5, {}, status="failed")]
    result = verdict.extrapolation(aggregate(runs))
    assert result.difference.pairs == 5
    assert line_with(result, "1 of ALiBi on Copy, trained to 16.")


def test_groups_without_a_seed_in_common_are_said():
    runs = [fake_run("rope", 0, {16: 1, 32: 1}), fake_run("learned", 1, {16: 1, 32: 0})]
    result = verdict.extrapolation(aggregate(runs))
    assert result.outcome == NOT_MEASURED
    assert "no seed is shared" in result.lines[0]


def test_lengths_within_training_measure_no_extrapolation():
    result = verdict.extrapolation(aggregate(runs_of({"rope": HIGH, "learned": HIGH}, lambda _: {16: 1.0})))
    assert (result.outcome, result.lines) == (NOT_MEASURED, ["no length beyond training is evaluated: rpe eval --lengths 1x:8x"])


def test_no_encoding_is_compared_with_relative_ones_beside_the_claim():
    result = extrapolation({"rope": LOW, "learned": LOW, "none": HIGH})
    assert result.outcome == NO_DIFFERENCE
    assert line_with(result, "Exploratory (uncorrected): NoPE has a higher mean than this relative one (RoPE) on this task")


def test_faster_learning_is_a_ratio_of_steps():
    result = verdict.efficiency(fake_study({"rope": HIGH, "learned": LOW}, steps={"rope": 25, "learned": 50}))
    assert (result.outcome, result.difference.mean) == (SUPPORTED, 1.0)
    assert "50 % fewer steps [50, 50], p = 0.031" in result.lines[0]


@pytest.mark.parametrize(
    ("mean", "interval", "text"),
    [
        (0.362, (0.304, 0.474), "22 % fewer steps [19, 28]"),
        (-0.585, (-1.0, -0.263), "50 % more steps [20, 100]"),
        (0.362, (0.003, 0.474), "22 % fewer steps [0.2, 28]"),
        (-0.0144, (-0.214, 0.304), "1 % more steps [from 19 % fewer to 16 % more]"),
        (0.0893, (-2.548, 2.737), "6 % fewer steps [from 85 % fewer to 5.8 times as many]"),
        (-0.585, (-4.0, -0.263), "50 % more steps [from 20 % more to 16 times as many]"),
        (-2.0, (-3.0, -1.585), "4.0 times as many steps [3.0, 8.0]"),
        (-400.0, (-500.0, 1.0), "3e+120 times as many steps [from 50 % fewer to 3e+150 times as many]"),
        (0.0, (0.0, 0.0), "no difference in steps"),
        (0.0, (-0.214, 0.304), "no difference in steps [from 19 % fewer to 16 % more]"),
        (0.0, None, "no difference in steps"),
        (1.0, None, "50 % fewer steps"),
    ],
)
def test_an_interval_of_a_ratio_tells_its_direction_where_the_ends_differ(mean, interval, text):
    assert report_format.write_steps(mean, interval) == text


def test_runs_that_never_reached_the_target_count_their_budget_and_are_counted():
    result = verdict.efficiency(fake_study({"rope": HIGH, "learned": LOW}, steps={"rope": 25, "learned": None}))
    assert (result.outcome, result.difference.mean) == (SUPPORTED, 2.0)
    said = "6 of 12 runs never reached 90 % and count their whole budget, which can only understate a difference."
    assert result.lines[-1] == said


def test_runs_of_the_faster_group_that_never_reached_the_target_may_be_the_slower():
    scores = {"rope": HIGH, "alibi": HIGH, "learned": LOW}
    result = verdict.efficiency(fake_study(scores, steps={"rope": None, "alibi": 2, "learned": 50}))
    assert result.difference.mean > 0
    said = "6 of 18 runs never reached 90 % and count their whole budget, so how many steps they need is not known."
    assert result.lines[-1] == said


def test_as_many_steps_are_no_difference_and_no_run_that_learned_is_the_floor():
    assert verdict.efficiency(fake_study({"rope": HIGH, "learned": LOW})).outcome == NO_DIFFERENCE
    never = verdict.efficiency(fake_study({"rope": HIGH, "learned": LOW}, steps={"rope": None, "learned": None}))
    assert never.outcome == AT_FLOOR
    few = verdict.efficiency(fake_study({"rope": HIGH[:3], "learned": LOW[:3]}, steps={"rope": None, "learned": None}))
    assert few.outcome == AT_FLOOR


def test_invariance_is_judged_where_it_was_measured():
    tasks = fake_study({"rope": HIGH, "learned": LOW})
    kept = {tasks[0].title: {"rope": dict.fromkeys(range(6), 1.0), "learned": dict.fromkeys(range(6), 0.4)}}
    result = verdict.invariance(tasks, {"positions": kept, "prefix": {}})
    assert (result.outcome, result.difference.mean) == (SUPPORTED, pytest.approx(0.6))
    assert verdict.invariance(tasks, {}).lines == ["measure it with rpe inspect --shift"]
    assert verdict.invariance(tasks, {"positions": {}, "prefix": {}}).outcome == NOT_MEASURED


def test_the_rules_need_the_test_and_the_interval_alike():
    def difference(low, p):
        return Difference(mean=0.3, low=low, high=0.5, p=p, pairs=6, seeds=6, tasks=1)

    assert verdict.decide(paired.difference([[0.3, 0.2, 0.4, 0.3, 0.2, 0.3]]), 0.05) == SUPPORTED
    assert verdict.decide(difference(low=0.1, p=0.06), 0.05) == NOT_ENOUGH
    assert verdict.decide(difference(low=-0.1, p=0.01), 0.05) == NOT_ENOUGH
    assert verdict.decide(None, 0.05) == NOT_MEASURED


def three_claims(n_pairs: int, kept: float):
    """All claims on `n_pairs` seeds: clear on accuracy, `kept` against 0.5 of predictions, and half the steps."""
    tasks = fake_study({"rope": (HIGH * 2)[:n_pairs], "learned": (LOW * 2)[:n_pairs]}, steps={"rope": 25, "learned": 50})
    by_label = {"rope": dict.fromkeys(range(n_pairs), kept), "learned": dict.fromkeys(range(n_pairs), 0.5)}
    return verdict.verdicts(tasks, {"positions": {tasks[0].title: by_label}})


def test_three_claims_of_six_pairs_are_not_enough_though_each_alone_would_be():
    result = three_claims(6, kept=1.0)
    assert [claim.outcome for claim in result] == [NOT_ENOUGH] * 3
    assert [claim.p_holm for claim in result] == [pytest.approx(3 * 2 / 64)] * 3
    assert "Without this correction the outcome would be: supported. At least 7 pairs" in result[0].lines[-1]


def test_a_claim_that_lost_to_others_with_enough_pairs_is_not_told_to_have_too_few():
    difference = {"mean": 0.2, "low": 0.1, "high": 0.3, "seeds": 9, "tasks": 1, "pairs": 9}
    (first, *_) = three_claims(7, kept=1.0)
    claims = [
        first.model_copy(update={"claim": str(p), "difference": Difference(**difference, p=p), "lines": []})
        for p in (0.03, 0.5, 0.6)
    ]
    result = verdict.corrected([claim.model_copy(update={"p_equivalence": 1.0, "outcome": SUPPORTED}) for claim in claims])
    assert result[0].outcome == NOT_ENOUGH
    assert result[0].lines[-1].endswith("Without this correction the outcome would be: supported.")


def test_seven_pairs_support_all_three():
    result = three_claims(7, kept=1.0)
    assert [claim.outcome for claim in result] == [SUPPORTED] * 3
    assert result[2].lines[-1] == "Adjusted for the 3 claims tested (Holm), p = 0.016 becomes p = 0.047."


def test_no_difference_is_a_test_of_the_family():
    result = three_claims(7, kept=0.5)
    assert [claim.outcome for claim in result] == [SUPPORTED, NO_DIFFERENCE, SUPPORTED]
    assert [claim.p_holm for claim in result] == pytest.approx([3 * 2 / 128, 3 * 1 / 128, 3 * 2 / 128])


def test_a_claim_that_is_tested_alone_is_not_corrected():
    result = verdict.verdicts(fake_study({"rope": HIGH, "learned": LOW}, steps={"rope": None, "learned": None}))
    assert [claim.outcome for claim in result] == [NOT_ENOUGH, NOT_MEASURED, AT_FLOOR]
    assert [claim.p_holm for claim in result] == [2 * 2 / 64, None, 2 * 1 / 64], "two are tested"
    (alone,) = verdict.corrected([verdict.extrapolation(fake_study({"rope": HIGH, "learned": LOW}))])
    assert (alone.outcome, alone.p_holm) == (SUPPORTED, 2 / 64)


@pytest.mark.parametrize(
    ("mean", "interval", "text"),
    [
        (0.09, (0.04, 0.13), "+9 points [4, 13]"),
        (-0.09, (-0.13, -0.04), "-9 points [-13, -4]"),
        (0.09, (-0.04, 0.13), "+9 points [-4, +13]"),
        (0.004, (0.002, 0.006), "+0.4 points [0.2, 0.6]"),
        (0.09, (0.003, 0.13), "+9 points [0.3, 13]"),
        (0.09, (0.0004, 0.13), "+9 points [0.04, 13]"),
        (0.09, (0.0, 0.13), "+9 points [0, 13]"),
        (-0.09, (-0.13, 0.002), "-9 points [-13, +0.2]"),
        (0.0, None, "0 points"),
    ],
)
def test_differences_of_accuracy_are_points(mean, interval, text):
    assert report_format.write_points(mean, interval) == text


@pytest.mark.parametrize(("p", "text"), [(0.0001, "p < 0.001"), (0.03125, "p = 0.031"), (1.0, "p = 1.000")])
def test_p_has_three_digits(p, text):
    assert report_format.p_equation(p) == text


def test_runs_measured_with_another_encoding_enter_no_verdict_no_headline_and_no_mean():
    """They are the same training again: with them, RoPE would count twice in efficiency, and its YaRN in every mean."""
    runs = [
        fake_run(encoding, seed, {16: 1.0, 32: score, 64: score - 0.1}, task=task, steps=steps)
        for encoding, score, steps in (("rope", 0.4, 50), ("alibi", 0.6, 70), ("learned", 0.3, 90), ("sinusoidal", 0.2, 80))
        for seed in range(4)
        for task in ("copy", "parity")
    ]
    stretched = [
        replace(run, settings={"measured": " as rope:scaling=yarn"},
                record=run.record | {"encoding": "rope as rope:scaling=yarn"},
                evaluations={length: line | {"exact_match": 0.9} for length, line in run.evaluations.items()})
        for run in runs if run.record["encoding"] == "rope"
    ]  # fmt: skip
    plain, both = aggregate(runs), aggregate(runs + stretched)
    assert [len(task.encodings) for task in both] == [5, 5], "they have a row of their own"
    assert verdict.verdicts(own_tasks(both)) == verdict.verdicts(own_tasks(plain))
    assert headline(own_tasks(both), []) == headline(own_tasks(plain), [])
    assert rows.group_rows(both) == rows.group_rows(plain)
    measure = plain[0].scoring.decides
    for statistic in (paired.pooled_groups, paired.pooled):
        assert statistic(both, measure) == statistic(plain, measure)
    assert aggregate(stretched)[0].groups[0].n_runs == 4, "alone, they are what there is"
    unmeasured = [replace(run, evaluations={}) for run in runs]
    assert len(own_tasks(aggregate(unmeasured + stretched))[0].encodings) == 5, "nothing else was measured"
