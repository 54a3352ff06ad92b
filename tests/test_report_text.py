"""The summary of a report in a terminal and in a pipe, on made-up results."""

from dataclasses import replace

import pytest
from helpers.fake_results import result, results
from helpers.fake_runs import fake_study

from rpecli.report.aggregate import aggregate
from rpecli.report.content import ReportContent
from rpecli.report.heatmap import heat_map
from rpecli.report.overview import CHANCE, brief, overview
from rpecli.report.verdict import verdicts
from rpecli.report.write import text

ENCODINGS = ("none", "learned", "sinusoidal", "rope", "alibi", "t5", "fire")


def lines_of(tasks, width=80, reference=()):
    return text.overview_lines(overview(tasks, reference), width)


def line_of(lines, name):
    (only,) = [line for line in lines if line.split(" ")[0] == name]
    return only.split()


def content_of(tasks, reference=()):
    return ReportContent("mine", None, [], [], tasks, {}, {}, verdicts(tasks), [], [], list(reference))


@pytest.fixture
def quick():
    """Seven encodings, three tasks, four lengths, one encoding that did not learn its training length."""
    tokens = {one: {16: 1.0, 32: 1 - place / 9, 64: 0.8 - place / 9, 128: 0.5} for place, one in enumerate(ENCODINGS)}
    exact = dict.fromkeys((16, 32, 64, 128), 0.2)
    return [task for name in ("copy", "parity", "sort") for task in results(tokens, {"rope": exact}, task=name)]


def test_seven_encodings_on_three_tasks_fit_a_narrow_terminal(quick):
    lines = text.summary(content_of(quick), 80)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 37  # and the page below an empty line
    assert sum(line.startswith("Sinusoidal ") for line in lines) == 1


def test_a_mean_of_fewer_seeds_than_others_of_its_row_is_marked():
    runs = [result(one, {16: 1.0, 32: 0.5, 64: 0.25}, seed=seed) for one in ("rope", "alibi") for seed in (0, 1)]
    del runs[1].evaluations[64]
    lines = lines_of(aggregate(runs))
    assert line_of(lines, "RoPE")[-3:] == ["100", "50", "25†"]
    assert line_of(lines, "ALiBi")[-3:] == ["100", "50", "25"]
    note = "† Mean of fewer seeds than others of its row: not every run was evaluated there."
    assert note in " ".join(lines)
    heat = heat_map(aggregate(runs))
    assert {row.title: [cell.fewer for cell in row.cells[0]] for row in heat.rows} == {
        "ALiBi": [False, False, False], "RoPE": [False, False, True]}  # fmt: skip
    assert "1 seed of 2: others were not evaluated there" in heat.rows[1].cells[0][2].words
    complete = overview(aggregate([run for run in runs if run.record["seed"] == 0]))
    assert not any("†" in text for text in complete.notes)


def default_tasks(*encodings):
    """Four tasks as long as the default ones, each encoding worse than the one before and the third not solved."""
    tasks = []
    for name, length, longest in (("copy", 64, 4096), ("parity", 128, 4096), ("recall", 256, 4096), ("sort", 32, 1024)):
        lengths = [n for n in (32, 64, 128, 256, 512, 1024, 2048, 4096) if length <= n <= longest]
        tokens = {one: {n: 1 - place * (step + 1) / 30 for step, n in enumerate(lengths)} for place, one in enumerate(encodings)}
        tasks += results({one: dict(by_length) for one, by_length in tokens.items()}, task=name, length=length)
    return tasks


@pytest.mark.parametrize("own", [("rope",), ("rope", "learned"), ("rope", "learned", "none")])
@pytest.mark.parametrize("reference", [(), ("fire", "alibi", "t5", "sinusoidal", "xpos", "sandwich")])
def test_the_default_tasks_fit_on_a_screen(own, reference):
    lines = text.summary(content_of(default_tasks(*own), default_tasks(*reference)), 80)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 37
    assert sum(line.startswith("RoPE (yours) " if reference else "RoPE ") for line in lines) == 2


def test_of_the_reference_a_terminal_shows_the_best_of_each_group_first_and_marks_own_encodings():
    tokens = {one: {16: 1, 32: 0.9 - place / 10} for place, one in enumerate(("fire", "alibi", "t5", "sinusoidal", "learned"))}
    view = overview(results({"rope": {16: 1, 32: 0.55}, "none": {16: 1, 32: 0.4}, "shaw": {16: 1, 32: 0.3}}), results(tokens))
    shown = brief(view)
    assert [row[0] for row in view.rows if row[2] == "reference"] == ["FIRE", "ALiBi", "T5 bias", "Sinusoidal", "Learned"]
    assert [row[0] for row in shown.rows] == [
        "FIRE",
        "Sinusoidal",
        "RoPE (yours)",
        "NoPE (yours)",
        "Shaw (yours)",
        "chance",
    ]
    assert shown.notes[-2:] == ["Unmarked rows: reference.", "3 more encodings on the page."]
    own = overview(results({one: {16: 1, 32: 0.5} for one in ENCODINGS}))
    assert brief(own) == own


def test_tasks_that_do_not_fit_side_by_side_go_below_each_other(quick):
    lines = lines_of(quick, 58)
    assert max(map(len, lines)) <= 58
    assert sum(line.startswith("Sinusoidal ") for line in lines) == 2


def test_a_task_wider_than_the_terminal_is_not_broken(quick):
    assert sum(line.startswith("Sinusoidal ") for line in lines_of(quick, 20)) == 3


def test_cells_are_whole_per_cent_with_the_best_encoding_first():
    lines = lines_of(results({"learned": {16: 1, 32: 0.204}, "rope": {16: 1, 32: 0.75}, "alibi": {16: 0.99, 32: 0.9}}))
    assert lines[0].strip() == "Copy"
    assert lines[1].split() == ["encoding", "group", "16", "32"]
    assert [line.split()[0] for line in lines[2:6]] == ["ALiBi", "RoPE", "Learned", "chance"]
    assert line_of(lines, "ALiBi") == ["ALiBi", "RPE", "99", "90"]
    assert line_of(lines, "chance") == ["chance", "10", "10"]


def test_an_encoding_that_not_every_run_learned_is_marked_and_the_mark_explained():
    runs = [result("rope", {16: value, 32: 0.4}, seed=seed) for seed, value in enumerate((1, 0.5))]
    lines = lines_of(aggregate([*runs, result("alibi", {16: 1, 32: 0.5})]))
    assert line_of(lines, "RoPE") == ["RoPE", "RPE", "75*", "40"]
    assert line_of(lines, "ALiBi") == ["ALiBi", "RPE", "100", "50"]
    assert "* Not learned by every run" in " ".join(lines)
    ends = [line.index(cell) + len(cell.rstrip("*")) for line in lines for cell in ("75*", "100") if cell in line]
    assert len(set(ends)) == 1, "digits stand below each other"


def test_exact_match_is_shown_where_it_differs_from_tokens_and_from_none():
    tokens = {"rope": {16: 1, 32: 0.9, 64: 0.8}}
    for exact, columns in (({32: 0.9}, []), ({32: 0.01}, []), ({32: 0.4}, ["EM"])):
        assert lines_of(results(tokens, {"rope": exact}))[1].split()[2:] == ["16", "32", "64", *columns]
    assert line_of(lines_of(results(tokens, {"rope": {32: 0.4}})), "RoPE")[-1] == "40"


def test_the_training_length_is_said_once_or_by_task():
    tokens = {"rope": {16: 1, 64: 1, 128: 0.9}}
    assert "Trained on lengths up to 16." in " ".join(lines_of(results(tokens)))
    lines = lines_of(results(tokens) + results(tokens, task="sort", length=64))
    assert lines[0].split() == ["Copy,", "to", "16", "Sort,", "to", "64"]
    assert lines[1].split() == ["encoding", "group", "16", "64", "128", "64", "128"], "lengths from the training length on"


def test_an_encoding_that_a_task_does_not_have_is_blank_there():
    lines = lines_of(results({"rope": {16: 1}, "alibi": {16: 0.5}}) + results({"rope": {16: 0.9}}, task="sort"))
    assert line_of(lines, "RoPE") == ["RoPE", "RPE", "100", "90"]
    assert line_of(lines, "ALiBi") == ["ALiBi", "RPE", "50*"]


def test_reference_results_stand_beside_own_ones_with_their_source():
    own, reference = results({"rope": {16: 1, 32: 0.7}}), results({"rope": {16: 1, 32: 0.6}, "alibi": {16: 1, 32: 0.9}})
    lines = lines_of(own, reference=reference)
    assert lines[1].split() == ["encoding", "group", "source", "16", "32"]
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["ALiBi", "RPE", "reference"],
        ["RoPE", "RPE", "yours"],
        ["RoPE", "RPE", "reference"],
    ]


def test_of_many_lengths_only_doublings_are_shown():
    by_length = dict.fromkeys(range(16, 129, 8), 0.95)
    assert lines_of(results({"rope": by_length}))[1].split()[2:] == ["16", "32", "64", "128"]


def test_of_many_lengths_without_doublings_those_that_lie_evenly_are_shown():
    (block,) = overview(results({"rope": dict.fromkeys((50, *range(51, 150, 6)), 0.5)}, length=50)).blocks
    assert block.lengths == [50, 63, 75, 93, 117, 147]


def test_of_many_doublings_the_training_length_the_next_ones_and_the_last_are_shown():
    by_length = {16 * 2**step: 0.95 for step in range(9)}
    assert lines_of(results({"rope": by_length}))[1].split()[2:] == ["16", "32", "64", "128", "256", "4096"]


def test_the_tables_of_markdown_have_the_same_cells():
    view = overview(results({"rope": {16: 1, 32: 0.75}}))
    (table,) = view.tables()
    assert (table.title, table.columns, table.foot) == ("Copy", ["encoding", "group", "16", "32"], 1)
    assert table.rows == [["RoPE", "RPE", "100", "75"], ["chance", "", "10", "10"]]
    assert view.rows[-1] == CHANCE


def test_text_is_wrapped_between_words_only():
    assert text.wrap("training lengths of time-and-again", 10) == ["training", "lengths of", "time-and-again"]
    assert text.wrap("as many as 92 % of them", 13) == ["as many as", "92 % of them"]
    assert text.wrap("one two", 8, "1. ") == ["1. one", "   two"]


def test_headline_claims_and_overview_stand_in_this_order():
    content = content_of(results({"rope": {16: 1, 32: 0.8}, "learned": {16: 1, 32: 0.4}}))
    joined = " ".join(" ".join(text.summary(content, 80)).split())
    order = ["RoPE (relative) still gets 80 % of tokens right", "Whole strings right at 32", "Length extrapolation Not enough",
             "Translation invariance Not measured", "Sample efficiency Not measured", "encoding group"]  # fmt: skip
    places = [joined.index(words) for words in order]
    assert places == sorted(places)


def test_notes_on_the_reference_are_told_and_reasons_for_none_of_one_task_only():
    own, reference = results({"rope": {16: 1, 32: 0.8}}), results({"alibi": {16: 1, 32: 0.9}})
    notes = ["Your RoPE reproduces the reference.", "No reference results for sort with lr=1."]
    both = replace(content_of(own, reference), reference_notes=notes)
    assert text.summary(both, 80)[-2:] == notes
    none = replace(content_of(own), reference_notes=["No reference results for copy with lr=1.", *notes[1:]])
    assert text.summary(none, 80)[-1] == "No reference results for copy with lr=1; nor for 1 other task."


def test_what_claims_have_in_common_is_told_once_behind_them():
    first, second, third = verdicts(fake_study({"rope": [0.9, 0.8], "learned": [0.2, 0.1]}, steps={"rope": 10, "learned": 50}))
    assert "; this relative encoding against this absolute one on this task. To settle it: " in first.summary
    lines = text.claim_lines([first, second, third], 400)
    assert [line.split("  ")[0] for line in lines[:3]] == [first.claim, second.claim, third.claim]
    assert not any("this relative encoding" in line or "To settle" in line for line in lines[:3])
    assert lines[3:] == [f"Compared: {first.compared}. {first.settle}."]
    assert text.claim_lines([first], 500) == [f"{first.claim}  {first.summary}"]


def test_a_long_title_is_folded_in_a_narrow_terminal():
    view = overview(results({"rope": {16: 1, 32: 0.75}}, task="addition:base=2:operands=split:reverse=false"))
    lines = text.overview_lines(view, 50)
    assert max(map(len, lines)) <= 50
    assert [line.strip() for line in lines[:2]] == ["Addition (base=2, operands=split,", "reverse=false)"]
    assert text.overview_lines(view, 80)[0].strip() == "Addition (base=2, operands=split, reverse=false)"
