"""Reports of made-up runs whose every number is known."""

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers.fake_runs import made_up
from helpers.run_folders import evaluation, make_run
from matplotlib.figure import Figure
from rich.console import Console

from rpecli import table as tables
from rpecli.report import aggregate as panels
from rpecli.report import build as report
from rpecli.report import format as report_format
from rpecli.report import load as frames
from rpecli.report.figures import accuracy as figure
from rpecli.report.load import ReportError
from rpecli.report.stats import Summary
from rpecli.run.files import append_line
from rpecli.table import Table


def make(paths: list[Path], tmp_path: Path, command: str | None = None) -> report.Report:
    return report.make(paths, "mine", tmp_path / "results", command)


def table(made: report.Report, title: str) -> Table:
    return next(each for each in made.tables if each.title == title)


def row(found: Table, label: str) -> dict[str, str]:
    return dict(zip(found.columns, next(cells for cells in found.rows if cells[0].split(" [")[0] == label), strict=True))


def bold(found: Table) -> list[str]:
    return [
        text for line, marks in zip(found.rows, found.bold, strict=True) for text, mark in zip(line, marks, strict=True) if mark
    ]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Two seeds of rope, one that did not learn; one of learned with untrained positions; one of none."""
    runs = tmp_path_factory.mktemp("three")
    paths = [
        make_run(runs, {16: 1.0, 32: 0.8, 64: 0.4}, exact={16: 1.0, 32: 0.96, 64: 0.2}, seed=0),
        make_run(
            runs,
            {16: 0.5, 32: 0.4, 64: 0.3},
            exact={16: 0.5, 32: 0.3, 64: 0.0},
            seed=1,
            info={"steps_to_accuracy": {"steps_to_90": None}},
        ),
        make_run(runs, {16: 1.0, 32: 0.7, 64: 0.1}, exact={16: 1.0, 32: 0.1, 64: 0.0}, encoding="none"),
    ]
    learned = make_run(runs, {16: 1.0}, encoding="learned")
    for length, share in ((32, 0.5), (64, 0.75)):
        append_line(learned / "eval.jsonl", evaluation(length, 0.2, 0.0) | {"untrained_positions": share})
    return report.make([*paths, learned], "mine", runs / "results")


# ------------------------------------------------------------------------------------------------------------ hand-worked


def test_a_cell_is_the_mean_over_seeds_with_their_range(three):
    found = row(table(three, "copy, trained to 16: token accuracy"), "rope")
    assert found["32 (2x)"] == ".60 (.40-.80)"
    assert row(table(three, "copy, trained to 16: exact match"), "rope")["16 (1x)"] == ".75 (.50-1.00)"


def test_one_seed_has_no_range(three):
    assert row(table(three, "copy, trained to 16: token accuracy"), "none")["32 (2x)"] == ".70"


def test_rows_are_in_the_order_of_groups_with_chance_last(three):
    found = table(three, "copy, trained to 16: token accuracy")
    assert [line[0].split()[0] for line in found.rows] == ["learned", "rope", "none", "chance"]
    assert row(found, "chance")["64 (4x)"] == ".10"


def test_the_best_mean_of_a_column_is_bold_also_when_tied(three):
    assert bold(table(three, "copy, trained to 16: exact match")) == ["1.00", ".63 (.30-.96)", ".10 (.00-.20)", "1.00"]
    assert bold(table(three, "copy, trained to 16: token accuracy")) == ["1.00", ".35 (.30-.40)", "1.00", ".70"]


def test_solved_runs_are_counted_and_the_row_marked(three):
    found = table(three, "copy, trained to 16: exact match")
    assert row(found, "rope")["solved"] == "1/2"
    assert "Solved in distribution: 3 of 4 runs" in found.caption
    (marked,) = [line[0] for line in found.rows if line[0].startswith("rope")]
    note = next(text for text in found.footnotes if text.startswith(marked.split(" ")[1]))
    assert "not every run learned the training length" in note


def test_the_effective_length_is_that_of_the_middle_seed(three):
    found = table(three, "copy, trained to 16: exact match")
    assert row(found, "rope")["effective length"] == "<16 (<16-32)"
    assert row(found, "none")["effective length"] == "16"


def test_steps_to_90_say_how_many_seeds_got_there(three):
    found = table(three, "copy, trained to 16: token accuracy")
    assert row(found, "rope")["steps to 90 %"] == "- (1 of 2)"
    assert row(found, "none")["steps to 90 %"] == "50"


def test_cells_at_untrained_positions_point_at_a_footnote_with_the_share(three):
    found = table(three, "copy, trained to 16: token accuracy")
    assert row(found, "learned")["16 (1x)"] == "1.00"
    assert row(found, "learned")["64 (4x)"] == ".20 [a]"
    assert found.footnotes[0].startswith(
        "[a] learned: evaluated at positions that training never reached (50 % at 32, 75 % at 64"
    )


def test_groups_are_means_of_their_encodings(tmp_path):
    paths = [
        make_run(tmp_path, {16: 1.0, 32: 1.0}, encoding="alibi", seed=0),
        make_run(tmp_path, {16: 1.0, 32: 0.8}, encoding="alibi", seed=1),
        make_run(tmp_path, {16: 1.0, 32: 0.5}, encoding="rope"),
        make_run(tmp_path, {16: 1.0, 32: 0.3}, encoding="sinusoidal"),
    ]
    found = table(make(paths, tmp_path), "copy, trained to 16: by group")
    assert row(found, "RPE") == {
        "group": "RPE", "measure": "token accuracy", "encodings": "2", "runs": "3", "solved": "3/3",
        "16 (1x)": "1.00", "32 (2x)": ".70 (.50-.90)",
    }  # fmt: skip
    assert "at 2x token accuracy .70 against .30, exact match .70 against .30." in found.caption
    assert "The training length was learned by 3 of 3 RPE runs and 1 of 1 APE runs." in found.caption


def test_a_group_that_learned_nothing_is_said(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}), make_run(tmp_path, {16: 0.2, 32: 0.2}, encoding="learned")]
    assert (
        "No APE run did, so the numbers beyond it say little"
        in table(make(paths, tmp_path), "copy, trained to 16: by group").caption
    )


def test_a_report_without_absolute_encodings_says_that_it_compares_nothing(tmp_path):
    made = make([make_run(tmp_path, {16: 1.0, 32: 0.5})], tmp_path)
    assert "no APE run is evaluated" in made.markdown


def test_the_summary_holds_what_the_tables_round(three):
    summary = pd.read_csv(next(file for file in three.files if file.name == "summary.csv"))
    (found,) = summary[(summary.encoding == "rope") & (summary.length == 32)].to_dict("records")
    assert found["token_accuracy_mean"] == pytest.approx(0.6)
    assert found["rescaled_accuracy_mean"] == pytest.approx((0.6 - 0.1) / 0.9)
    assert (found["exact_match_low"], found["exact_match_high"]) == (0.3, 0.96)
    assert found["area_mean"] == pytest.approx((1.0 + 0.8 * 2 + 0.4 + 0.5 + 0.4 * 2 + 0.3) / 8)
    assert (found["solved"], found["judged"], found["runs"]) == (1, 2, 2)


def test_the_runs_file_has_a_row_for_each_run_and_length_in_full_precision(tmp_path):
    made = make([make_run(tmp_path, {16: 1 / 3, 32: 2 / 3})], tmp_path)
    found = pd.read_csv(next(file for file in made.files if file.name == "runs.csv"))
    assert list(found.length) == [16, 32]
    assert list(found.token_accuracy) == [1 / 3, 2 / 3]
    assert (found.low[0], found.high[0], found.steps_to_90[0], found.d_model[0]) == (0.25, 0.75, 50, 64)
    assert (found.tokens[0], found.batch_tokens[0]) == (5000, 1024)


def test_the_page_says_where_the_numbers_come_from(three, tmp_path):
    for words in ("`c0ffee` (4 runs)", "torch 2.9", "a CPU, 2 cores", "d_model: 64", "encoding: learned, none, rope"):
        assert words in three.markdown
    dirty = make_run(tmp_path, {16: 1.0}, info={"dirty": True})
    assert "`c0ffee + changes` (1 run)" in make([dirty], tmp_path, "rpe report runs").markdown


def test_the_page_leads_from_every_number_to_its_run_and_strings(three, tmp_path):
    for words in ("### Runs", "rpe train RUN/recipe.yaml", "16: set16, 32: set32, 64: set64."):
        assert words in three.markdown
    dirty = make_run(tmp_path, {16: 1.0}, seed=5, info={"dirty": True})
    assert re.search(rf"\| rope +\| +5 \| trained \| c0ffee\+ +\| `{dirty}` \|", make([dirty], tmp_path).markdown)


def test_the_page_holds_the_command_that_makes_it_again(tmp_path):
    assert (
        "```sh\nrpe report runs --name mine\n```"
        in make([make_run(tmp_path, {16: 1.0})], tmp_path, "rpe report runs --name mine").markdown
    )


# ---------------------------------------------------------------------------------------------------------- kept apart


def test_training_lengths_of_one_task_are_kept_apart(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.4}), make_run(tmp_path, {16: 1.0, 32: 0.9}, length=32)]
    made = make(paths, tmp_path)
    assert row(table(made, "copy, trained to 16: token accuracy"), "rope")["32 (2x)"] == ".40"
    assert row(table(made, "copy, trained to 32: token accuracy"), "rope")["32 (1x)"] == ".90"
    assert row(table(made, "copy, trained to 32: token accuracy"), "rope")["16 (0.5x)"] == "1.00"


def test_runs_that_differ_in_a_recipe_key_are_never_averaged(tmp_path):
    paths = [
        make_run(tmp_path, {16: 0.4}),
        make_run(tmp_path, {16: 0.8}, steps=1000),
        make_run(tmp_path, {16: 0.6}, steps=500, seed=1),
    ]
    found = table(make(paths, tmp_path), "copy, trained to 16: token accuracy")
    assert [line[0].split(" [")[0] for line in found.rows] == ["rope steps=100", "rope steps=500", "rope steps=1000", "chance"]
    assert [line[3] for line in found.rows] == [".40", ".60", ".80", ".10"]


def test_keys_that_only_change_what_is_evaluated_do_not_split_a_row(tmp_path):
    paths = [make_run(tmp_path, {16: 0.4}, lengths="1x"), make_run(tmp_path, {16: 0.8}, seed=1, lengths="1x,2x")]
    assert row(table(make(paths, tmp_path), "copy, trained to 16: token accuracy"), "rope")["16 (1x)"] == ".60 (.40-.80)"


def test_positions_are_part_of_the_label(tmp_path):
    paths = [
        make_run(tmp_path, {16: 0.4}),
        make_run(tmp_path, {16: 0.8}, positions="randomized"),
        make_run(tmp_path, {16: 1}, positions="offset"),
    ]
    found = table(make(paths, tmp_path), "copy, trained to 16: token accuracy")
    assert [line[0].split(" [")[0] for line in found.rows[:3]] == ["rope", "rope+offset", "rope+randomized"]


def test_two_files_of_one_name_are_two_rows(tmp_path):
    paths = []
    for folder, base in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f'"""Mine."""\nbase = {base}\n')
        paths.append(make_run(tmp_path, {16: base / 2}, encoding=tmp_path / folder / "mine.py"))
    found = table(make(paths, tmp_path), "copy, trained to 16: token accuracy")
    assert [line[0].startswith("mine file=") for line in found.rows] == [True, True, False]


def test_a_copy_of_a_run_is_no_second_seed(tmp_path):
    paths = [make_run(tmp_path / "a", {16: 0.4}), make_run(tmp_path / "b", {16: 0.8})]
    made = make(paths, tmp_path)
    assert row(table(made, "copy, trained to 16: token accuracy"), "rope")["16 (1x)"] == ".40"
    assert any("are the same run" in text for text in made.problems)


def test_the_same_directory_twice_counts_once(tmp_path):
    path = make_run(tmp_path, {16: 0.4})
    made = make([path, path], tmp_path)
    assert (made.problems, len(made.data["runs"])) == ([], 1)


def test_of_several_evaluations_of_a_length_the_last_of_the_largest_counts(tmp_path):
    path = make_run(tmp_path, {16: 0.1})
    for accuracy, n in ((0.2, 200), (0.3, 200), (0.9, 50)):
        append_line(path / "eval.jsonl", evaluation(16, accuracy, accuracy) | {"n": n})
    assert row(table(make([path], tmp_path), "copy, trained to 16: token accuracy"), "rope")["16 (1x)"] == ".30"


def test_evaluations_of_older_weights_do_not_count(tmp_path):
    path = make_run(tmp_path, {16: 0.1, 32: 0.1}, line={"weights": "older"})
    append_line(path / "eval.jsonl", evaluation(16, 0.8, 0.8) | {"n": 50})
    made = make([path], tmp_path)
    assert table(made, "copy, trained to 16: token accuracy").columns[3:-1] == ["16 (1x)"]
    assert made.problems == [f"{path}: measured at 32 with older weights only, left out: rpe eval {path}"]


# ------------------------------------------------------------------------------------------------------- nothing is hidden


def test_a_failed_run_counts_as_not_solved_and_is_in_no_mean(tmp_path):
    failed = make_run(tmp_path, {}, seed=1, info={"status": "failed", "error": "the loss\nis nan"})
    made = make([make_run(tmp_path, {16: 1.0}), failed], tmp_path)
    found = table(made, "copy, trained to 16: exact match")
    assert (row(found, "rope")["solved"], row(found, "rope")["16 (1x)"]) == ("1/2", "1.00")
    assert any("1 of 2 runs failed" in text for text in found.footnotes)
    assert any("the loss is nan" in text for text in made.problems)
    assert "the loss is nan" in made.markdown


def test_an_encoding_of_which_every_run_failed_keeps_its_row(tmp_path):
    failed = make_run(tmp_path, {}, encoding="alibi", info={"status": "failed"})
    found = table(make([make_run(tmp_path, {16: 1.0}), failed], tmp_path), "copy, trained to 16: exact match")
    assert (row(found, "alibi")["solved"], row(found, "alibi")["16 (1x)"]) == ("0/1", "-")


def test_runs_not_trained_or_not_evaluated_are_said_and_keep_a_row_of_the_frame(tmp_path):
    silent = make_run(tmp_path, {}, encoding="alibi")
    training = make_run(tmp_path, {16: 0.3}, encoding="none", info={"status": "training"})
    found = frames.collect([make_run(tmp_path, {16: 1.0}), silent, training])
    assert any(f"rpe eval {silent}" in text for text in found.problems)
    assert any("not trained to the end" in text and str(training) in text for text in found.problems)
    assert list(found.frame.status) == ["trained", "training", "trained"]
    assert list(found.frame.length.isna()) == [True, True, False]


def test_a_run_never_evaluated_at_its_training_length_is_neither_solved_nor_unsolved(tmp_path):
    made = make([make_run(tmp_path, {32: 1.0})], tmp_path)
    assert row(table(made, "copy, trained to 16: exact match"), "rope")["solved"] == "-"
    assert any("not evaluated at the training length" in text and "--lengths 1x" in text for text in made.problems)


def test_a_length_that_only_some_seeds_have_is_marked(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}), make_run(tmp_path, {16: 1.0}, seed=1)]
    found = table(make(paths, tmp_path), "copy, trained to 16: exact match")
    assert row(found, "rope")["32 (2x)"] == ".50 [a]"
    assert found.footnotes == ["[a] rope: only 1 of 2 runs were evaluated at 32"]


def test_a_damaged_run_is_said_and_the_others_are_reported(tmp_path):
    damaged = make_run(tmp_path, {16: 1.0}, seed=1)
    (damaged / "run.json").write_text("{")
    made = make([make_run(tmp_path, {16: 0.7}), damaged, tmp_path / "absent"], tmp_path)
    assert row(table(made, "copy, trained to 16: token accuracy"), "rope")["16 (1x)"] == ".70"
    assert sum("damaged record" in text or "no run" in text for text in made.problems) == 2


def test_an_encoding_whose_file_changed_between_runs_is_said(tmp_path):
    sources = {"tasks": "00000000", "encodings": "11111111"}
    paths = [make_run(tmp_path, {16: 0.4}), make_run(tmp_path, {16: 0.8}, seed=1, info={"sources": sources})]
    made = make(paths, tmp_path)
    assert any("the file of encoding rope changed" in text for text in made.problems)
    (note,) = [text for text in table(made, "copy, trained to 16: exact match").footnotes if "changed between its seeds" in text]
    assert note.startswith(("[a] rope", "[b] rope"))
    assert "the file of encoding rope changed" in made.markdown


def test_one_file_for_all_seeds_is_not_remarked_on(three):
    assert not any("changed" in text for each in three.tables for text in each.footnotes)
    assert three.problems == []


def test_runs_of_two_commits_are_said(tmp_path):
    paths = [make_run(tmp_path, {16: 0.4}), make_run(tmp_path, {16: 0.8}, seed=1, info={"commit": "b1ade0123456"})]
    assert any("trained by 2 commits of rpe: b1ade012 (1), c0ffee (1)" in text for text in make(paths, tmp_path).problems)


def test_a_run_whose_recipe_is_another_run_today_is_said(tmp_path):
    path = make_run(tmp_path, {16: 0.4}, info={"id": "copy-rope-s0-00000000"})
    (said,) = make([path], tmp_path).problems
    assert said.startswith("made by a version of rpe in which their recipes were other runs")
    assert str(path) in said


# --------------------------------------------------------------------------------------------------------------- refusals


def test_evaluations_on_different_strings_are_refused(tmp_path):
    one = make_run(tmp_path, {16: 1.0, 32: 0.5})
    other = make_run(tmp_path, {16: 1.0, 32: 0.5}, encoding="alibi", line={"fingerprint": "other", "eval_seed": 7})
    with pytest.raises(ReportError) as error:
        make([one, other], tmp_path)
    for words in ("copy at length 16", str(one), str(other), "eval_seed=7", "rpe eval ", " --overwrite"):
        assert words in str(error.value)
    assert not (tmp_path / "results").exists()


def test_a_set_that_all_runs_were_measured_on_is_taken_before_a_larger_one_of_a_few(tmp_path):
    one, other = make_run(tmp_path, {16: 0.4}), make_run(tmp_path, {16: 0.6}, seed=1)
    append_line(other / "eval.jsonl", evaluation(16, 0.9, 0.9) | {"fingerprint": "large", "n": 500})
    assert row(table(make([one, other], tmp_path), "copy, trained to 16: token accuracy"), "rope")["16 (1x)"] == ".50 (.40-.60)"
    append_line(one / "eval.jsonl", evaluation(16, 0.7, 0.7) | {"fingerprint": "large", "n": 500})
    assert row(table(make([one, other], tmp_path), "copy, trained to 16: token accuracy"), "rope")["16 (1x)"] == ".80 (.70-.90)"


def test_different_tasks_have_different_strings(tmp_path):
    one, other = make_run(tmp_path, {16: 1.0}), make_run(tmp_path, {16: 1.0}, task="sort", line={"fingerprint": "other"})
    assert len(make([one, other], tmp_path).tables) == 6


def test_no_runs_are_refused():
    with pytest.raises(ReportError, match="rpe train"):
        frames.collect([])


def test_runs_without_any_evaluation_are_refused_with_what_to_type(tmp_path):
    path = make_run(tmp_path, {})
    with pytest.raises(ReportError, match=f"(?s)nothing is evaluated.*rpe eval {path}"):
        make([path], tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ReportError, match="not a run directory"):
        make([tmp_path], tmp_path)


def test_a_name_that_leaves_the_results_is_refused(tmp_path):
    with pytest.raises(ReportError, match="no name for a report"):
        report.make([make_run(tmp_path, {16: 1.0})], "../mine", tmp_path)


# ----------------------------------------------------------------------------------------------------- the other measures


def behind(made: report.Report, title: str) -> Table:
    return next(each for each in made.evidence if each.title == title)


def test_the_end_token_has_a_table_of_its_own(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 64: 0.5}, line={"exact_match_eos": 0.25}, seed=seed) for seed in (0, 1)]
    made = make(paths, tmp_path)
    found = behind(made, "copy, trained to 16: exact match with the end token")
    assert (row(found, "rope")["64 (4x)"], row(found, "rope")["median area"], found.folded) == (".25", ".25", True)
    assert row(table(made, "copy, trained to 16: exact match"), "rope")["64 (4x)"] == ".50"


def test_accuracy_below_chance_is_below_nothing(tmp_path):
    found = behind(make([make_run(tmp_path, {16: 1.0, 32: 0.01})], tmp_path),
                   "copy, trained to 16: token accuracy rescaled for chance")  # fmt: skip
    assert (row(found, "rope")["16 (1x)"], row(found, "rope")["32 (2x)"], row(found, "rope")["median area"]) == (
        "1.00",
        "-.10",
        ".45",
    )


def test_mean_median_lowest_and_highest_of_every_measure_are_told(tmp_path):
    paths = [make_run(tmp_path, {32: value}, exact={32: value / 2}, seed=seed) for seed, value in enumerate([0.2, 0.4, 0.9])]
    found = row(behind(make(paths, tmp_path), "copy, trained to 16: spread over seeds"), "rope")
    assert found == {
        "encoding": "rope", "group": "RPE", "length": "32 (2x)", "seeds": "3", "exact match": ".25; .20 (.10-.45)",
        "exact match with the end token": ".25; .20 (.10-.45)", "token accuracy": ".50; .40 (.20-.90)",
        "rescaled for chance": ".44; .33 (.11-.89)",
    }  # fmt: skip
    summary = pd.read_csv(tmp_path / "results" / "mine" / "summary.csv")
    assert summary.rescaled_accuracy_median[0] == pytest.approx(0.3 / 0.9)


def test_tables_that_are_read_on_demand_are_folded_in_the_page(three):
    assert re.search(
        r"### Spread over seeds\n\n<details><summary>\d+ rows</summary>\n\n\| enc.*?\n\n</details>", three.markdown, re.DOTALL
    )


# ------------------------------------------------------------------------------------------------------------------ files


def test_every_file_is_written_and_nothing_is_left_beside_them(three):
    names = [
        "accuracy.pdf",
        "accuracy.png",
        "accuracy.svg",
        "pairs.csv",
        "pooled.csv",
        "report.html",
        "report.json",
        "report.md",
        "runs.csv",
        "summary.csv",
        "tables.tex",
    ]
    assert sorted(file.name for file in three.files) == names
    assert sorted(file.name for file in three.files[0].parent.iterdir()) == names
    by_name = {file.name: file.read_bytes() for file in three.files}
    assert by_name["accuracy.png"].startswith(b"\x89PNG")
    assert b"<svg" in by_name["accuracy.svg"]
    assert by_name["accuracy.pdf"].startswith(b"%PDF")
    assert json.loads(by_name["report.json"]) == three.data
    assert by_name["report.md"].decode() == three.markdown


def test_the_same_runs_in_any_order_give_the_same_bytes(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}, encoding=name) for name in ("rope", "learned", "none")]
    first = report.make(paths, "mine", tmp_path / "first")
    second = report.make(paths[::-1], "mine", tmp_path / "second")
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_data_has_no_number_that_json_lacks(tmp_path):
    made = make([make_run(tmp_path, {16: 1.0}, line={"nll": math.inf})], tmp_path)
    assert made.data["runs"][0]["evaluations"][0]["nll"] is None


def test_the_figure_takes_one_task_and_many(tmp_path):
    for number in (1, 2, 5):
        names = ("copy", "sort", "parity", "recall", "reverse")[:number]
        made = make([make_run(tmp_path / str(number), {16: 1.0, 32: 0.5}, task=name) for name in names], tmp_path)
        assert len(made.tables) == 3 * number


SHORT, ADDED = [16, 512, 1024, 2048, 4096], list(range(16, 257, 16))
LONG, NEAR, WIDER = [16, *(2**k for k in range(9, 18))], [8, 16, 17, 18], [64, 512, 1024, 2048, 4096]


def composed(number: int, lengths: list[int]) -> Figure:
    """The accuracy figure of so many tasks, before it is written."""
    names = ("copy", "sort", "parity", "recall", "reverse", "addition", "sort:distinct=true")[:number]
    found = panels.panels([made_up("rope", 0, dict.fromkeys(lengths, 0.5), task=name) for name in names])
    found = [replace(panel, length=64) for panel in found] if lengths is WIDER else found
    return figure.accuracy_figure(found, figure.series_styles(found)).figure


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("lengths", [SHORT, ADDED, LONG, NEAR, WIDER], ids=["short", "added", "long", "near", "wider"])
def test_labels_of_lengths_never_touch_nor_leave_the_figure(number, lengths):
    made = composed(number, lengths)
    boxes = [text.get_window_extent() for axes in made.axes for text in axes.get_xticklabels()]
    assert len(boxes) >= 2 * len(made.axes)
    for i, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= made.bbox.width
        assert not any(box.padded(3).overlaps(other.padded(3)) for other in boxes[:i])  # dots, of 200 an inch


def test_every_length_has_a_tick_and_the_trained_one_and_the_ends_are_labelled_first():
    for number, lengths in ((1, SHORT), (4, SHORT), (4, ADDED), (7, LONG)):
        for axes in composed(number, lengths).axes:
            assert sorted([*axes.xaxis.get_majorticklocs(), *axes.xaxis.get_minorticklocs()]) == lengths
            said = [text.get_text().split()[0] for text in axes.get_xticklabels()]
            assert {"16", str(lengths[-1])} <= {*said}
    assert "16" in [text.get_text().split()[0] for text in composed(4, NEAR).axes[0].get_xticklabels()]


def test_where_there_is_room_every_length_is_labelled():
    labels = [text.get_text() for text in composed(1, [16, 64, 256, 1024, 4096]).axes[0].get_xticklabels()]
    assert labels == ["16\n1x", "64\n4x", "256\n16x", "1024\n64x", "4096\n256x"]


def test_a_multiple_of_the_training_length_is_written_as_people_write_it():
    assert [report_format.factor(n, 16) for n in (4, 16, 24, 4096, 131072)] == ["0.25x", "1x", "1.5x", "256x", "8192x"]


def test_a_table_for_the_terminal_shows_its_marks_and_footnotes(three):
    console = Console(width=200, file=io.StringIO())
    console.print(table(three, "copy, trained to 16: token accuracy"))
    shown = console.file.getvalue()
    assert ".20 [a]" in shown
    assert "[a] learned: evaluated at positions" in shown


def test_markdown_tables_are_aligned_and_without_the_figure(three):
    text = report.markdown_tables(three)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert "accuracy.png" not in text
    assert {len(line) for line in lines[:5]} == {len(lines[0])}
    assert lines[1].startswith("| :--")
    assert lines[1].endswith("-: |")


# ---------------------------------------------------------------------------------------------------------- text and marks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00"),
        (0.9999, ">.99"),
        (0.994, ".99"),
        (0.5, ".50"),
        (0.0049, "<.01"),
        (0.0, ".00"),
        (-0.3, "-.30"),
        (-0.004, ">-.01"),
    ],
)
def test_only_perfection_is_written_as_one_and_only_nothing_as_zero(value, text):
    assert report_format.number(value) == text


def test_a_range_that_prints_the_same_is_left_out():
    assert report_format.spread(Summary(0.5, 0.5, 0.501, 3)) == ".50"
    assert report_format.spread(None) == "-"


SPECIAL = Table("a_b & 50 %", ["x_1", "n"], "lr", [["t5:a|b~^ [a]", "<.01 (.00-.50)"]], [[False, True]], "c#$\\", ["[a] {x}"])


def test_latex_escapes_what_it_would_take_for_commands():
    text = SPECIAL.latex()
    assert r"\caption{a\_b \& 50 \%. c\#\$\textbackslash{}}" in text
    assert r"t5:a$|$b\textasciitilde{}\textasciicircum{}\textsuperscript{a} & \textbf{$<$.01 (.00--.50)} \\" in text
    assert r"\textsuperscript{a} \{x\}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_a_table_is_set_as_small_as_it_must_be():
    def size(characters: int) -> str:
        wide = Table("t", ["a" * characters], "l", [["b"]], [[False]], "", [])
        return re.search(r"\\centering\\(\w+)", wide.latex()).group(1)

    assert [size(n) for n in (96, 97, 111, 200)] == ["small", "footnotesize", "scriptsize", "tiny"]


def test_markdown_escapes_the_bar_that_would_end_a_cell():
    assert r"| t5:a\|b~^ [a] | **<.01 (.00-.50)** |" in SPECIAL.markdown()


def test_footnotes_share_a_letter_for_the_same_text():
    notes = tables.Footnotes()
    assert [notes.mark("x"), notes.mark("y"), notes.mark("x")] == [" [a]", " [b]", " [a]"]
    assert [tables.letter(i) for i in (25, 26, 27)] == ["z", "aa", "ab"]


def test_labels_sort_by_their_numbers():
    assert sorted(["a steps=1000", "a steps=500", "a lr=0.01", "a"], key=panels.natural) == [
        "a",
        "a lr=0.01",
        "a steps=500",
        "a steps=1000",
    ]


def test_a_sentence_spells_out_doublings_alone_when_there_are_many_lengths(tmp_path):
    lengths = dict.fromkeys(range(16, 129, 8), 0.5)
    paths = [make_run(tmp_path, lengths), make_run(tmp_path, lengths, encoding="learned")]
    caption = table(make(paths, tmp_path), "copy, trained to 16: by group").caption
    assert [word for word in caption.split() if word.endswith("x")] == ["2x", "4x", "8x"]
