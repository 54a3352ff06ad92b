"""The sentences of verdicts on made-up results with a known answer."""

import pytest
from helpers.fake_runs import fake_run, fake_study

from rpecli.report import verdict
from rpecli.report.aggregate import aggregate
from rpecli.report.records import Verdict

HIGH, LOW = [0.9, 0.85, 0.95, 0.9, 0.88, 0.92], [0.2, 0.3, 0.1, 0.25, 0.15, 0.2]
FOUR = {"rope": HIGH, "alibi": HIGH, "learned": LOW, "sinusoidal": LOW}


def judged(*args, **options) -> list[Verdict]:
    return verdict.verdicts(fake_study(*args, **options))


def test_a_supported_claim_is_one_sentence_with_effect_interval_and_p():
    extrapolation, shift, efficiency = judged(
        FOUR, ("copy", "sort"), steps={"rope": 25, "alibi": 25, "learned": 50, "sinusoidal": 50}
    )
    compared = "these 2 relative encodings against these 2 absolute ones on these 2 tasks"
    assert (
        extrapolation.summary == f"Supported: +70 points [65, 75] of exact match beyond training, p < 0.001 (Holm); {compared}."
    )
    assert efficiency.summary == f"Supported: 50 % fewer steps [50, 50] to 90 % token accuracy, p < 0.001 (Holm); {compared}."
    assert shift.summary == "Not measured: measure it with rpe inspect --shift"
    assert (extrapolation.settle, extrapolation.seeds_needed, shift.effect) == (None, None, None)


def test_one_encoding_of_each_kind_is_singular():
    result = judged({"rope": HIGH, "learned": LOW}, steps={"rope": 25, "learned": 50})
    assert result[0].compared == "this relative encoding against this absolute one on this task"
    assert (
        result[2]
        .lines[0]
        .startswith("This relative encoding (RoPE) needs fewer training steps than this absolute one (Learned APE)")
    )
    assert "With one encoding in each group, nothing can be said about encodings in general." in result[0].lines
    assert (result[0].p_labels, result[0].p_labels_smallest, result[0].p_welch) == (1.0, 1.0, None)


def test_the_labels_of_encodings_are_tested_beside_the_claim():
    scores = {"rope": HIGH, "alibi": [value - 0.1 for value in HIGH], "t5": [value - 0.2 for value in HIGH], "learned": LOW}
    result = judged(scores | {"sinusoidal": LOW})[0]
    assert (result.p_labels, result.p_labels_smallest) == (0.1, 0.1)
    (line,) = [line for line in result.lines if line.startswith("Labels:")]
    assert line.startswith(
        "Labels: of the 10 ways to call 3 of these 5 encodings relative, 1 differs as much: permutation p = 0.100 (the "
        "smallest that exists for 3 and 2 encodings: 0.100). Encodings in general (exploratory): Welch's t"
    )


def test_encodings_that_a_task_lacks_are_said_to_be_uneven_and_have_no_label():
    lower = [value - 0.1 for value in HIGH]
    runs = [fake_run(label, seed, {16: 1, 32: score}, task=task)
            for task, scores in (("copy", FOUR), ("sort", {"alibi": lower, "learned": LOW, "sinusoidal": LOW}))
            for label, values in scores.items() for seed, score in enumerate(values)]  # fmt: skip
    result = verdict.verdicts(aggregate(runs))[0]
    uneven = "on these 2 tasks (not every encoding on each)"
    assert result.compared == f"these 2 relative encodings against these 2 absolute ones {uneven}"
    assert any(line.startswith("These 2 relative encodings (") and f"{uneven}: exact match" in line for line in result.lines)
    (line,) = [line for line in result.lines if line.startswith("Labels:")]
    assert line.startswith("Labels: of the 3 ways to call 1 of the 3 encodings that all tasks have relative, 1 differs as much")
    assert (result.p_labels, result.p_labels_smallest) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def more(encodings: str, report: str = ", then rpe report") -> str:
    """The commands that train fake runs with seven seeds, measure them as they were and report all: their recipe's does not."""
    train = f"rpe train --task copy --encoding {encodings} --seed 0:7 --length 16 --steps 100"
    return f"{train}, then rpe eval --lengths 32 --samples 8{report}"


def test_too_few_seeds_end_with_the_command_that_should_decide():
    runs = [
        fake_run(label, seed, {16: 1.0, 32: score}, study="quick")
        for label, score in (("rope", 0.9), ("learned", 0.2)) for seed in (0, 1, 2)
    ]  # fmt: skip
    result = verdict.verdicts(aggregate(runs))[0]
    assert (result.outcome, result.seeds_needed) == ("not enough evidence", 7)
    assert result.summary == (
        "Not enough evidence: +70 points [70, 70] of exact match beyond training, p = 0.500 (Holm); this relative encoding "
        f"against this absolute one on this task. To settle it: {more('learned,rope')}."
    )


def test_the_command_names_encodings_that_the_recipe_lacks():
    runs = [
        fake_run(label, 0, {16: 1.0, 32: score}, study="quick") for label, score in (("rope:base=500", 0.9), ("learned", 0.2))
    ]
    settle = verdict.verdicts(aggregate(runs))[0].settle
    assert settle == f"To settle it: {more('learned,rope:base=500')}"


@pytest.mark.parametrize(("study", "report"), [({"study": "mine"}, ", then rpe report"), ({}, "")])
def test_the_command_is_that_of_the_runs_wherever_their_recipe_is(study, report):
    runs = [fake_run(label, 0, {16: 1.0, 32: score}, **study) for label, score in (("rope", 0.9), ("learned", 0.2))]
    result = verdict.verdicts(aggregate(runs))[0]
    assert result.settle == f"To settle it: {more('learned,rope', report)}"
    assert "too few seeds for a test" in result.summary


def test_an_effect_that_is_small_against_its_spread_is_said_to_be_out_of_reach():
    result = judged({"rope": [0.9, 0.1, 0.8, 0.2, 0.9, 0.1], "learned": [0.1, 0.9, 0.2, 0.7, 0.3, 0.6]})[0]
    assert result.seeds_needed is None
    assert result.summary.endswith(
        "More than 30 seeds per task would be needed: the effect is small against its spread over seeds."
    )


def test_a_group_that_learned_nothing_needs_longer_training_and_not_more_seeds():
    runs = [fake_run("rope", seed, {16: 1.0, 32: 0.9}) for seed in range(6)]
    runs += [fake_run("learned", seed, {16: 0.1, 32: 0.0}) for seed in range(6)]
    result = verdict.verdicts(aggregate(runs))[0]
    assert result.summary.endswith("on this task. Train longer (--steps): no APE run learned its training length.")


def test_no_difference_is_told_with_the_p_of_equivalence():
    result = judged({"rope": HIGH, "learned": HIGH})[0]
    assert result.summary.startswith(
        "No difference: 0 points [0, 0] of exact match beyond training, equivalence p = 0.031 (Holm); this"
    )


def test_a_floor_compares_nothing():
    result = judged({"rope": [0.0] * 6, "learned": [0.0] * 6})[0]
    assert result.summary.startswith("Both at floor, so nothing can be compared: 0 points [0, 0]")


def test_a_mixed_outcome_names_the_task_that_goes_the_other_way():
    runs = [fake_run(label, seed, {16: 1, 32: score}, task=task)
            for task in ("copy", "sort") for label, score in (("rope", 0.9), ("learned", 0.2)) for seed in range(6)]  # fmt: skip
    runs += [fake_run(label, seed, {16: 1, 32: score}, task="parity")
             for label, score in (("rope", 0.5), ("learned", 0.6)) for seed in range(6)]  # fmt: skip
    result = verdict.verdicts(aggregate(runs))[0]
    assert result.summary.endswith("on these 3 tasks, the other way round on Parity, trained to 16.")


def test_claims_of_runs_that_learned_nothing_are_not_judged():
    runs = [fake_run(label, seed, {16: 0.1, 32: score}, steps=None)
            for label, score in (("rope", 0.1), ("learned", 0.0)) for seed in range(6)]  # fmt: skip
    for result in verdict.verdicts(aggregate(runs))[::2]:
        assert result.summary == f"Not enough evidence: {verdict.NOTHING_LEARNED}"
        assert (result.difference, result.p_holm, result.settle) == (None, None, "Train longer (--steps)")
        assert len(result.lines) > 1, "the numbers are listed"


def test_runs_that_learned_nothing_are_asked_for_no_other_encodings():
    runs = [fake_run("rope", seed, {16: 0.1, 32: 0.1}, steps=None) for seed in range(3)]
    for result in verdict.verdicts(aggregate(runs)):
        assert result.summary == f"Not measured: {verdict.NOTHING_LEARNED}"
        assert result.lines == [verdict.NOTHING_LEARNED]


def test_a_group_that_was_not_shifted_is_not_said_to_be_missing():
    runs = [fake_run(label, 0, {16: 1.0, 32: 0.5}) for label in ("rope", "learned")]
    kept = {"positions": {"Copy, trained to 16": {"rope": {0: 0.9}}}}
    assert verdict.verdicts(aggregate(runs), kept)[1].lines == ["no absolute encoding was measured: rpe inspect --shift"]
    alone = verdict.verdicts(aggregate(runs[:1]), kept)[1].lines[0]
    assert alone.startswith("no absolute encoding: rpe train ")
    assert alone.endswith(", then rpe inspect --shift")
