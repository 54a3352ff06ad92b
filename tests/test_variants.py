"""One trained run counts once, however many ways it was measured in: rows of its own for each way, but no statistic."""

import csv
import json

import pytest
from helpers.run_folders import evaluation, make_run

from rpecli.report import build, suites
from rpecli.report.aggregate import as_trained
from rpecli.report.answers import task_answers
from rpecli.report.two_studies import compare
from rpecli.report.write import latex
from rpecli.run.directory import Run

ACCURACY = {"rope": 0.9, "alibi": 0.8, "learned": 0.4, "none": 0.6}
COUNTED = ("headline", "verdicts", "provenance", "groups", "pairs", "pooled", "suites", "profiles")
WAYS = {  # what a line of eval.jsonl has then, and the end of the label
    "swapped": ({"encoding_override": "rope:scaling=yarn"}, " as rope:scaling=yarn"),
    "elsewhere": ({"positions": "randomized"}, " at randomized"),
    "again": ({"loops": 4}, " with 4 loops"),
    "data": ({"data": "sets 1a2b"}, " on sets 1a2b"),
}


def trained(folder, tasks=("copy", "sort"), seeds=3):
    """Runs of four encodings, the further ones right less often by a hundredth with each seed."""
    return [
        make_run(folder, {16: 1.0, 32: value - seed / 100, 64: value / 2}, encoding=encoding, seed=seed, task=task)
        for encoding, value in ACCURACY.items() for seed in range(seeds) for task in tasks
    ]  # fmt: skip


def measure_again(paths, way, lengths=(16, 32, 64)):
    """The same runs in another way, in which every one is right."""
    for path in paths:
        for length in lengths:
            Run(path).append_evaluation(evaluation(length, 1.0, 1.0) | WAYS[way][0])


def content_of(paths):
    return build.report_content(paths, "mine")


@pytest.mark.parametrize("way", WAYS)
def test_what_a_run_was_measured_with_beside_its_training_enters_no_statistic(tmp_path, way):
    paths = trained(tmp_path)
    plain = content_of(paths)
    measure_again(paths[3:9], way)  # of two encodings, not of all their seeds
    both = content_of(paths)
    before, after = (content.data.model_dump() for content in (plain, both))
    for key in COUNTED:
        assert after[key] == before[key], key
    labels = {row["encoding"] for row in after["rows"]} - {row["encoding"] for row in before["rows"]}
    assert labels == {encoding + WAYS[way][1] for encoding in ("rope", "alibi")}, "rows of their own"
    assert both.summary == plain.summary
    for words in ("24 runs (24 trained): 2 tasks", "4 encodings, 3 seeds"):
        assert words in both.summary
    assert (both.choice, both.advice) == (plain.choice, plain.advice)


def test_tables_count_and_rank_trained_runs_alone_and_name_the_others(tmp_path):
    paths = trained(tmp_path, tasks=("copy",))
    plain = {table.title: table for table in content_of(paths).all_tables}
    measure_again(paths, "swapped")
    both = {table.title: table for table in content_of(paths).all_tables}
    for title in (
        "by group",
        "sample efficiency",
        "What to use and what it costs",
        "exact match: the best encoding minus the others",
    ):
        assert both.get(title) == plain.get(title), title
    table, before = both["exact match"], plain["exact match"]
    assert "Solved: 12 of 12 runs" in table.caption
    assert table.caption == before.caption
    rows = {row[0]: row for row in table.rows}
    assert rows["RoPE as RoPE (scaling=yarn) [a]"][2:4] == ["-", "100 %"]
    assert [row for row in table.rows if row[2] != "-"] == before.rows
    bold = [flags for row, flags in zip(table.rows, table.bold, strict=True) if row[2] != "-"]
    assert bold == before.bold
    assert sum(map(any, table.bold)) == sum(map(any, bold)), "no other cell is bold"
    (note,) = table.footnotes
    assert note == "[a] measured otherwise than it was trained: in no count, rank, test or mean of a group"


def test_files_of_a_report_rank_and_compare_each_run_once(tmp_path):
    paths = trained(tmp_path)
    build.build_report(paths, "plain", tmp_path / "results")
    measure_again(paths, "swapped", lengths=(16, 32))  # fewer lengths than the others: they decide nothing
    measure_again(paths[:6], "again")
    build.build_report(paths, "both", tmp_path / "results")
    for file in ("pairs.csv", "pooled.csv", "mcnemar.csv", "groups.csv", "profiles.csv"):
        plain, both = (tmp_path / "results" / name / file for name in ("plain", "both"))
        assert plain.is_file() == both.is_file()
        if plain.is_file():
            assert both.read_bytes() == plain.read_bytes(), file
    with (tmp_path / "results" / "both" / "pooled.csv").open() as file:
        ranks = [float(row["rank"]) for row in csv.DictReader(file) if row["rank"] and row["measure"] == "exact_match"]
    assert sorted(ranks)[-1] <= 4, "four encodings have four ranks"
    data = json.loads((tmp_path / "results" / "both" / "report.json").read_text())
    assert not any("not evaluated at" in warning for warning in data["warnings"])


def test_two_studies_are_compared_by_their_trained_runs(tmp_path):
    from rpecli.report.studies import load_study

    first, second = trained(tmp_path / "a", ("copy",)), trained(tmp_path / "b", ("copy",))
    plain = compare(*(load_study(str(tmp_path / name), tmp_path, tmp_path) for name in "ab"))
    measure_again([*first, *second], "swapped")
    both = compare(*(load_study(str(tmp_path / name), tmp_path, tmp_path) for name in "ab"))
    assert both.overall == plain.overall
    own = [row for row in both.rows if " as " not in row.encoding]
    assert own == plain.rows
    assert len(both.rows) == 2 * len(own)
    assert {row.p for row in both.rows if row not in own} == {None}
    assert len(both.data.a.runs) == 12


def test_runs_that_were_measured_in_two_other_ways_alone_count_once(tmp_path):
    paths = [make_run(tmp_path, {}, encoding=encoding, seed=seed) for encoding in ("rope", "alibi") for seed in range(3)]
    measure_again(paths, "swapped")
    measure_again(paths[1:], "data")
    content = content_of(paths)
    (task,) = content.tasks
    labels = ["alibi as rope:scaling=yarn", "rope as rope:scaling=yarn"]
    assert [encoding.label for encoding in as_trained(task.encodings)] == labels
    for words in ("6 runs", "2 encodings"):
        assert words in content.summary
    assert {(pair.first, pair.second) for pair in content.data.pairs} == {tuple(labels)}


def test_lengths_that_only_another_way_has_decide_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(suites, "MANY", 1)
    paths = [make_run(tmp_path, {16: 1.0, 32: 0.8, 64: 0.8}, encoding=encoding, task=task, exact={16: 1.0, 32: 0.95, 64: 0.95})
             for encoding in ("rope", "alibi") for task in ("copy", "sort")]  # fmt: skip
    plain = content_of(paths)
    measure_again(paths[:2], "swapped", lengths=(16, 24, 128))
    both = content_of(paths)
    assert {row.held for row in both.suites.rows if row.kind == "all"} == {2}
    assert both.suites.rows == plain.suites.rows
    assert "32 (2x)" in latex.paper(both).decode()
    assert {answers.first.length for answers in task_answers(both.tasks)} == {32}
    for block in both.overview.blocks:
        assert [cells[-1] for row, cells in block.cells.items() if " as " not in row[0]] == ["95", "95", ""]
