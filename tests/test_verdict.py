"""The verdict on made-up results with a known answer."""

import pytest
from helpers.fake_runs import made_up, study

from rpecli.report import format as report_format
from rpecli.report import paired as compare
from rpecli.report import verdict
from rpecli.report.aggregate import panels
from rpecli.report.verdict import CONTRADICTED, MISSING, MIXED, NEITHER, SUPPORTED, TIE, UNDECIDED

HIGH, LOW = [0.9, 0.85, 0.95, 0.9, 0.88, 0.92], [0.2, 0.3, 0.1, 0.25, 0.15, 0.2]


def extrapolation(values, *args, **given):
    return verdict.extrapolation(study(values, *args, **given))


def test_an_encoding_that_is_truly_better_is_supported_with_its_numbers():
    made = extrapolation({"rope": HIGH, "learned": LOW})
    assert made.outcome == SUPPORTED
    assert made.difference.mean == pytest.approx(0.7)
    assert "+.70 (95 % interval +.6" in made.lines[1]
    assert "p = .031, 6 pairs of seeds" in made.lines[1]
    assert any(
        "rope has the highest mean exact match beyond training, .90, set apart from learned" in line for line in made.lines
    )


def test_an_encoding_that_is_worse_contradicts_the_claim():
    assert extrapolation({"rope": LOW, "learned": HIGH}).outcome == CONTRADICTED


def test_two_seeds_are_not_enough_however_far_apart():
    made = extrapolation({"rope": [1.0, 1.0], "learned": [0.0, 0.0]}, ("copy", "sort", "parity"))
    assert made.outcome == UNDECIDED
    assert "Only 2 seeds for a task: from fewer than 3 nothing is concluded, and nothing is tested." in made.lines
    assert not any("interval" in line or "p =" in line for line in made.lines)


def test_one_task_with_two_seeds_leaves_the_whole_undecided():
    runs = [made_up(name, s, {16: 1, 32: v}) for name, v in (("rope", 1.0), ("learned", 0.0)) for s in range(9)]
    runs += [made_up(name, s, {16: 1, 32: v}, task="sort") for name, v in (("rope", 1.0), ("learned", 0.0)) for s in range(2)]
    assert verdict.extrapolation(panels(runs)).outcome == UNDECIDED


def test_three_seeds_of_one_task_cannot_decide_and_the_page_says_why():
    made = extrapolation({"rope": HIGH[:3], "learned": LOW[:3]})
    assert made.outcome == UNDECIDED
    assert any("smallest p there is is 0.25" in line for line in made.lines)


def test_three_seeds_of_two_tasks_can_decide():
    assert extrapolation({"rope": HIGH[:3], "learned": LOW[:3]}, ("copy", "sort")).outcome == SUPPORTED


def test_equal_encodings_are_a_tie_and_no_victory():
    near = [value + 0.01 * (-1) ** place for place, value in enumerate(HIGH)]
    assert extrapolation({"rope": HIGH, "learned": near}).outcome == TIE
    assert extrapolation({"rope": HIGH, "learned": HIGH}).outcome == TIE


def test_three_equal_seeds_are_too_few_for_a_tie():
    assert extrapolation({"rope": HIGH[:3], "learned": HIGH[:3]}).outcome == UNDECIDED


def test_a_difference_within_the_margin_is_none_to_speak_of_however_sure():
    assert extrapolation({"rope": HIGH, "learned": [value - 0.02 for value in HIGH]}).outcome == TIE


def test_seeds_that_disagree_are_not_enough_evidence():
    assert extrapolation({"rope": [0.9, 0.1, 0.8, 0.2, 0.9, 0.1], "learned": [0.1, 0.9, 0.2, 0.7, 0.3, 0.6]}).outcome == UNDECIDED


def test_a_task_on_which_it_is_the_other_way_round_is_mixed():
    runs = [made_up(name, s, {16: 1, 32: v}) for name, vs in (("rope", HIGH), ("learned", LOW)) for s, v in enumerate(vs)]
    runs += [
        made_up(name, s, {16: 1, 32: v}, task="sort") for name, vs in (("rope", HIGH), ("learned", LOW)) for s, v in enumerate(vs)
    ]
    runs += [made_up(name, s, {16: 1, 32: v}, task="parity") for name, v in (("rope", 0.5), ("learned", 0.6)) for s in range(6)]
    made = verdict.extrapolation(panels(runs))
    assert made.outcome == MIXED
    assert any(line.startswith("parity, trained to 16: -.10") for line in made.lines)


def test_groups_that_both_fail_are_not_told_from_each_other():
    assert extrapolation({"rope": [0.0] * 6, "learned": [0.0] * 6}).outcome == NEITHER


def test_a_group_that_learned_nothing_decides_nothing():
    runs = [made_up("rope", s, {16: 1, 32: 0.9}) for s in range(6)] + [
        made_up("learned", s, {16: 0.1, 32: 0.0}) for s in range(6)
    ]
    made = verdict.extrapolation(panels(runs))
    assert made.outcome == UNDECIDED
    assert any("0 of 6 APE runs learned their training length." in line for line in made.lines)
    assert "Since no APE run learned it, what stands beyond it decides nothing." in made.lines


def test_the_highest_that_nothing_sets_apart_is_told_without_a_list_of_all_others():
    values = dict.fromkeys(("rope", "alibi", "learned"), HIGH)
    (told,) = [line for line in extrapolation(values).lines if "has the highest" in line]
    assert told.endswith(".90, set apart from no other (Holm, 3 pairs).")


def test_a_missing_baseline_is_said():
    made = extrapolation({"rope": HIGH, "alibi": LOW})
    assert (made.outcome, made.lines) == (MISSING, ["No APE run has the numbers for this, so there is nothing to compare with."])


def test_failed_runs_and_the_seed_they_take_with_them_are_said():
    runs = [made_up(name, s, {16: 1, 32: v}) for name, vs in (("rope", HIGH), ("learned", LOW)) for s, v in enumerate(vs)]
    runs += [made_up("alibi", s, {16: 1, 32: 0.9}) for s in range(5)] + [made_up("alibi", 5, {}, status="failed")]
    made = verdict.extrapolation(panels(runs))
    assert made.difference.pairs == 5
    assert any("1 of alibi on copy, trained to 16." in line for line in made.lines)


def test_groups_without_a_seed_in_common_are_said():
    runs = [made_up("rope", 0, {16: 1, 32: 1}), made_up("learned", 1, {16: 1, 32: 0})]
    assert "No seed is shared" in verdict.extrapolation(panels(runs)).lines[0]


def test_lengths_within_training_measure_no_extrapolation():
    runs = [made_up(name, s, {16: 1.0}) for name in ("rope", "learned") for s in range(6)]
    made = verdict.extrapolation(panels(runs))
    assert (made.outcome, made.lines) == (MISSING, ["No length beyond training is evaluated: rpe eval --lengths 1x:8x"])


def test_no_encoding_at_all_that_beats_the_relative_ones_is_said():
    made = extrapolation({"rope": LOW, "learned": LOW, "none": HIGH})
    assert any(line.startswith("Beside the claim, uncorrected, deciding nothing: none against RPE") for line in made.lines)


# ---------------------------------------------------------------------------------------------------------- other claims


def test_quicker_learning_is_told_as_times_fewer_steps():
    made = verdict.efficiency(study({"rope": HIGH, "learned": LOW}, steps={"rope": 25, "learned": 50}))
    assert made.outcome == SUPPORTED
    assert "2.00x fewer steps (95 % interval 2.00x fewer steps to 2.00x fewer steps), p = .031" in made.lines[0]


def test_runs_that_never_got_there_count_as_their_budget_and_are_counted():
    made = verdict.efficiency(study({"rope": HIGH, "learned": LOW}, steps={"rope": 25, "learned": None}))
    assert made.outcome == SUPPORTED
    assert "4.00x fewer steps" in made.lines[0]
    assert "6 of 12 runs never got there" in made.lines[-1]


def test_as_many_steps_are_a_tie_and_none_at_all_is_said():
    assert verdict.efficiency(study({"rope": HIGH, "learned": LOW})).outcome == TIE
    assert verdict.efficiency(study({"rope": HIGH, "learned": LOW}, steps={"rope": None, "learned": None})).outcome == NEITHER


def test_invariance_is_judged_where_it_was_measured():
    made = study({"rope": HIGH, "learned": LOW})
    kept = {made[0].title: {"rope": dict.fromkeys(range(6), 1.0), "learned": dict.fromkeys(range(6), 0.4)}}
    found = verdict.invariance(made, {"positions": kept, "prefix": {}})
    assert (found.outcome, found.difference.mean) == (SUPPORTED, pytest.approx(0.6))
    assert verdict.invariance(made, {}).lines == ["Measure it with: rpe inspect RUN --shift"]
    assert verdict.invariance(made, {"positions": {}, "prefix": {}}).outcome == MISSING


def test_the_rules_need_the_test_and_the_interval_alike():
    found = compare.difference([[0.3, 0.2, 0.4, 0.3, 0.2, 0.3]])
    assert verdict.decide(found, 0.05) == SUPPORTED
    assert verdict.decide(compare.Difference(0.3, 0.1, 0.5, 0.06, 6, 6, 1), 0.05) == UNDECIDED
    assert verdict.decide(compare.Difference(0.3, -0.1, 0.5, 0.01, 6, 6, 1), 0.05) == UNDECIDED
    assert verdict.decide(None, 0.05) == MISSING


# ------------------------------------------------------------------------------------------------- the claims together


def kept_in(made, rope, learned):
    return {"positions": {made[0].title: {"rope": dict(enumerate(rope)), "learned": dict(enumerate(learned))}}}


def judged(pairs: int, kept: float):
    """All three claims on `pairs` seeds: clear on accuracy, `kept` against .5 of predictions, and half the steps."""
    made = study({"rope": (HIGH * 2)[:pairs], "learned": (LOW * 2)[:pairs]}, steps={"rope": 25, "learned": 50})
    return verdict.verdicts(made, kept_in(made, [kept] * pairs, [0.5] * pairs))


def test_three_claims_of_six_pairs_are_not_enough_though_each_alone_would_be():
    made = judged(6, kept=1.0)
    assert [each.outcome for each in made] == [UNDECIDED] * 3
    assert [each.p_holm for each in made] == [pytest.approx(3 * 2 / 64)] * 3
    said = "p adjusted for the 3 claims tested (Holm): .094. Alone it would be supported; among 3 claims it is not enough. "
    assert made[0].lines[-1] == said + "That takes at least 7 pairs of seeds."


def test_seven_pairs_support_all_three():
    made = judged(7, kept=1.0)
    assert [each.outcome for each in made] == [SUPPORTED] * 3
    assert made[2].lines[-1] == "p adjusted for the 3 claims tested (Holm): .047."


def test_a_tie_rests_on_its_interval_and_stands_whatever_the_others():
    made = judged(7, kept=0.5)
    assert [each.outcome for each in made] == [SUPPORTED, TIE, SUPPORTED]
    assert [each.p_holm for each in made] == pytest.approx([3 * 2 / 128, 1.0, 3 * 2 / 128])


def test_a_claim_that_is_tested_alone_is_not_corrected():
    made = verdict.verdicts(study({"rope": HIGH, "learned": LOW}, steps={"rope": None, "learned": None})[:1])
    assert [each.outcome for each in made] == [UNDECIDED, MISSING, NEITHER], "two are tested"
    alone = verdict.corrected([verdict.extrapolation(study({"rope": HIGH, "learned": LOW}))])
    assert (alone[0].outcome, alone[0].p_holm) == (SUPPORTED, 2 / 64)


@pytest.mark.parametrize(("p", "text"), [(0.0001, "< .001"), (0.03125, "= .031"), (1.0, "= 1.000")])
def test_p_has_three_digits(p, text):
    assert report_format.probability(p) == text
