"""The headline on made-up results with a known answer."""

import pytest
from helpers.fake_results import result, results

from rpecli.report.aggregate import aggregate
from rpecli.report.headline import headline

SMALL = "models of up to 0.15 million parameters, synthetic tasks."
ONE_SEED = f"1 seed per encoding, {SMALL}"
TO_LEARN = "To learn it: more steps (--steps), another learning rate (--lr-search) or shorter strings (--length)."


def sentence(line, words):
    (only,) = [text for text in line.detail if words in text]
    return only


def test_relative_encodings_are_better():
    tokens = {"rope": {16: 1, 32: 0.9, 128: 0.5}, "alibi": {16: 1, 32: 0.94, 128: 0.6},
              "learned": {16: 1, 32: 0.5, 128: 0.3}, "sinusoidal": {16: 1, 32: 0.6, 128: 0.3}}  # fmt: skip
    exact = {"rope": {32: 0.3, 128: 0}, "alibi": {32: 0.4, 128: 0}, "learned": {32: 0, 128: 0}, "sinusoidal": {32: 0.02, 128: 0}}
    line = headline(results(tokens, exact))
    assert line.title == (
        "Trained on lengths up to 16 and tested at 32, relative encodings still get 92 % of tokens right, absolute ones 55 %."
    )
    assert line.detail == [
        "Whole strings right at 32: relative 35 %, absolute 1 %.",
        "Tokens right at 128 (8x): relative 55 %, absolute 30 %.",
        "ALiBi (60 %) and RoPE (50 %) hold longest.",
        ONE_SEED,
    ]
    assert (line.source, line.first.lengths, line.last.factors) == ("yours", {"Copy, trained to 16": 32}, [8.0])
    assert [(group.group, group.token_accuracy) for group in line.first.groups] == [
        ("RPE", pytest.approx(0.92)),
        ("APE", pytest.approx(0.55)),
    ]
    assert line.unsolved == line.left_out == []


def test_absolute_encodings_are_better_and_stand_first():
    tokens = {"rope": {16: 1, 32: 0.3, 64: 0.2}, "alibi": {16: 1, 32: 0.4, 64: 0.2},
              "learned": {16: 1, 32: 0.8, 64: 0.6}, "sinusoidal": {16: 1, 32: 0.9, 64: 0.5}}  # fmt: skip
    line = headline(results(tokens))
    assert line.title == (
        "Trained on lengths up to 16 and tested at 32, absolute encodings still get 85 % of tokens right, relative ones 35 %."
    )
    assert sentence(line, "(4x)") == "Tokens right at 64 (4x): absolute 55 %, relative 20 %."
    assert "No relative encoding does better there than Learned (absolute, 60 %)." in line.detail


def test_a_tie_is_no_victory():
    line = headline(results({"rope": {16: 1, 32: 0.82}, "alibi": {16: 1, 32: 0.8}, "learned": {16: 1, 32: 0.78}}))
    assert line.title == (
        "Trained on lengths up to 16 and tested at 32, relative encodings and Learned (absolute) do about equally well: "
        "81 % and 78 % of tokens right."
    )
    assert "All encodings are within 5 points of each other at 32." in line.detail
    assert line.last is None


def test_a_tie_of_two_groups_names_both():
    tokens = {"rope": {16: 1, 32: 0.8}, "alibi": {16: 1, 32: 0.8}, "learned": {16: 1, 32: 0.8}, "sinusoidal": {16: 1, 32: 0.8}}
    assert ", relative and absolute encodings do about equally well: 80 % and 80 %" in headline(results(tokens)).title


def test_a_difference_of_less_than_five_points_names_the_relative_number_first_though_it_is_lower():
    line = headline(results({"rope": {16: 1, 32: 0.78}, "learned": {16: 1, 32: 0.81}}))
    assert line.title.endswith("do about equally well: 78 % and 81 % of tokens right.")


def test_groups_that_both_guess_are_said_to_guess():
    line = headline(results({"rope": {16: 1, 512: 0.12}, "learned": {16: 1, 512: 0.09}}))
    assert line.title == (
        "Trained on lengths up to 16 and tested at 512, neither RoPE (relative) nor Learned (absolute) does much better than "
        "chance (10 %): 12 % and 9 % of tokens right."
    )


def test_a_group_of_one_encoding_is_called_by_its_name():
    line = headline(results({"rope": {16: 1, 32: 0.84}, "learned": {16: 1, 32: 0.35}}))
    assert line.title == (
        "Trained on lengths up to 16 and tested at 32, RoPE (relative) still gets 84 % of tokens right, Learned (absolute) 35 %."
    )


def test_a_low_accuracy_is_not_called_still_right():
    assert (
        ", RoPE (relative) gets 40 % of tokens right, Learned (absolute) 20 %."
        in headline(results({"rope": {16: 1, 32: 0.4}, "learned": {16: 1, 32: 0.2}})).title
    )


def test_one_encoding_only():
    line = headline(results({"rope": {16: 1, 32: 0.84, 64: 0.12}}, {"rope": {32: 0.1}}))
    assert line.title == "Trained on lengths up to 16 and tested at 32, RoPE (relative) still gets 84 % of tokens right."
    assert line.detail == ["Whole strings right at 32: 10 %.", "Tokens right at 64 (4x): 12 % (chance 10 %).", ONE_SEED]


def test_one_encoding_stands_beside_the_reference_results():
    reference = results({"rope": {16: 1, 32: 0.8}, "alibi": {16: 1, 32: 1}, "learned": {16: 1, 32: 0.5}})
    line = headline(results({"rope": {16: 1, 32: 0.84}}), reference)
    assert line.source == "yours"
    assert line.title.endswith("84 % of tokens right; reference: other relative encodings 90 %, Learned (absolute) 50 %.")
    assert "Best of the reference at 32: ALiBi (100 %)." in line.detail


def test_a_group_of_the_reference_that_did_not_learn_a_task_is_compared_on_the_others():
    tokens = {"rope": {16: 1, 32: 0.8}, "alibi": {16: 1, 32: 1}}
    learned, unlearned = {"learned": {16: 1, 32: 0.5}}, {"learned": {16: 0.2, 32: 0.1}}
    reference = results(tokens | learned) + results(tokens | unlearned, task="parity")
    own = results({"rope": {16: 1, 32: 0.84}}) + results({"rope": {16: 1, 32: 0.6}}, task="parity")
    line = headline(own, reference)
    assert line.title.endswith(
        "72 % of tokens right; reference: other relative encodings 90 %, Learned (absolute) 50 % on 1 of 2 tasks."
    )
    assert line.detail[0] == "No absolute encoding of the reference learned Parity; on Copy: absolute 50 %, RoPE (relative) 84 %."


def test_reference_results_of_other_lengths_are_not_compared():
    line = headline(results({"rope": {16: 1, 32: 0.84}}), results({"alibi": {16: 1, 64: 1}}))
    assert not any("Reference" in text for text in line.detail)


def test_the_reference_is_not_mixed_with_own_groups():
    own = results({"rope": {16: 1, 32: 0.8}, "learned": {16: 1, 32: 0.5}})
    assert headline(own, results({"rope": {16: 1, 32: 0.1}, "learned": {16: 1, 32: 0.1}})) == headline(own)


def test_references_only():
    reference = results({"rope": {16: 1, 32: 0.8}, "learned": {16: 1, 32: 0.5}})
    line = headline([], reference)
    assert line.title == "Reference results: t" + headline(reference).title[1:]
    assert line.source == "reference"


def test_one_group_only():
    line = headline(results({"rope": {16: 1, 32: 0.4, 64: 0.2}, "alibi": {16: 1, 32: 1, 64: 0.9}, "t5": {16: 1, 32: 1, 64: 0.8}}))
    assert line.title == "Trained on lengths up to 16 and tested at 32, relative encodings still get 80 % of tokens right."
    assert "ALiBi (90 %) and T5 bias (80 %) hold longest." in line.detail
    assert "RoPE (20 %) falls behind, although relative." in line.detail


def test_no_encoding_alone():
    assert headline(results({"none": {16: 1, 32: 0.7}})).title == (
        "Trained on lengths up to 16 and tested at 32, NoPE (no encoding) still gets 70 % of tokens right."
    )


def test_nothing_solved_says_nothing_about_length():
    line = headline(results({"rope": {16: 0.6, 32: 0.5}, "learned": {16: 0.5, 32: 0.3}}))
    assert line.title == "No run learned its training length (16), so these results say nothing about longer ones."
    assert line.detail == ["At the training length of Copy, RoPE gets the most tokens right: 60 %.", TO_LEARN, ONE_SEED]
    assert (line.first, line.left_out) == (None, ["Copy, trained to 16"])


def test_equal_encodings_are_named_together():
    equal = {name: {16: 0.5, 32: 0.3} for name in ("rope", "learned", "alibi", "t5")}
    two = headline(results({name: equal[name] for name in ("rope", "learned")}))
    assert two.detail[0] == "At the training length of Copy, Learned and RoPE get the most tokens right: 50 %."
    assert headline(results(equal)).detail[0] == "At the training length of Copy, 4 encodings get the most tokens right: 50 %."


def test_a_task_that_no_run_learned_is_left_out_of_the_numbers():
    tasks = results({"rope": {16: 1, 32: 0.8}, "learned": {16: 1, 32: 0.4}})
    tasks += results({"rope": {16: 0.5, 32: 0.1}, "learned": {16: 0.4, 32: 0.1}}, task="sort")
    line = headline(tasks)
    assert "still gets 80 % of tokens right, Learned (absolute) 40 %" in line.title
    assert "No run learned Sort (trained to 16): not in these numbers." in line.detail
    assert line.left_out == ["Sort, trained to 16"]


def test_a_group_that_learned_nothing_is_in_the_title():
    line = headline(results({"rope": {16: 1, 32: 0.8}, "learned": {16: 0.5, 32: 0.4}, "sinusoidal": {16: 0.4, 32: 0.2}}))
    assert line.title == (
        "Trained on lengths up to 16 and tested at 32, RoPE (relative) still gets 80 % of tokens right, absolute ones "
        "30 %; no absolute encoding learned even the training length."
    )


def test_an_encoding_that_not_every_run_learned_is_named():
    runs = [result("rope", {16: 1, 32: 0.8}, seed=seed) for seed in range(3)]
    runs += [result("learned", {16: value, 32: 0.4}, seed=seed) for seed, value in enumerate((1, 0.5, 0.5))]
    line = headline(aggregate(runs))
    assert "Training length not learned by every run: Learned on Copy (by 1 of 3 runs)." in line.detail
    assert line.detail[-1] == f"3 seeds per encoding, {SMALL}"
    (unsolved,) = line.unsolved
    assert (unsolved.task, unsolved.encoding, unsolved.solved, unsolved.runs) == ("Copy", "Learned", 1, 3)


def test_encodings_that_did_not_learn_are_named_once_and_no_more_than_three():
    learned, half, no = {16: 1, 32: 0.8}, {16: 0.5, 32: 0.4}, {16: 0.2, 32: 0.1}
    tokens = {"rope": learned, "learned": learned, "alibi": half, "t5": no, "fire": half, "none": half}
    tasks = results(tokens) + results(tokens | {"alibi": learned}, task="sort")
    text = sentence(headline(tasks), "not learned")
    assert text == (
        "Training length not learned by every run: ALiBi on Copy (by 0 of 1 run); FIRE on Copy and Sort (by 0 of 2 runs); "
        "NoPE on Copy and Sort (by 0 of 2 runs); and 1 more."
    )


def test_a_relative_encoding_no_better_than_an_absolute_one_is_named():
    tokens = {"alibi": {16: 1, 64: 0.9}, "rope": {16: 1, 64: 0.33}, "learned": {16: 1, 64: 0.3}, "sinusoidal": {16: 1, 64: 0.2}}
    line = headline(results(tokens))
    assert "ALiBi (90 %) holds longest." in line.detail
    assert "RoPE (33 %) does no better there than Learned (absolute, 30 %)." in line.detail


def test_no_encoding_that_does_as_well_as_the_best_is_said_for_that_task():
    best = {"rope": {16: 1, 32: 0.7}, "learned": {16: 1, 32: 0.2}}
    tasks = results(best | {"none": {16: 1, 32: 0.68}}, task="sort") + results(best | {"none": {16: 1, 32: 0.3}})
    line = headline(tasks)
    assert "No encoding at all (NoPE) is within 5 points of the best on Sort at 32: 68 % (RoPE 70 %)." in line.detail
    line = headline(results(best | {"none": {16: 1, 32: 0.72}}, task="sort"))
    assert "No encoding at all (NoPE) does at least as well as any on Sort at 32: 72 % (RoPE 70 %)." in line.detail


def test_no_encoding_that_guesses_as_the_best_encoding_does_is_not_called_as_good():
    tasks = results({"rope": {16: 1, 32: 0.9}, "learned": {16: 1, 32: 0.2}, "none": {16: 1, 32: 0.1}})
    guesses = {"rope": {16: 1, 32: 0.52}, "learned": {16: 1, 32: 0.5}, "none": {16: 1, 32: 0.5}}
    tasks += results(guesses, task="parity", chance=0.5)
    assert "Without any encoding (NoPE): 30 % at 32." in headline(tasks).detail


def test_no_encoding_that_is_nowhere_as_good_has_its_number():
    line = headline(results({"rope": {16: 1, 32: 0.7}, "learned": {16: 1, 32: 0.2}, "none": {16: 1, 32: 0.3}}))
    assert "Without any encoding (NoPE): 30 % at 32." in line.detail


def test_different_training_lengths_are_compared_in_multiples():
    tokens = {n: {n: 1.0, 2 * n: 0.8, 4 * n: 0.3} for n in (16, 64)}
    tasks = results({"rope": tokens[16], "learned": tokens[16]})
    tasks += results({"rope": tokens[64], "learned": tokens[64]}, task="sort", length=64)
    line = headline(tasks)
    together = "At twice the training length, RoPE (relative) and Learned (absolute) do about equally well: 80 % and 80 %"
    assert line.title.startswith(together)
    assert line.detail[:3] == [
        "Trained on lengths up to 16 on Copy, 64 on Sort.",
        "Whole strings right at 2x: relative 80 %, absolute 80 %.",
        "Tokens right at 4x: relative 30 %, absolute 30 %.",
    ]


def test_tasks_without_a_multiple_in_common_have_a_range():
    tasks = results({"rope": {16: 1, 24: 0.8}, "learned": {16: 1, 24: 0.4}})
    tasks += results({"rope": {64: 1, 128: 0.6}, "learned": {64: 1, 128: 0.2}}, task="sort", length=64)
    line = headline(tasks)
    assert line.title.startswith("At 1.5 to 2 times the training length, RoPE (relative) still gets 70 % of tokens right")
    assert line.first.factors == [1.5, 2.0]


def test_the_last_length_is_each_tasks_own_where_only_the_first_is_shared():
    tasks = results({"rope": {16: 1, 32: 0.8, 128: 0.6}, "learned": {16: 1, 32: 0.4, 128: 0.3}})
    tasks += results({"rope": {64: 1, 128: 0.8, 256: 0.4}, "learned": {64: 1, 128: 0.4, 256: 0.3}}, task="sort", length=64)
    line = headline(tasks)
    assert line.title.startswith("At twice the training length")
    assert "Tokens right at 4x to 8x: relative 50 %, absolute 30 %." in line.detail


def test_a_task_without_absolute_encodings_is_in_no_number():
    tasks = results({"rope": {16: 1, 32: 0.8}, "learned": {16: 1, 32: 0.4}}) + results({"rope": {16: 1, 32: 0.2}}, task="sort")
    line = headline(tasks)
    assert "RoPE (relative) still gets 80 % of tokens right" in line.title
    assert "Sort: not in these numbers, for lack of runs to compare or of a length beyond training." in line.detail


def test_no_tested_length_beyond_training():
    line = headline(results({"rope": {16: 1}, "learned": {16: 1}}))
    assert line.title == "Trained on lengths up to 16; no longer length is tested for all runs."
    assert line.detail == ["To test longer ones: rpe eval.", ONE_SEED]


def test_encodings_are_ranked_at_the_longest_length_at_which_one_is_above_chance():
    tokens = {"alibi": {16: 1, 32: 0.9, 512: 0.1}, "rope": {16: 1, 32: 0.5, 512: 0.1}, "learned": {16: 1, 32: 0.2, 512: 0.1}}
    line = headline(results(tokens))
    assert "ALiBi (90 %) holds longest (tokens right at 32)." in line.detail
    assert "Tokens right at 512 (32x): relative 10 %, absolute 10 % (chance 10 %)." in line.detail


def test_the_number_without_an_encoding_has_its_length():
    tokens = {"rope": {16: 1, 32: 0.7, 512: 0.1}, "learned": {16: 1, 32: 0.2, 512: 0.1}, "none": {16: 1, 32: 0.3, 512: 0.1}}
    line = headline(results(tokens))
    assert "Without any encoding (NoPE): 30 % at 32." in line.detail  # what stands before it may be of another length


def test_numbers_are_means_over_seeds_then_encodings_then_tasks():
    runs = [result("rope", {16: 1, 32: value}, seed=seed) for seed, value in enumerate((1.0, 0.6))]
    runs += [result("alibi", {16: 1, 32: 0.4}), result("learned", {16: 1, 32: 0.1})]
    runs += [result("rope", {16: 1, 32: 0.2}, task="sort"), result("learned", {16: 1, 32: 0.1}, task="sort")]
    line = headline(aggregate(runs))
    assert line.first.group("RPE").token_accuracy == pytest.approx(((0.8 + 0.4) / 2 + 0.2) / 2)
    assert [one.encoding for one in line.first.encodings] == ["RoPE", "Learned"]  # ALiBi is not on sort
    assert line.first.encodings[0].token_accuracy == pytest.approx((0.8 + 0.2) / 2)


def test_a_length_that_is_nearly_twice_as_long_says_more_than_the_first():
    line = headline(results({"rope": {50: 1, 51: 1, 99: 0.84, 105: 0.8, 147: 0.5}}, length=50))
    assert line.title == "Trained on lengths up to 50 and tested at 99, RoPE (relative) still gets 84 % of tokens right."
    assert [*line.last.lengths.values()] == [147]
    near = headline(results({"rope": {50: 1, 51: 0.9, 60: 0.7}}, length=50))
    assert near.title == "Trained on lengths up to 50 and tested at 51, RoPE (relative) still gets 90 % of tokens right."


def test_lengths_between_doublings_do_not_move_the_headline():
    line = headline(results({"rope": {16: 1, 17: 1, 32: 0.84, 48: 0.5}}))
    assert line.title == "Trained on lengths up to 16 and tested at 32, RoPE (relative) still gets 84 % of tokens right."
    assert line.last is None
