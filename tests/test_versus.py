"""Two studies side by side, on runs whose every number is known."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.run_folders import make_run

from rpecli.report import build as report
from rpecli.report import schema, stats
from rpecli.report import two_studies as versus
from rpecli.report.load import ReportError
from rpecli.report.two_studies import Line, Versus
from rpecli.report.write import two_studies as versus_page
from rpecli.run.files import append_line

SEEDS = {"a": [0.8, 0.6, 0.7], "b": [0.9, 0.8, 0.7]}


def studies(tmp_path: Path, seeds: dict[str, list[float]] | None = None, **other: object) -> None:
    """Two folders of runs of rope, exact match beyond training by seed; `other` is what the second was given besides."""
    for folder, values in (seeds or SEEDS).items():
        for seed, value in enumerate(values):
            given = other if folder == "b" else {}
            make_run(tmp_path / folder, {16: 1.0, 32: value}, **{"seed": seed, **given})


def compared(tmp_path: Path, a: str = "a", b: str = "b") -> Versus:
    found = [versus.study(str(tmp_path / word), tmp_path / "none", tmp_path / "results") for word in (a, b)]
    return versus.versus(*found)


def at(found: Versus, length: int | None, measure: str = "exact_match") -> Line:
    return next(line for line in found.lines if (line.length, line.measure) == (length, measure))


def test_the_same_seeds_on_the_same_strings_are_paired(tmp_path):
    """.1, .2 and .0: the mean .1, and the interval of three seeds is their range."""
    studies(tmp_path)
    line = at(compared(tmp_path), 32)
    assert (line.a, line.b, line.difference) == pytest.approx((0.7, 0.8, 0.1))
    assert (line.low, line.high) == pytest.approx((0.0, 0.2))
    assert (line.paired, line.strings, line.a_seeds, line.b_seeds) == (True, "same", 3, 3)


def test_all_rows_together_are_paired_and_tested(tmp_path):
    studies(tmp_path)
    found = compared(tmp_path)
    assert (found.overall["exact_match"].mean, found.overall["exact_match"].p) == pytest.approx((0.1, 0.5))
    assert at(found, None).difference == pytest.approx(0.1)
    told = versus_page.headline(found)[2]
    assert told.startswith("B minus A, exact match over log length beyond training: +.10 ")
    assert told.endswith("3 pairs of seeds, 1 task, the mean over paired encodings.")


def test_encodings_of_one_seed_count_as_one_pair(tmp_path):
    studies(tmp_path)
    for seed in range(3):
        for folder, value in (("a", 0.5), ("b", 0.7)):
            make_run(tmp_path / folder, {16: 1.0, 32: value}, encoding="learned", seed=seed)
    found = compared(tmp_path).overall["exact_match"]
    assert (found.mean, found.pairs, found.p) == (pytest.approx((0.1 + 0.2) / 2), 3, 0.25)


def test_other_seeds_are_not_paired_and_the_cell_says_so(tmp_path):
    studies(tmp_path)
    shutil.rmtree(next((tmp_path / "b").glob("*-s0-*")))
    make_run(tmp_path / "b", {16: 1.0, 32: 0.9}, seed=7)
    found = compared(tmp_path)
    line = at(found, 32)
    assert (line.paired, line.difference) == (False, pytest.approx(0.1))
    assert (line.low, line.high) == stats.between([0.8, 0.6, 0.7], [0.8, 0.7, 0.9])
    assert found.overall == {}
    text = versus_page.markdown(found)
    assert "[a] not the same seeds in both: the interval is of two independent means, nothing is tested" in text


def test_fewer_than_three_seeds_have_no_interval_and_conclude_nothing(tmp_path):
    studies(tmp_path, {"a": [0.8, 0.6], "b": [0.9, 0.8]})
    found = compared(tmp_path)
    assert (at(found, 32).difference, at(found, 32).low) == (pytest.approx(0.15), None)
    assert versus_page.headline(found)[-1] == "Fewer than 3 seeds: no interval, no test, nothing concluded."


def test_other_strings_have_no_difference_and_what_to_type(tmp_path):
    studies(tmp_path, line={"fingerprint": "other", "eval_seed": 7})
    found = compared(tmp_path)
    assert {(line.strings, line.difference, line.low) for line in found.lines} == {("different", None, None)}
    assert any("different strings at 16, 32" in note and "rpe eval RUNS --overwrite" in note for note in found.notes)
    assert not any(line.length is None for line in found.lines)
    assert "| - [a]" in versus_page.markdown(found)


def test_studies_of_different_tasks_are_refused_with_the_reasons(tmp_path):
    studies(tmp_path, task="sort")
    with pytest.raises(ReportError) as error:
        compared(tmp_path)
    for words in ("nothing to compare", "copy, trained to 16: only A has this task", "sort, trained to 16: only B has this task"):
        assert words in str(error.value)


def test_other_training_lengths_are_not_compared(tmp_path):
    studies(tmp_path, length=32)
    with pytest.raises(ReportError, match="copy, trained to 16 in A and to 32 in the other, so the two are not compared"):
        compared(tmp_path)


def test_what_else_differs_in_training_is_said(tmp_path):
    studies(tmp_path, steps=200, lr=0.001, info={"sources": {"tasks": "00000000", "encodings": "11111111"}})
    notes = compared(tmp_path).notes
    assert "Trained differently: lr 0.006 in A, 0.001 in B; steps 100 in A, 200 in B. " in notes[0]
    assert notes[1] == "Trained with different versions of the file of encoding rope, task copy."


def test_equal_training_is_not_remarked_on(tmp_path):
    studies(tmp_path)
    assert compared(tmp_path).notes == ["3 of 3 runs of A are the very runs of B."], "made-up weights are all the same"


def test_what_one_side_has_alone_is_said(tmp_path):
    studies(tmp_path)
    make_run(tmp_path / "a", {16: 1.0, 32: 0.5}, encoding="alibi")
    append_line(next((tmp_path / "b").glob("*-s0-*")) / "eval.jsonl", json.loads(
        next((tmp_path / "b").glob("*-s0-*/eval.jsonl")).read_text().splitlines()[0]) | {"length": 64})  # fmt: skip
    notes = compared(tmp_path).notes
    assert "copy, trained to 16: only A has alibi." in notes
    assert "copy, trained to 16: only B was measured at 64." in notes


def test_a_report_alone_can_be_compared_when_its_runs_are_gone(tmp_path):
    studies(tmp_path)
    report.make(sorted((tmp_path / "a").iterdir()), "first", tmp_path / "results", "rpe report")
    before = compared(tmp_path).lines
    shutil.rmtree(tmp_path / "a")
    for word in ("first", str(tmp_path / "results" / "first"), str(tmp_path / "results" / "first" / "report.json")):
        mine = versus.study(word, tmp_path / "none", tmp_path / "results")
        assert mine.what.endswith("first of 3 runs")
        assert versus.versus(mine, versus.study(str(tmp_path / "b"), tmp_path, tmp_path)).lines == before


def test_a_report_of_an_older_rpe_is_refused_with_the_command_that_makes_it_anew(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "report.json").write_text(json.dumps({"command": "rpe run old", "runs": [{"id": "x"}]}))
    with pytest.raises(ReportError, match="one of an older rpe: make it again: rpe run old"):
        versus.study(str(tmp_path / "old"), tmp_path, tmp_path)
    (tmp_path / "old" / "report.json").write_text("[1]")
    with pytest.raises(ReportError, match="not a report that can be compared"):
        versus.study(str(tmp_path / "old"), tmp_path, tmp_path)


def test_a_side_may_be_a_run_a_pattern_or_a_recipe(tmp_path):
    (tmp_path / "mine.yaml").write_text("# One.\ntask: copy\nencoding: rope\nlength: 16\nsteps: 100\nseed: 0:2\n")
    studies(tmp_path)
    path = next((tmp_path / "a").glob("*-s1-*"))
    assert len(versus.study(str(path), tmp_path / "a", tmp_path).runs) == 1
    assert len(versus.study("copy-*", tmp_path / "a", tmp_path).runs) == 3
    made = versus.study(str(tmp_path / "mine.yaml"), tmp_path / "a", tmp_path)
    assert (len(made.runs), made.what.startswith("2 of 2 runs of the recipe")) == (2, True)
    with pytest.raises(ReportError, match="no run of the recipe"):
        versus.study(str(tmp_path / "mine.yaml"), tmp_path / "none", tmp_path)


def test_a_word_that_names_nothing_is_told_what_there_is(tmp_path):
    with pytest.raises(ReportError, match=r"'quik' is no report.*did you mean quick\?"):
        versus.study("quik", tmp_path, tmp_path)
    with pytest.raises(ReportError, match=r"neither a report\.json nor runs"):
        versus.study(str(tmp_path), tmp_path, tmp_path)


def test_every_file_is_written_and_says_the_same(tmp_path):
    studies(tmp_path)
    words = str(tmp_path / "a"), str(tmp_path / "b")
    made = report.compare_studies(words, tmp_path, tmp_path / "results", None, "rpe report --compare a b")
    assert {file.name for file in made.files} == {"compare.md", "compare.csv", "compare.json", "compare.html"}
    assert made.files[0].parent.name == "a-against-b"
    by_name = {file.name: file.read_text() for file in made.files}
    assert json.loads(by_name["compare.json"]) == made.data
    assert schema.Comparison.model_validate(made.data, strict=True).lines[0].task == "copy"
    assert by_name["compare.csv"].splitlines()[0].split(",") == list(schema.Line.model_fields)
    for name in ("compare.md", "compare.html"):
        for words in (".00 to +.20", "commit c0ffee", "rpe report --compare a b"):
            assert words in by_name[name], (name, words)
    assert (
        by_name["compare.csv"]
        .splitlines()[1]
        .startswith("copy,16,rope,RPE,16,exact_match,1.0,1.0,3,3,0.0,0.0,0.0,1.0,,True,same")
    )


def bold(found: Versus) -> list[list[str]]:
    first = versus_page.tables(found)[0]
    return [[text for text, mark in zip(*line, strict=True) if mark] for line in zip(first.rows, first.bold, strict=True)]


def test_three_seeds_are_never_bold_however_far_apart(tmp_path):
    studies(tmp_path, {"a": [0.1, 0.2, 0.1], "b": [0.5, 0.6, 0.4]})
    assert bold(compared(tmp_path)) == [[]]


def test_what_the_test_sets_apart_after_correction_is_bold(tmp_path):
    """Seven pairs of one sign have p = 2/128; for two rows .031, for the row of no difference 1."""
    studies(tmp_path, {"a": [0.1] * 7, "b": [0.2] * 7})
    for folder in ("a", "b"):
        for seed in range(7):
            make_run(tmp_path / folder, {16: 1.0, 32: 0.5}, encoding="learned", seed=seed)
    found = compared(tmp_path)
    assert bold(found) == [[], ["+.10"]]
    mine = {line.encoding: (line.p, line.p_holm) for line in found.lines if line.length is None and line.measure == "exact_match"}
    assert mine == {"rope": (2 / 128, 4 / 128), "learned": (1.0, 1.0)}
    assert at(found, 32).p_holm is None
