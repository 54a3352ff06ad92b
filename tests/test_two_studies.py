"""Two studies side by side, on runs whose every number is known."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from helpers.run_folders import make_run

from rpecli.report import build, stats
from rpecli.report.load import ReportError
from rpecli.report.studies import load_study
from rpecli.report.tables.two_studies import headline, tables
from rpecli.report.two_studies import ComparisonData, ComparisonRow, StudyComparison, compare
from rpecli.report.write import two_studies as write
from rpecli.run.directory import Run

SEEDS = {"a": [0.8, 0.6, 0.7], "b": [0.9, 0.8, 0.7]}


def studies(tmp_path: Path, seeds: dict[str, list[float]] | None = None, **other: object) -> None:
    """Two folders of runs of rope, exact match beyond training by seed; `other` holds further options of the second."""
    for folder, values in (seeds or SEEDS).items():
        for seed, value in enumerate(values):
            options = other if folder == "b" else {}
            make_run(tmp_path / folder, {16: 1.0, 32: value}, **{"seed": seed, **options})


def compared(tmp_path: Path, a: str = "a", b: str = "b") -> StudyComparison:
    return compare(*(load_study(str(tmp_path / name), tmp_path / "none", tmp_path / "results") for name in (a, b)))


def at(comparison: StudyComparison, length: int | None, measure: str = "exact_match") -> ComparisonRow:
    return next(row for row in comparison.rows if (row.length, row.measure) == (length, measure))


def test_the_same_seeds_on_the_same_strings_are_paired(tmp_path):
    """0.1, 0.2 and 0.0: the mean is 0.1, its standard error 0.0577, and t 4.303 with two degrees of freedom."""
    studies(tmp_path)
    row = at(compared(tmp_path), 32)
    assert (row.a, row.b, row.difference) == pytest.approx((0.7, 0.8, 0.1))
    assert (row.low, row.high) == pytest.approx((0.1 - 4.302653 * 0.1 / 3**0.5, 0.1 + 4.302653 * 0.1 / 3**0.5))
    assert (row.pairs, row.same_eval_set, row.a_seeds, row.b_seeds) == (3, True, 3, 3)


def test_all_rows_together_are_paired_and_tested(tmp_path):
    studies(tmp_path)
    comparison = compared(tmp_path)
    overall = comparison.overall["exact_match"]
    assert (overall.mean, overall.p, overall.pairs, overall.tasks) == pytest.approx((0.1, 0.5, 3, 1))
    assert at(comparison, None).difference == pytest.approx(0.1)
    assert "+10 points [-15, +35], p = 0.500, 3 pairs of seeds, 1 task" in headline(comparison)[2]


def test_encodings_of_one_seed_count_as_one_pair(tmp_path):
    studies(tmp_path)
    for seed in range(3):
        for folder, value in (("a", 0.5), ("b", 0.7)):
            make_run(tmp_path / folder, {16: 1.0, 32: value}, encoding="learned", seed=seed)
    overall = compared(tmp_path).overall["exact_match"]
    assert (overall.mean, overall.pairs, overall.p) == (pytest.approx((0.1 + 0.2) / 2), 3, 0.25)


def test_an_encoding_that_was_not_evaluated_beyond_training_has_no_row_beyond_it(tmp_path):
    studies(tmp_path)
    for folder in ("a", "b"):
        make_run(tmp_path / folder, {16: 0.9}, encoding="learned")
    comparison = compared(tmp_path)
    assert {row.length for row in comparison.rows if row.encoding == "learned"} == {16}
    assert {row.length for row in comparison.rows if row.encoding == "rope"} == {16, 32, None}


def test_other_seeds_are_not_paired_and_the_cell_says_so(tmp_path):
    studies(tmp_path, {"a": SEEDS["a"]})
    for seed, value in ((5, 0.8), (6, 0.7), (7, 0.9)):
        make_run(tmp_path / "b", {16: 1.0, 32: value}, seed=seed)
    comparison = compared(tmp_path)
    row = at(comparison, 32)
    assert (row.pairs, row.difference, row.p) == (0, pytest.approx(0.1), None)
    assert (row.low, row.high) == stats.unpaired_interval([0.8, 0.6, 0.7], [0.8, 0.7, 0.9])
    assert comparison.overall == {}
    page = write.files(comparison, write.context(comparison))["compare.md"].decode()
    assert "[a] different seeds in A and B: the interval is of two independent means" in page
    assert "No difference over all encodings: none shares a seed" in page


def test_a_seed_more_in_one_study_leaves_the_others_paired(tmp_path):
    studies(tmp_path, {"a": [*SEEDS["a"], 0.1], "b": SEEDS["b"]})
    comparison = compared(tmp_path)
    row = at(comparison, 32)
    assert (row.pairs, row.a_seeds, row.b_seeds, row.a) == (3, 4, 3, pytest.approx(0.55))
    assert row.difference == pytest.approx(0.1)
    assert (row.low, row.high) == pytest.approx((0.1 - 4.302653 * 0.1 / 3**0.5, 0.1 + 4.302653 * 0.1 / 3**0.5))
    overall = comparison.overall["exact_match"]
    assert (overall.mean, overall.p, overall.pairs) == pytest.approx((0.1, 0.5, 3))
    page = write.files(comparison, write.context(comparison))["compare.md"].decode()
    assert "4 and 3, 3 pairs" in page
    assert "over the seeds that A and B share; each mean is over all of its seeds" in page


def test_without_an_interval_no_footnote_speaks_of_one(tmp_path):
    studies(tmp_path, {"a": [0.8, 0.6]})
    make_run(tmp_path / "b", {16: 1.0, 32: 0.9}, seed=7)
    comparison = compared(tmp_path)
    page = write.files(comparison, write.context(comparison))["compare.md"].decode()
    assert "[a] different seeds in A and B\n" in page
    assert "independent means" not in page


def test_fewer_than_three_seeds_have_no_interval_and_conclude_nothing(tmp_path):
    studies(tmp_path, {"a": [0.8, 0.6], "b": [0.9, 0.8]})
    comparison = compared(tmp_path)
    assert (at(comparison, 32).difference, at(comparison, 32).low) == (pytest.approx(0.15), None)
    assert headline(comparison)[-1] == "Fewer than 3 seeds: no interval, no test and no conclusion."


def test_other_evaluation_sets_have_no_difference_and_what_to_type(tmp_path):
    studies(tmp_path, line={"fingerprint": "other", "eval_seed": 7})
    comparison = compared(tmp_path)
    assert {(row.same_eval_set, row.difference, row.low) for row in comparison.rows} == {(False, None, None)}
    assert any("different sequences at 16, 32" in note and "rpe eval RUNS --overwrite" in note for note in comparison.notes)
    assert not any(row.length is None for row in comparison.rows)
    assert " - [a] |" in write.files(comparison, write.context(comparison))["compare.md"].decode()


def test_studies_of_different_tasks_are_refused_with_the_reasons(tmp_path):
    studies(tmp_path, task="sort")
    with pytest.raises(ReportError) as error:
        compared(tmp_path)
    for words in ("nothing to compare", "Copy, trained to 16: only A has this task", "Sort, trained to 16: only B has this task"):
        assert words in str(error.value)


def test_other_training_lengths_are_not_compared(tmp_path):
    studies(tmp_path, length=32)
    with pytest.raises(ReportError, match="Copy, trained to 16 in A and to 32 in the other study, so the two are not compared"):
        compared(tmp_path)


def test_what_else_differs_in_training_is_said(tmp_path):
    studies(tmp_path, steps=200, lr=0.001, info={"sources": {"tasks": "00000000", "encodings": "11111111"}})
    notes = compared(tmp_path).notes
    assert "Trained differently: lr 0.006 in A, 0.001 in B; steps 100 in A, 200 in B. " in notes[0]
    assert notes[1] == "Trained with different versions of the file of encoding rope, task copy."


def test_equal_training_is_not_remarked_on(tmp_path):
    studies(tmp_path)
    assert compared(tmp_path).notes == ["3 of A's 3 runs are identical to runs in B."], "all have the same made-up weights"


def test_what_one_side_has_alone_is_said(tmp_path):
    studies(tmp_path)
    make_run(tmp_path / "a", {16: 1.0, 32: 0.5}, encoding="alibi")
    run = Run(next((tmp_path / "b").glob("*-s0-*")))
    run.append_evaluation(run.evaluations()[0] | {"length": 64})
    notes = compared(tmp_path).notes
    assert "Copy, trained to 16: only A has ALiBi." in notes
    assert "Copy, trained to 16: only B was evaluated at 64." in notes


def test_a_report_alone_can_be_compared_when_its_runs_are_gone(tmp_path):
    studies(tmp_path)
    build.build_report(sorted((tmp_path / "a").iterdir()), "first", tmp_path / "results", "rpe report")
    before = compared(tmp_path).rows
    shutil.rmtree(tmp_path / "a")
    for name in ("first", str(tmp_path / "results" / "first"), str(tmp_path / "results" / "first" / "report.json")):
        first = load_study(name, tmp_path / "none", tmp_path / "results")
        assert first.description.endswith("first of 3 runs")
        assert compare(first, load_study(str(tmp_path / "b"), tmp_path, tmp_path)).rows == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"format": 1, "command": "rpe run old", "runs": [{"id": "x"}]}',
            r"format 1; this is 3\): make it again: rpe run old",
        ),
        ('{"format": 3, "command": null, "runs": [{"id": "x"}]}', "damaged report: make it again: rpe report RUNS"),
        ("[1]", "damaged, or not a report of rpe"),
        ("{", "damaged, or not a report of rpe"),
    ],
)
def test_a_report_that_cannot_be_read_is_refused_with_what_to_type(tmp_path, text, message):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "report.json").write_text(text)
    with pytest.raises(ReportError, match=message):
        load_study(str(tmp_path / "old"), tmp_path, tmp_path)


def test_a_side_may_be_a_run_a_pattern_or_a_recipe(tmp_path):
    (tmp_path / "mine.yaml").write_text("# One.\ntask: copy\nencoding: rope\nlength: 16\nsteps: 100\nseed: 0:2\n")
    studies(tmp_path)
    path = next((tmp_path / "a").glob("*-s1-*"))
    assert len(load_study(str(path), tmp_path / "a", tmp_path).runs) == 1
    assert len(load_study("copy-*", tmp_path / "a", tmp_path).runs) == 3
    study = load_study(str(tmp_path / "mine.yaml"), tmp_path / "a", tmp_path)
    assert (len(study.runs), study.description.startswith("2 of 2 runs of the recipe")) == (2, True)
    with pytest.raises(ReportError, match="no run of the recipe"):
        load_study(str(tmp_path / "mine.yaml"), tmp_path / "none", tmp_path)


def test_an_unknown_name_is_told_what_there_is(tmp_path):
    with pytest.raises(ReportError, match=r"'quik' is not a report.*did you mean quick\?"):
        load_study("quik", tmp_path, tmp_path)
    with pytest.raises(ReportError, match=r"neither a report\.json nor runs"):
        load_study(str(tmp_path), tmp_path, tmp_path)


def test_every_file_is_written_and_says_the_same(tmp_path):
    studies(tmp_path)
    names = str(tmp_path / "a"), str(tmp_path / "b")
    comparison = build.compare_studies(names, tmp_path, tmp_path / "results", None, "rpe report --compare a b")
    assert {file.name for file in comparison.files} == {"compare.md", "compare.csv", "compare.json", "compare.html"}
    assert comparison.files[0].parent.name == "a-against-b"
    texts = {file.name: file.read_text() for file in comparison.files}
    assert json.loads(texts["compare.json"]) == comparison.data
    assert ComparisonData.model_validate(comparison.data, strict=True).rows[0].task == "copy"
    head, first, *_ = csv.reader(texts["compare.csv"].splitlines())
    assert head == list(ComparisonRow.model_fields)
    assert ",".join(first) == "copy,16,rope,RoPE,Copy,RPE,16,exact_match,1.0,1.0,3,3,0.0,0.0,0.0,1.0,,3,True"
    for name in ("compare.md", "compare.html"):
        for words in ("-15 to +35", "commit c0ffee", "rpe report --compare a b"):
            assert words in texts[name], (name, words)


def bold(comparison: StudyComparison) -> list[list[str]]:
    first = tables(comparison)[0]
    return [[text for text, flag in zip(*row, strict=True) if flag] for row in zip(first.rows, first.bold, strict=True)]


def test_three_seeds_are_never_bold_however_far_apart(tmp_path):
    studies(tmp_path, {"a": [0.1, 0.2, 0.1], "b": [0.5, 0.6, 0.4]})
    assert bold(compared(tmp_path)) == [[]]


def test_what_the_test_sets_apart_after_correction_is_bold(tmp_path):
    """Seven pairs of one sign have p = 2/128; for two rows 0.031, for the row without a difference 1."""
    studies(tmp_path, {"a": [0.1] * 7, "b": [0.2] * 7})
    for folder in ("a", "b"):
        for seed in range(7):
            make_run(tmp_path / folder, {16: 1.0, 32: 0.5}, encoding="learned", seed=seed)
    comparison = compared(tmp_path)
    assert bold(comparison) == [[], ["+10"]]
    beyond = [row for row in comparison.rows if row.length is None and row.measure == "exact_match"]
    assert {row.encoding: (row.p, row.p_holm) for row in beyond} == {"rope": (2 / 128, 4 / 128), "learned": (1.0, 1.0)}
    assert at(comparison, 32).p_holm is None
