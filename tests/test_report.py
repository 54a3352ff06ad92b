"""Reports of made-up runs whose every number is known."""

import csv
import io
import json
import math
import re
from pathlib import Path

import pytest
from helpers.run_folders import add_inspection, evaluation, make_run, validation
from rich.console import Console

from rpecli.report import build
from rpecli.report import format as report_format
from rpecli.report.aggregate import natural_key
from rpecli.report.load import ReportError
from rpecli.report.measures import TOKENS
from rpecli.report.stats import Summary
from rpecli.run.files import append_line
from rpecli.table import Table

EXACT, TOKEN, GROUPS = (f"Copy, trained to 16: {name}" for name in ("exact match", "token accuracy", "by group"))


def make(paths: list[Path], tmp_path: Path, command: str | None = None) -> build.Report:
    return build.build_report(paths, "mine", tmp_path / "results", command)


def find(content: build.ReportContent, title: str) -> Table:
    return next(table for table in content.all_tables if table.heading == title)


def row(table: Table, label: str) -> dict[str, str]:
    cells = next(cells for cells in table.rows if cells[0].split(" [")[0] == label)
    return dict(zip(table.columns, cells, strict=True))


def bold(table: Table) -> list[str]:
    cells = zip(table.rows, table.bold, strict=True)
    return [text for texts, flags in cells for text, flag in zip(texts, flags, strict=True) if flag]


def read_csv(report: build.Report, name: str) -> list[dict[str, str]]:
    (file,) = [file for file in report.files if file.name == name]
    return list(csv.DictReader(file.read_text().splitlines()))


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> build.Report:
    """Two seeds of rope, one that did not learn; one of learned with untrained positions; one of none."""
    folder = tmp_path_factory.mktemp("three")
    never = {"steps_to_accuracy": dict.fromkeys(("steps_to_90", "tokens_to_90", "steps_to_99", "tokens_to_99"))}
    paths = [
        make_run(folder, {16: 1.0, 32: 0.8, 64: 0.4}, exact={16: 1.0, 32: 0.96, 64: 0.2}, seed=0),
        make_run(folder, {16: 0.5, 32: 0.4, 64: 0.3}, exact={16: 0.5, 32: 0.3, 64: 0.0}, seed=1, info=never),
        make_run(folder, {16: 1.0, 32: 0.7, 64: 0.1}, exact={16: 1.0, 32: 0.1, 64: 0.0}, encoding="none"),
    ]
    learned = make_run(folder, {16: 1.0}, encoding="learned")
    for length, share in ((32, 0.5), (64, 0.75)):
        append_line(learned / "eval.jsonl", evaluation(length, 0.2, 0.0) | {"untrained_positions": share})
    return build.build_report([*paths, learned], "mine", folder / "results")


def test_a_cell_is_the_mean_over_seeds_with_their_range(three):
    assert row(find(three.content, TOKEN), "RoPE")["32 (2x)"] == "60 % (40 to 80)"
    assert row(find(three.content, EXACT), "RoPE")["16 (1x)"] == "75 % (50 to 100)"


def test_one_seed_has_no_range(three):
    assert row(find(three.content, TOKEN), "NoPE")["32 (2x)"] == "70 %"


def test_rows_are_in_the_order_of_groups_with_chance_last(three):
    table = find(three.content, TOKEN)
    assert [cells[0].split(" [")[0] for cells in table.rows] == ["Learned APE", "RoPE", "NoPE", "chance"]
    assert (row(table, "chance")["64 (4x)"], table.foot) == ("10 %", 1)


def test_the_best_mean_of_a_column_is_bold_also_when_tied(three):
    assert bold(find(three.content, EXACT)) == ["100 %", "63 % (30 to 96)", "10 % (0 to 20)", "100 %"]
    assert bold(find(three.content, TOKEN)) == ["100 %", "35 % (30 to 40)", "100 %", "70 %"]


def test_solved_runs_are_counted_and_the_row_marked(three):
    table = find(three.content, EXACT)
    assert row(table, "RoPE")["solved"] == "1/2"
    assert "Solved: 3 of 4 runs" in table.caption
    (label,) = [cells[0] for cells in table.rows if cells[0].startswith("RoPE")]
    note = next(text for text in table.footnotes if text.startswith(label.split(" ")[1]))
    assert "not every run learned the training length" in note


def test_the_effective_length_is_the_lower_median_over_seeds(three):
    table = find(three.content, EXACT)
    assert row(table, "RoPE")["effective length"] == "< 16 (< 16 to 32)"
    assert row(table, "NoPE")["effective length"] == "16"


def test_steps_to_90_say_how_many_seeds_reached_it(three):
    table = find(three.content, TOKEN)
    assert row(table, "RoPE")["steps to 90 %"] == "- (1 of 2)"
    assert row(table, "NoPE")["steps to 90 %"] == "50"


def test_cells_at_untrained_positions_refer_to_a_footnote_with_the_share(three):
    table = find(three.content, TOKEN)
    assert row(table, "Learned APE")["16 (1x)"] == "100 %"
    assert row(table, "Learned APE")["64 (4x)"] == "20 % [a]"
    assert table.footnotes[0].startswith("[a] Learned APE: ")
    assert "(50 % at 32, 75 % at 64)" in table.footnotes[0]


def test_groups_are_means_of_their_encodings(tmp_path):
    paths = [
        make_run(tmp_path, {16: 1.0, 32: 1.0}, encoding="alibi", seed=0),
        make_run(tmp_path, {16: 1.0, 32: 0.8}, encoding="alibi", seed=1),
        make_run(tmp_path, {16: 1.0, 32: 0.5}, encoding="rope"),
        make_run(tmp_path, {16: 1.0, 32: 0.3}, encoding="sinusoidal"),
    ]
    table = find(build.report_content(paths, "mine"), GROUPS)
    assert row(table, "RPE") == {
        "group": "RPE", "measure": "token accuracy", "encodings": "2", "runs": "3", "solved": "3/3",
        "16 (1x)": "100 %", "32 (2x)": "70 % (50 to 90)",
    }  # fmt: skip
    assert "at 2x token accuracy 70 % and 30 %, exact match 70 % and 30 %." in table.caption
    assert "3 of 3 RPE runs and 1 of 1 APE runs learned the training length." in table.caption


def test_nothing_is_said_of_what_runs_learned_that_were_not_evaluated_there(tmp_path):
    paths = [make_run(tmp_path, {32: 0.8}, encoding=encoding) for encoding in ("rope", "sinusoidal")]
    caption = find(build.report_content(paths, "mine"), GROUPS).caption
    assert caption.endswith("exact match 80 % and 80 %. No run was evaluated at the training length.")
    paths.append(make_run(tmp_path, {16: 1.0, 32: 0.8}, encoding="alibi"))
    caption = find(build.report_content(paths, "mine"), GROUPS).caption
    assert caption.endswith(". 1 of 1 RPE runs learned the training length.")


def test_a_group_that_learned_nothing_is_named(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}), make_run(tmp_path, {16: 0.2, 32: 0.2}, encoding="learned")]
    assert "No APE run did" in find(build.report_content(paths, "mine"), GROUPS).caption


def test_a_report_without_absolute_encodings_says_that_it_compares_nothing(tmp_path):
    assert "no APE run is evaluated" in make([make_run(tmp_path, {16: 1.0, 32: 0.5})], tmp_path).markdown


def test_the_summary_holds_what_the_tables_round(three):
    (line,) = [line for line in read_csv(three, "summary.csv") if (line["encoding"], line["length"]) == ("rope", "32")]
    assert float(line["token_accuracy_mean"]) == pytest.approx(0.6)
    assert float(line["rescaled_accuracy_mean"]) == pytest.approx((0.6 - 0.1) / 0.9)
    assert (line["exact_match_low"], line["exact_match_high"]) == ("0.3", "0.96")
    assert float(line["area_mean"]) == pytest.approx((1.0 + 0.8 * 2 + 0.4 + 0.5 + 0.4 * 2 + 0.3) / 8)
    assert (line["solved"], line["solved_known"], line["runs"]) == ("1", "2", "2")


def test_the_summary_holds_mean_median_lowest_and_highest(tmp_path):
    paths = [make_run(tmp_path, {32: value}, seed=seed) for seed, value in enumerate([0.2, 0.4, 0.9])]
    (line,) = read_csv(make(paths, tmp_path), "summary.csv")
    spread = {part: float(line[f"rescaled_accuracy_{part}"]) for part in ("mean", "median", "low", "high")}
    assert spread == pytest.approx({"mean": 0.4 / 0.9, "median": 0.3 / 0.9, "low": 0.1 / 0.9, "high": 0.8 / 0.9})


def test_the_runs_file_has_a_row_for_each_run_and_length_in_full_precision(tmp_path):
    lines = read_csv(make([make_run(tmp_path, {16: 1 / 3, 32: 2 / 3}, tokens=1024)], tmp_path), "runs.csv")
    assert [(line["length"], float(line["token_accuracy"])) for line in lines] == [("16", 1 / 3), ("32", 2 / 3)]
    first = {key: float(lines[0][key]) for key in ("low", "high", "steps_to_90", "d_model", "tokens", "batch_tokens")}
    assert first == {"low": 0.25, "high": 0.75, "steps_to_90": 50, "d_model": 64, "tokens": 5000, "batch_tokens": 1024}


def test_the_page_says_where_the_numbers_come_from(three, tmp_path):
    for words in ("`c0ffee` (4 runs)", "torch 2.9", "a CPU, 2 cores", "d_model: 64", "encoding: learned, none, rope"):
        assert words in three.markdown
    changed = make_run(tmp_path, {16: 1.0}, seed=5, info={"dirty": True})
    page = make([changed], tmp_path).markdown
    assert "`c0ffee + changes` (1 run)" in page
    assert re.search(rf"\| RoPE +\| +5 \| trained \| c0ffee\+ +\| `{changed}` \|", page)


def test_the_page_leads_from_every_number_to_its_run_and_evaluation_set(three):
    for words in ("### Runs behind these numbers", "rpe train RUN/recipe.yaml", "16: set16, 32: set32, 64: set64."):
        assert words in three.markdown


def test_the_page_holds_the_command_that_reproduces_it(tmp_path):
    page = make([make_run(tmp_path, {16: 1.0})], tmp_path, "rpe report runs --name mine").markdown
    assert "Reproduce with:\n\n```sh\nrpe train --task copy " in page
    assert "\nrpe eval --lengths 16 --samples 100\nrpe report runs --name mine\n```" in page


def test_a_name_that_leaves_the_results_is_refused(tmp_path):
    with pytest.raises(ReportError, match="not a name for a report"):
        build.build_report([make_run(tmp_path, {16: 1.0})], "../mine", tmp_path)
    assert not (tmp_path / "mine").exists()


def test_the_end_token_has_a_table_of_its_own(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 64: 0.5}, line={"exact_match_eos": 0.25}, seed=seed) for seed in (0, 1)]
    content = build.report_content(paths, "mine")
    table = find(content, "Copy, trained to 16: exact match with the end token")
    assert (row(table, "RoPE")["64 (4x)"], row(table, "RoPE")["median area"], table.folded) == ("25 %", "25 %", True)
    assert row(find(content, EXACT), "RoPE")["64 (4x)"] == "50 %"


def test_accuracy_below_chance_is_negative_when_rescaled(tmp_path):
    content = build.report_content([make_run(tmp_path, {16: 1.0, 32: 0.01})], "mine")
    cells = row(find(content, "Copy, trained to 16: token accuracy rescaled for chance"), "RoPE")
    assert (cells["16 (1x)"], cells["32 (2x)"], cells["median area"]) == ("100 %", "-10 %", "45 %")


def test_tables_that_are_read_on_demand_are_folded_in_the_page(three):
    folded = r"### Token accuracy rescaled for chance\n\n<details><summary>\d+ rows</summary>\n\n\| enc.*?\n\n</details>"
    assert re.search(folded, three.markdown, re.DOTALL)


def test_every_file_is_written_and_nothing_is_left_beside_them(three):
    figures = [f"{name}.{kind}" for name in ("accuracy", "profiles") for kind in ("pdf", "png", "svg")]
    data = [
        "appendix.tex",
        "pairs.csv",
        "paper.tex",
        "pooled.csv",
        "profiles.csv",
        "report.html",
        "report.json",
        "report.md",
        "runs.csv",
        "summary.csv",
    ]
    assert sorted(file.name for file in three.files) == sorted(figures + data)
    assert sorted(file.name for file in three.files[0].parent.iterdir()) == sorted(figures + data)
    contents = {file.name: file.read_bytes() for file in three.files}
    assert contents["accuracy.png"].startswith(b"\x89PNG")
    assert b"<svg" in contents["accuracy.svg"]
    assert contents["accuracy.pdf"].startswith(b"%PDF")
    assert json.loads(contents["report.json"]) == three.data
    assert contents["report.md"].decode() == three.markdown


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_report_removes_what_an_earlier_one_left_and_nothing_else(tmp_path):
    scores = {"rope": 0.9, "learned": 0.3}
    paths = [make_run(tmp_path, {16: 1.0, 32: scores[name]}, encoding=name, seed=seed) for name in scores for seed in range(3)]
    cell = {"sizes": [2, 8], "names": ["rows", "columns"], "trained": [4, 4]}
    append_line(paths[0] / "eval.jsonl", evaluation(8, 0.5, 0.5) | {"grid": cell})
    append_line(paths[0] / "metrics.jsonl", validation(10, 0.5))
    add_inspection(paths[0], 0.9)
    folder = tmp_path / "results" / "mine"
    folder.mkdir(parents=True)
    own = {"README.md", "recipe.yaml", "runs.tar.xz", "grid-search.png", "inspect-mine.svg", "accuracy-of-mine.png", "mine.csv"}
    for name in own | {"pairs.csv"}:
        (folder / name).write_text("mine")
    other = make_run(tmp_path, {16: 1.0}, encoding="alibi", task="parity")
    first = {path.name for path in make([other], tmp_path).files}
    assert names(folder) == first | own | {"pairs.csv"}, "no report was there before"
    second = build.build_report(paths, "mine", tmp_path / "results", paper=build.Paper(figure="icml"))
    several, asked_for = (
        {"pairs.csv", "profiles.pdf", "learning.svg"},
        {name for name in names(folder) if name.startswith("paper-")},
    )
    assert asked_for
    assert several | {"grid-copy-trained-to-16.png", "inspect-copy-trained-to-16-distance.svg"} <= names(folder)
    assert names(folder) == {path.name for path in second.files} | own
    (folder / "accuracy-2.png").write_text("of more tasks")
    assert {path.name for path in make([other], tmp_path).files} == first
    assert names(folder) == first | own | asked_for


def test_a_comparison_leaves_the_report_in_its_folder(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.9}, encoding=name) for name in ("rope", "learned")]
    first = {path.name for path in make(paths, tmp_path).files}
    compared = build.compare_studies((str(paths[0]), str(paths[0])), tmp_path, tmp_path / "results", "mine")
    assert names(tmp_path / "results" / "mine") == first | {path.name for path in compared.files}


def test_a_report_that_cannot_be_written_loses_nothing_of_the_earlier_one(tmp_path, monkeypatch):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.9}, encoding=name) for name in ("rope", "learned")]
    first = {path.name for path in make(paths, tmp_path).files}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "write_files", full)
    with pytest.raises(ReportError, match="No space left"):
        make([make_run(tmp_path, {16: 1.0}, task="parity")], tmp_path)
    assert names(tmp_path / "results" / "mine") == first


def test_the_same_runs_in_any_order_give_the_same_bytes(tmp_path):
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.5}, encoding=name) for name in ("rope", "learned", "none")]
    first = build.build_report(paths, "mine", tmp_path / "first")
    second = build.build_report(paths[::-1], "mine", tmp_path / "second")
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_what_json_cannot_hold_is_null(tmp_path):
    report = make([make_run(tmp_path, {16: 1.0}, line={"nll": math.inf})], tmp_path)
    assert report.data["runs"][0]["evaluations"][0]["nll"] is None


def test_each_task_has_tables_of_its_own(tmp_path):
    names = ("copy", "sort", "parity", "recall", "reverse")
    content = build.report_content([make_run(tmp_path, {16: 1.0, 32: 0.5}, task=name) for name in names], "mine")
    assert [len(content.tables_of(task)) > 3 for task in content.tasks] == [True] * 5
    assert len(content.tables) == 3 * 5
    titles = [table.title for table in content.tables_of(content.tasks[0])]
    assert titles[:2] == ["Exact match", "Token accuracy"]
    assert {table.title for table in content.tables_over_tasks} >= {"All tasks together", "Groups by task family"}


def test_a_table_for_the_terminal_shows_its_marks_and_footnotes(three):
    console = Console(width=200, file=io.StringIO())
    console.print(find(three.content, TOKEN))
    text = console.file.getvalue()
    assert "20 % [a]" in text
    assert "[a] Learned APE: evaluated at positions" in text


def test_markdown_tables_are_aligned_and_without_the_figure(three):
    text = build.markdown_tables(three)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert "accuracy.png" not in text
    assert {len(line) for line in lines[:5]} == {len(lines[0])}
    assert lines[1].startswith("| :--")
    assert lines[1].endswith("-: |")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00"),
        (0.9999, "> 0.99"),
        (0.994, "0.99"),
        (0.5, "0.50"),
        (0.0049, "< 0.01"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (-0.3, "-0.30"),
        (-0.004, "> -0.01"),
        (-0.9999, "< -0.99"),
        (-1.0, "-1.00"),
    ],
)
def test_only_a_true_one_is_written_as_one_and_only_a_true_zero_as_zero(value, text):
    assert report_format.format_number(value) == text


def test_a_range_that_prints_the_same_is_left_out():
    assert report_format.format_percent_range(Summary(0.5, 0.5, 0.501, 3)) == "50 %"
    assert report_format.format_percent_range(Summary(0.5, 0.4, 0.6, 3)) == "50 % (40 to 60)"
    assert report_format.format_percent_range(Summary(0.4, 0.001, 0.999, 3)) == "40 % (< 1 to > 99)"
    assert report_format.format_percent_range(None) == "-"


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.996, "> 99 %"), (0.994, "99 %"), (0.004, "< 1 %"), (0.0, "0 %"), (-0.0, "0 %"), (-0.1, "-10 %")],
)
def test_only_a_true_one_is_100_per_cent(share, text):
    assert report_format.format_percent(share) == text


def test_an_interval_stands_in_brackets_behind_its_number():
    assert TOKENS.write_with_interval(0.98, (0.97, 0.983)) == "98 % [97, 98]"
    assert TOKENS.write_with_interval(0.98, None) == "98 %"
    assert report_format.format_interval((0.61, 0.999)) == "61 to > 99"
    assert report_format.format_interval((-0.05, 0.7), report_format.format_points) == "-5 to +70"
    assert report_format.format_interval(None) == "-"
    assert report_format.write_points(0.09, (0.05, 0.12)) == "+9 points [5, 12]"
    assert report_format.write_points(-0.2, None) == "-20 points"
    assert (report_format.p_equation(0.0123), report_format.p_equation(0.0004)) == ("p = 0.012", "p < 0.001")


def test_a_multiple_of_the_training_length_is_written_short():
    factors = [report_format.format_factor(length, 16) for length in (4, 16, 24, 4096, 131072)]
    assert factors == ["0.25x", "1x", "1.5x", "256x", "8192x"]


def test_labels_sort_by_their_numbers():
    labels = ["a steps=1000", "a steps=500", "a lr=0.01", "a"]
    assert sorted(labels, key=natural_key) == ["a", "a lr=0.01", "a steps=500", "a steps=1000"]


def test_a_sentence_names_only_doublings_where_there_are_many_lengths(tmp_path):
    accuracy = dict.fromkeys(range(16, 129, 8), 0.5)
    paths = [make_run(tmp_path, accuracy), make_run(tmp_path, accuracy, encoding="learned")]
    caption = find(build.report_content(paths, "mine"), GROUPS).caption
    assert [word for word in caption.split() if word.endswith("x")] == ["2x", "4x", "8x"]
