"""`rpe ls`, `show`, `eval`, `report` and `run` on runs that are trained and evaluated."""

import io
import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from helpers import training as tiny
from helpers.command import table, tables
from helpers.run_folders import validation, write_run
from rich.console import Console

from rpecli import catalog
from rpecli.cli._run_tables import runs_table, shown_factors
from rpecli.cli._run_text import spark
from rpecli.describe import listing, run_card
from rpecli.report import verdict
from rpecli.run.code import changes
from rpecli.run.directory import Run, find_runs
from rpecli.run.files import RECORD_FORMAT
from rpecli.table import Table


@pytest.mark.parametrize("kind", ["encodings", "tasks", "recipes"])
def test_every_encoding_task_and_recipe_is_listed_with_what_it_does(kind: str, rpe: tiny.Rpe) -> None:
    result, data = rpe("ls", kind), json.loads(rpe("ls", kind, "--json").out)
    assert (result.code, result.err) == (0, "")
    expected = listing.task_choices() if kind == "tasks" else catalog.names(kind)
    column, what = kind.removesuffix("s"), next(key for key in data[0] if key.startswith("what"))
    assert [row[column] for row in table(result.out)] == [row[column] for row in data] == expected
    assert all(row[what] for row in data)


def test_a_recipe_is_listed_with_the_lengths_of_each_task(monkeypatch: pytest.MonkeyPatch, rpe: tiny.Rpe, here: Path) -> None:
    file = tiny.recipe_file(here, task="copy,reverse,sort", by_task="{reverse: {lengths: 1x:8x}}")
    monkeypatch.setattr(catalog, "names", lambda kind: [str(file)])
    assert json.loads(rpe("ls", "recipes", "--json").out)[0]["lengths"] == "1x,2x or 1x:8x"


def test_without_a_kind_encodings_are_listed(rpe: tiny.Rpe) -> None:
    assert rpe("ls").out == rpe("ls", "encodings").out


def test_runs_are_listed_with_how_they_went(rpe: tiny.Rpe, evaluated: Path) -> None:
    rows = table(rpe("ls", "runs", "--runs", evaluated).out)
    data = json.loads(rpe("ls", "runs", "--runs", evaluated, "--json").out)
    assert [row["run"] for row in rows] == [record["id"] for record in data] == [run.name for run in find_runs(evaluated)[0]]
    run = Run(evaluated / rows[0]["run"])
    validation, at_4, at_8 = run.last_metrics(), *run.evaluations()
    assert validation
    expected = {"task": "Copy", "encoding": "Learned", "seed": "0", "state": "trained"}
    shares = {"valid.": validation, "1x": at_4, "2x": at_8}
    assert rows[0] | expected == rows[0]
    assert {key: rows[0][key] for key in shares} == {key: f"{100 * line['token_accuracy']:.0f}" for key, line in shares.items()}


def test_the_legend_of_runs_names_the_columns_that_are_shown(rpe: tiny.Rpe, evaluated: Path, tmp_path: Path) -> None:
    trained = tiny.trained_run(tmp_path / "runs").path.parent
    legends = [rpe("ls", "runs", "--runs", runs).out.split("Per cent of tokens right: ")[1] for runs in (trained, evaluated)]
    assert [" ".join(legend.split()) for legend in legends] == [
        "valid. in the last validation (training lengths).",
        "valid. in the last validation (training lengths), 1x, 2x at multiples of the training length.",
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_list_of_runs_breaks_long_names_and_keeps_the_numbers(width: int, here: Path) -> None:
    long = {"task": "addition:hints=102:operands=mixed", "encoding": "t5:buckets=16:max_distance=64", "info": {"length": 16}}
    run = write_run(here / "runs", {16: 0.98, 32: 0.5, 128: 0.12}, **long)
    run.append_metrics(validation(100, 0.99))
    lines = printed(runs_table([run]), width).splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert [word for word in words if word in ("valid.", "1x", "2x", "8x")][:4] == ["valid.", "1x", "2x", "8x"]
    assert {"99", "98", "50", "12", "trained", run.name[-8:]} <= {*words}
    for part in ("hints=102", "operands=mixed", "buckets=16", "max_distance=64"):
        assert part in " ".join(words)


def test_a_list_of_runs_without_room_for_numbers_says_so_in_place_of_what_they_mean(here: Path) -> None:
    run = write_run(here / "runs", {16: 0.98}, info={"length": 16})
    run.append_metrics(validation(100, 0.99))
    text = printed(runs_table([run]), 24)
    assert "Per cent" not in text
    assert "A wider terminal shows the accuracy" in " ".join(text.split())


def printed(shown: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--encoding", "rope"), {("rope", 0), ("rope", 1)}),
        (("--encoding", "rope,learned", "--seed", "1:3"), {("rope", 1), ("learned", 1)}),
        (("--task", "copy", "--state", "trained", "--seed", "0"), {("rope", 0), ("learned", 0)}),
    ],
)
def test_listed_runs_are_filtered(words: tuple[str, ...], expected: set[tuple[str, int]], rpe: tiny.Rpe, evaluated: Path) -> None:
    listed = json.loads(rpe("ls", "runs", "--runs", evaluated, *words, "--json").out)
    assert {(record["encoding"], record["seed"]) for record in listed} == expected


def test_eval_and_report_take_the_same_filters(rpe: tiny.Rpe, evaluated: Path, tmp_path: Path) -> None:
    data = json.loads(rpe("eval", "--runs", evaluated, "--encoding", "rope", "--seed", 1, "--lengths", "4", "--json").out)
    assert [(entry["encoding"], entry["seed"]) for entry in data] == [("rope", 1)]
    report = json.loads(rpe("report", "--runs", evaluated, "--encoding", "rope", "--out", tmp_path, "--json").out)
    assert {(run["encoding"], run["seed"]) for run in report["runs"]} == {("rope", 0), ("rope", 1)}
    result = rpe("report", "--compare", "a", "b", "--encoding", "rope")
    assert (result.code, "remove --encoding" in result.err) == (2, True)


def test_a_filter_that_no_run_passes_is_an_error(rpe: tiny.Rpe, evaluated: Path) -> None:
    result = rpe("ls", "runs", "--runs", evaluated, "--task", "sort", "--state", "failed")
    assert (result.code, result.err) == (2, "--task: no run has task sort; they have copy: rpe ls runs lists all\n")
    assert rpe("ls", "runs", "--runs", evaluated, "--seed", "x").code == 2
    for text in ("rope,", ",", "", "rope:"):
        result = rpe("ls", "runs", "--runs", evaluated, "--encoding", text)
        assert (result.code, result.err.startswith("--encoding: ")) == (2, True), text


def test_a_value_of_a_filter_that_no_run_has_is_told(rpe: tiny.Rpe, evaluated: Path) -> None:
    for flag, text, missing in (
        ("--encoding", "rope,typo", "typo"),
        ("--seed", "0,7", "7"),
        ("--encoding", "rope,rope and", "rope and"),
    ):
        result = rpe("ls", "runs", "--runs", evaluated, flag, text)
        assert (result.code, len(result.err.splitlines())) == (0, 1)
        assert result.err.startswith(f"{flag}: no run has {flag[2:]} {missing}; they have ")


def test_a_filter_takes_suites_and_baselines(rpe: tiny.Rpe, here: Path) -> None:
    for task, encoding in (("parity:format=bit:law=count", "rope"), ("copy", "rope"), ("copy", "carope")):
        write_run(here / "runs", {16: 1.0}, task=task, encoding=encoding).append_metrics(validation(100, 0.5))
    for words, expected in (
        (("--task", "suite:crasp"), {("parity:format=bit:law=count", "rope")}),
        (("--task", "suite:crasp,copy", "--encoding", "carope"), {("copy", "carope")}),
        (("--encoding", "baselines"), {("parity:format=bit:law=count", "rope"), ("copy", "rope")}),
    ):
        result = rpe("ls", "runs", *words, "--json")
        assert (result.code, result.err) == (0, "")
        assert {(record["task"], record["encoding"]) for record in json.loads(result.out)} == expected
    none = rpe("ls", "runs", "--task", "suite:chomsky")
    assert none.err.startswith("--task: no run has task suite:chomsky; they have copy, parity, parity:format=bit:law=count: ")
    unknown = rpe("ls", "runs", "--task", "suite:crap")
    assert (unknown.code, "did you mean crasp" in unknown.err) == (2, True)


def test_a_name_stands_for_any_options_and_for_no_pattern_of_layers(rpe: tiny.Rpe, here: Path) -> None:
    for encoding in ("rope", "rope:base=500", "rope:base=500+none", "rope:base=500:then=none"):
        write_run(here / "runs", {16: 1.0}, encoding=encoding).append_metrics(validation(100, 0.5))
    listed = json.loads(rpe("ls", "runs", "--encoding", "rope", "--json").out)
    assert {record["encoding"] for record in listed} == {"rope", "rope:base=500", "rope:base=500:then=none"}


def test_seeds_that_no_run_has_are_named_as_numbers(rpe: tiny.Rpe, here: Path) -> None:
    for seed in (0, 2, 10):
        write_run(here / "runs", {16: 1.0}, seed=seed).append_metrics(validation(100, 0.5))
    result = rpe("ls", "runs", "--seed", "0:99")
    assert result.err == "--seed: no run has seed 1, 3, 4, 5, 6, 7, 8, 9 and 88 more; they have 0, 2, 10\n"


def test_a_list_shows_accuracy_at_lengths_that_exist() -> None:
    at = dict.fromkeys((0.5, 1.0, 2.0, 4.0, 8.0), 0.5)
    assert shown_factors([at]) == [1, 2, 8]
    assert shown_factors([{1.0: 1.0, 3.0: 0.5}, {5.0: 0.1, 7.0: 0.1}]) == [1, 3, 7]
    assert shown_factors([{}, {1.0: 1.0}]) == [1]


@pytest.fixture
def unusable(evaluated: Path, here: Path) -> Path:
    """A folder with two usable runs, a damaged one, one of an older format, and a directory that is not a run."""
    shutil.copytree(evaluated, here / "runs")
    (here / "runs" / "holiday").mkdir()
    damaged, older, *_ = find_runs(here / "runs")[0]
    damaged.record_file.write_text("{")
    older.update(format=4)
    return here / "runs"


UNUSABLE = (
    "run.json: damaged: not JSON",
    "written by another version of rpe",
    "holiday: not a run directory (no run.json): move it",
)


@pytest.mark.parametrize(
    "words",
    [
        ("ls", "runs"),
        ("report", "--out", "results"),
        ("eval", "--lengths", "1x", "--jobs", 0, "--device", "cpu"),
        ("inspect", "--lengths", "1x", "--device", "cpu"),
    ],
)
def test_an_unusable_directory_among_the_runs_is_one_line_and_the_others_are_used(
    words: tuple[str, ...], unusable: Path, rpe: tiny.Rpe
) -> None:
    result = rpe(*words)
    assert result.code == 0
    for problem in UNUSABLE:
        (line,) = [line for line in result.err.splitlines() if problem in line]
        assert re.search(r"move|start the command", line)
    assert re.search(r"^(\| |Copy, )?(RoPE|copy-rope)", result.out, re.MULTILINE)
    assert not re.search(r"^(\| |Copy, )?(Learned|copy-learned)", result.out, re.MULTILINE)


@pytest.mark.parametrize("command", ["show", "eval", "inspect", "report"])
def test_a_named_run_of_an_older_format_is_an_error_of_one_line(command: str, unusable: Path, rpe: tiny.Rpe) -> None:
    older = tiny.config(encoding="learned", seed=1).id
    result = rpe(command, older)
    assert (result.code, result.out) == (1, "")
    (line,) = result.err.splitlines()
    assert line.startswith(f"runs/{older} was written by another version of rpe (record format 4; this is {RECORD_FORMAT})")


@pytest.mark.parametrize(
    "words", [("eval", "--lengths", "1x", "--jobs", 0), ("inspect", "--lengths", "1x"), ("report", "--out", "results")]
)
def test_a_named_run_that_cannot_be_read_fails_the_command_after_the_others_are_used(
    words: tuple[str, ...], unusable: Path, rpe: tiny.Rpe
) -> None:
    older, rope = (tiny.config(encoding=encoding, seed=1).id for encoding in ("learned", "rope"))
    command, *options = words
    result = rpe(command, older, rope, *options)
    assert result.code == 1
    assert re.search(rf"^(\| |Copy, )?(RoPE|{rope})", result.out, re.MULTILINE)
    assert "written by another version of rpe" in result.err
    assert result.err.splitlines()[-1] == f"left out, as told above: {older}"


def test_a_mistyped_encoding_to_show_is_recognized(rpe: tiny.Rpe, evaluated: Path, here: Path) -> None:
    result = rpe("show", "rop", "--runs", evaluated)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"no run 'rop' under {evaluated}: did you mean rope (an encoding)?\n"
    run = find_runs(evaluated)[0][0]
    assert run.name in rpe("show", run.name[:-2] + "xx", "--runs", evaluated).err  # a mistyped run is still one


def test_a_pattern_leaves_out_what_is_unusable(unusable: Path, rpe: tiny.Rpe) -> None:
    result = rpe("show", "copy-*", "--json")
    assert result.code == 0
    assert {run["encoding"] for run in json.loads(result.out)} == {"rope"}
    assert len(result.err.splitlines()) == 2


def test_the_next_command_of_a_run_elsewhere_finds_it(rpe: tiny.Rpe, here: Path) -> None:
    run = write_run(here / "my ex", {16: 1.0})
    assert rpe("show", run.path).out.splitlines()[-1] == f"Next       rpe train '{run.recipe_file}' --runs '{run.path.parent}'"
    run.weights_file.touch()
    assert rpe("show", run.path).out.splitlines()[-1] == f"Next       rpe inspect '{run.path}'"
    assert rpe("show", run.name, "--runs", "my ex").out.splitlines()[-1] == f"Next       rpe inspect {run.name} --runs 'my ex'"
    run.update(weights="others than those evaluated")
    assert rpe("show", "my ex/" + run.name).out.splitlines()[-1] == f"Next       rpe eval 'my ex/{run.name}'"


def test_a_run_that_stopped_early_is_shown_with_the_steps_that_it_took(rpe: tiny.Rpe, here: Path) -> None:
    run = write_run(here / "runs", {}, steps=300, info={"step": 100})
    assert "State      trained: 100 of 300 steps in " in rpe("show", run.name).out


def test_great_multiples_of_the_training_length_are_written_out(rpe: tiny.Rpe, here: Path) -> None:
    for encoding in ("rope", "sinusoidal"):
        run = write_run(here / "runs", {4: 1.0, 4096: 0.3}, encoding=encoding, length=4)
    assert "Length     4 (1x)  4096 (1024x)" in rpe("show", run.name).out
    assert "| 4096 | 1024x |" in re.sub(" +", " ", run_card.card(run))
    write_run(here / "runs", {8: 1.0, 8192: 0.3}, encoding="rope", length=8)
    write_run(here / "runs", {8: 1.0, 8192: 0.3}, encoding="sinusoidal", length=8)
    assert "At 1024 times the training length" in " ".join(rpe("report", "--no-reference").out.split())


def test_the_card_of_a_run_says_how_often_its_layers_are_passed(here: Path) -> None:
    run = write_run(here / "runs", {}, loops=2, n_layer=3)
    assert "(3 layers passed 2 times, " in run_card.card(run)
    assert "passed" not in run_card.card(write_run(here / "runs", {}))


def test_a_run_is_shown_by_id_pattern_or_path(rpe: tiny.Rpe, evaluated: Path, here: Path) -> None:
    run = find_runs(evaluated)[0][0]
    by_id = rpe("show", run.name, "--runs", evaluated)
    assert by_id.code == 0
    assert by_id.out.startswith(f"Copy, Learned, seed 0   ({run.name})\n")
    assert rpe("show", run.name[:-3] + "*", "--runs", evaluated).out == by_id.out
    assert rpe("show", run.path).out.splitlines()[:-1] == by_id.out.splitlines()[:-1]
    both = rpe("show", "copy-rope-*", "--runs", evaluated)
    assert [line for line in both.out.splitlines() if line.startswith("Copy, ")] == [
        f"Copy, RoPE, seed {seed}   ({tiny.config(seed=seed).id})" for seed in (0, 1)
    ]


def test_a_shown_run_has_its_state_accuracy_curve_and_next_command(rpe: tiny.Rpe, here: Path) -> None:
    run = write_run(here / "runs", {16: 1.0, 32: 0.5}, exact={16: 0.97, 32: 0.0}, encoding="t5")
    run.weights_file.touch()
    for step, share in ((50, 0.1), (100, 0.999)):
        run.append_metrics(validation(step, share))
    lines = rpe("show", run.name).out.splitlines()
    assert len(lines) <= 14  # the last but one are an example
    assert lines[0] == f"Copy, T5 bias, seed 0   ({run.name})"
    assert lines[1] == "State      trained: 100 of 100 steps in 2 s"
    assert lines[2].startswith("Model      1,000 parameters, ")
    assert lines[4] == "Length     16 (1x)  32 (2x)"
    assert lines[5] == "Tokens         100       50   █▅  % right"
    assert lines[6] == "Strings         97        0   █▁  % right"
    assert lines[7] == "Learning   ▁█  tokens right in validation: 10 to 100 %; 90 % at step 50"
    assert lines[-1] == f"Next       rpe inspect {run.name}"


def test_a_shown_run_that_failed_says_why_and_one_that_waits_what_to_type(rpe: tiny.Rpe, here: Path) -> None:
    failed = write_run(here / "runs", {}, info={"status": "failed", "error": "loss is nan"})
    assert "State      failed: 0 of 100 steps in 2 s, loss is nan\n" in rpe("show", failed.name).out
    assert rpe("show", failed.name).out.splitlines()[-1] == f"Next       rpe train runs/{failed.name}/recipe.yaml"


def test_a_spark_line_has_a_bar_per_share_up_to_a_limit() -> None:
    assert spark([0, 0.124, 0.125, 0.5, 0.999, 1]) == "▁▁▂▅██"
    assert (len(spark([0.5] * 1000)), spark([0.0] * 999 + [1.0])[-1]) == (32, "█")


def test_a_run_shown_as_json_is_its_record_config_and_evaluation(rpe: tiny.Rpe, evaluated: Path) -> None:
    run = find_runs(evaluated)[0][0]
    shown = json.loads(rpe("show", run.name, "--runs", evaluated, "--json").out)
    assert shown["id"] == run.name
    assert shown["config"] == run.config.to_keys()
    assert shown["eval"] == run.evaluations()


def test_several_runs_shown_as_json_are_one_list(rpe: tiny.Rpe, evaluated: Path) -> None:
    shown = json.loads(rpe("show", "copy-rope-*", "--runs", evaluated, "--json").out)
    assert [run["id"] for run in shown] == [tiny.config(seed=seed).id for seed in (0, 1)]


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        ("eval.jsonl", ("show", "RUN"), "eval.jsonl:1: damaged: no checksum: delete that line, then rpe eval"),
        ("eval.jsonl", ("eval", "RUN", "--jobs", 0, "--device", "cpu"), "eval.jsonl:1: damaged: no checksum: delete that line"),
        ("recipe.yaml", ("show", "RUN", "--json"), "recipe.yaml has changed since rpe wrote it: restore it"),
        ("recipe.yaml", ("eval", "RUN", "--jobs", 1, "--device", "cpu"), "recipe.yaml has changed since rpe wrote it"),
        ("run.json", ("show", "runs/RUN"), "run.json: damaged: not JSON: start the command that made the run again"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    file: str, words: tuple[str, ...], message: str, rpe: tiny.Rpe, evaluated: Path, here: Path
) -> None:
    name = tiny.config().id
    shutil.copytree(evaluated / name, here / "runs" / name)
    (here / "runs" / name / file).write_text("no: good\nat: all\n")
    result = rpe(*[str(word).replace("RUN", name) for word in words])
    assert result.code == 1
    assert message in result.err


def test_runs_are_chosen_by_pattern(rpe: tiny.Rpe, evaluated: Path) -> None:
    words = ("eval", "copy-learned-*", "--runs", evaluated, "--jobs", 0, "--device", "cpu")
    result = rpe(*words)
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()[1:4]] == ["encoding", "Learned", "chance"]
    assert f"Next: rpe report --runs {evaluated}" in result.out
    token, exact = tables(rpe(*words, "--tables").out)
    assert [row["run"].rpartition("-")[0] for row in exact] == ["copy-learned-s0", "copy-learned-s1"]
    assert [[*row] for row in (exact[0], token[0])] == [["run", "4", "8"]] * 2
    data = json.loads(rpe(*words, "--json").out)
    assert [[line["length"] for line in run["eval"]] for run in data] == [[4, 8], [4, 8]]


def test_runs_under_the_working_folder_may_be_named_by_an_absolute_path(
    rpe: tiny.Rpe, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(evaluated.parent)
    by_words = [rpe("eval", "--runs", words, "--jobs", 0) for words in (evaluated.resolve(), evaluated.name)]
    assert [result.code for result in by_words] == [0, 0]
    tables = [result.out.partition("Next:")[0] for result in by_words]
    assert "RoPE " in tables[0]
    assert tables[0] == tables[1]


def test_what_is_already_evaluated_is_shown_and_not_evaluated_again(rpe: tiny.Rpe, evaluated: Path) -> None:
    before = [run.evaluations_file.read_bytes() for run in find_runs(evaluated)[0]]
    result = rpe("eval", "--runs", evaluated, "--jobs", 0, "--device", "cpu")
    assert result.code == 0
    shares = [run.evaluations()[0]["token_accuracy"] for run in find_runs(evaluated)[0] if run.record["encoding"] == "rope"]
    (row,) = [line.split() for line in result.out.splitlines() if line.startswith("RoPE ")]
    assert row[2].rstrip("*") == f"{50 * sum(shares):.0f}"
    assert [run.evaluations_file.read_bytes() for run in find_runs(evaluated)[0]] == before


def test_a_report_is_written_and_its_answer_shown(rpe: tiny.Rpe, evaluated: Path, here: Path) -> None:
    words = ("report", "--runs", evaluated, "--name", "mine", "--out", "results")
    result = rpe(*words)
    assert result.code == 0
    title = json.loads((here / "results" / "mine" / "report.json").read_text())["headline"]["title"]
    assert " ".join(result.out.split("\n\n")[0].split()) == title
    assert result.out.splitlines()[-1] == "Page: results/mine/report.html"
    assert "Copy, trained to 4: exact match" not in result.out
    assert "## Copy, trained to 4: exact match" in rpe(*words, "--tables").out
    assert {"report.md", "report.json", "runs.csv"} <= {path.name for path in (here / "results" / "mine").iterdir()}


def test_a_report_as_json_is_json_alone(rpe: tiny.Rpe, evaluated: Path, here: Path) -> None:
    report = json.loads(rpe("report", "--runs", evaluated, "--name", "mine", "--json").out)
    assert (report["name"], len(report["runs"])) == ("mine", 4)
    assert report == json.loads((here / "results" / "mine" / "report.json").read_text())


def test_a_report_may_be_of_the_runs_of_a_recipe(rpe: tiny.Rpe, evaluated: Path, here: Path) -> None:
    file = tiny.recipe_file(here, encoding="learned")
    report = json.loads(rpe("report", "--recipe", file, "--runs", evaluated, "--json").out)
    assert report["name"] == "mine"
    assert [run["id"] for run in report["runs"]] == [tiny.config(encoding="learned").id]


def test_run_trains_evaluates_reports_and_does_nothing_twice(rpe: tiny.Rpe, here: Path) -> None:
    words = ("run", tiny.recipe_file(here, encoding="rope,none"), "--device", "cpu", "--json", "--jobs")
    first = rpe(*words, 1)
    assert first.code == 0
    runs = find_runs(here / "runs")[0]
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for run in runs for file in run.path.glob("*[ls]")}
    second = rpe(*words, 0)
    assert second.code == 0
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in before} == before
    assert json.loads(first.out)["rows"] == json.loads(second.out)["rows"]
    assert (here / "results" / "mine" / "report.md").exists()


def test_progress_does_not_mix_with_the_data(rpe: tiny.Rpe, here: Path) -> None:
    file = tiny.recipe_file(here)
    for jobs, progress in ((0, "  step 10: loss "), (1, "[1/1] copy-rope")):
        result = rpe("run", file, "--runs", f"runs{jobs}", "--jobs", jobs, "--device", "cpu", "--json")
        assert result.code == 0
        assert json.loads(result.out)["name"] == "mine"
        assert progress in result.err


def test_run_takes_lengths_and_evaluates_them(rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("run", tiny.recipe_file(here), "--lengths", "2,6", "--jobs", 0, "--device", "cpu")
    (run,) = find_runs(here / "runs")[0]
    assert result.code == 0
    assert [line["length"] for line in run.evaluations()] == [2, 4, 6]


def test_run_uses_the_settings_of_each_task_and_flags_for_all_tasks(rpe: tiny.Rpe, here: Path) -> None:
    file = tiny.recipe_file(here, task="copy,reverse", steps=2, by_task="{reverse: {steps: 3, lengths: 1x, samples: 8}}")
    for flags_given, expected in (
        ((), {"copy": (2, [4, 8], 32), "reverse": (3, [4], 8)}),
        (("--steps", 4, "--lengths", "2x"), {"copy": (4, [4, 8], 32), "reverse": (4, [4, 8], 8)}),
    ):
        runs = here / f"runs{len(flags_given)}"
        assert rpe("run", file, *flags_given, "--runs", runs, "--jobs", 0, "--device", "cpu").code == 0
        by_task = {}
        for run in find_runs(runs)[0]:
            record, lines = run.record, run.evaluations()
            by_task[record["task"]] = record["step"], [line["length"] for line in lines], lines[-1]["n"]
        assert by_task == expected


def test_a_changed_file_of_a_trained_run_is_a_warning(rpe: tiny.Rpe, evaluated: Path, here: Path) -> None:
    shutil.copytree(evaluated, here / "runs")
    run = Run(here / "runs" / tiny.config().id)
    run.update(code=run.record["code"] | {"model.py": "00000000", "encodings/rope.py": "11111111"})
    for command in (("train", tiny.recipe_file(here), "--jobs", 0), ("eval", "--jobs", 0), ("inspect",), ("report",)):
        result = rpe(*command)
        assert result.code == 0
        assert "encodings/rope.py, model.py" in result.err + result.out
        assert result.err.count("code has changed") <= 1
    assert f"rpe's code has changed since {run.name} was trained" in rpe("eval", "--jobs", 0).err


def test_changed_code_is_told_once_however_many_kinds_of_runs_there_are(tmp_path: Path) -> None:
    kinds = [tiny.new_run(tmp_path, encoding=encoding) for encoding in ("rope", "alibi", "t5")]
    old = {f"encodings/{n}.py": "00000000" for n in range(9)}
    (told,) = changes((run.name, run.config, run.record | {"code": run.record["code"] | old}) for run in kinds)
    files = "encodings/0.py, encodings/1.py, encodings/2.py, encodings/3.py and 5 more files"
    assert told == f"rpe's code has changed since {kinds[0].name} and 2 more were trained: {files}"


def test_a_swapped_encoding_is_a_row_of_its_own_in_the_report(rpe: tiny.Rpe, here: Path) -> None:
    tiny.trained_run(here / "runs", steps=40)
    keys = ("--jobs", "0", "--lengths", "4,8")
    assert rpe("eval", *keys).code == 0
    assert rpe("eval", *keys, "--rope-scaling", "yarn").code == 0
    result = rpe("eval", *keys, "--swap-encoding", "none")
    assert result.code == 0
    assert "\nRoPE as NoPE " in result.out
    assert "scaling=yarn" not in result.out, "the table shows what was asked"
    report = rpe("report", "--tables")
    assert report.code == 0
    rows = {re.sub(r" \[\w\]", "", line.split("|")[1]).strip() for line in report.out.splitlines() if line.startswith("|")}
    assert {"RoPE", "RoPE as NoPE", "RoPE as RoPE (scaling=yarn)"} <= rows


def test_an_encoding_that_cannot_be_swapped_in_is_refused_before_anything_runs(rpe: tiny.Rpe, here: Path) -> None:
    tiny.trained_run(here / "runs", steps=20)
    result = rpe("eval", "--swap-encoding", "rope:scaling=yran")
    assert result.code == 2
    assert "scaling is none, pi, ntk, dynamic, yarn, llama3 or longrope, not 'yran'" in result.err
    result = rpe("eval", "--swap-encoding", "t5", "--jobs", "0")
    assert result.code == 2
    assert "choose an encoding without weights" in result.err


def test_two_studies_are_compared(rpe: tiny.Rpe, evaluated: Path, here: Path) -> None:
    rpe("report", "--runs", evaluated, "--name", "mine")
    result = rpe("report", "--compare", "mine", evaluated, "--runs", evaluated)
    assert "# mine (A) against" in result.out
    assert "are identical to runs in B" in result.out
    assert (here / "results" / f"mine-against-{evaluated.name}" / "compare.html").exists()
    assert json.loads(rpe("report", "--compare", "mine", evaluated, "--json").out)["a"]["name"] == "mine"


def test_a_comparison_takes_two_studies_and_nothing_else(rpe: tiny.Rpe, evaluated: Path) -> None:
    result = rpe("report", "copy-*", "--compare", "a", "b", "--runs", evaluated)
    assert (result.code, "takes two studies and nothing else: remove 'copy-*'" in result.err) == (2, True)
    result = rpe("report", "--compare", "a", "b", "--ours", "rope", "--at", "2x", "--figure", "icml", "--runs", evaluated)
    assert (result.code, "nothing else: remove --ours --at --figure" in result.err) == (2, True)
    result = rpe("report", "--compare", "a", "b", "--runs", evaluated)
    assert (result.code, "'a' is not a report in results, a folder, a run in" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ours", "nope"), "--ours nope: no encoding of these runs: "),
        (("--ours", ""), "--ours '': write the name of your encoding"),
        (("--at", "3x"), "--at 3x: no task was evaluated at that multiple of its length: there are "),
    ],
)
def test_a_name_or_a_length_that_no_run_has_is_told_before_anything_is_compared(
    words: tuple[str, ...], said: str, rpe: tiny.Rpe, evaluated: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict, "verdicts", None)
    result = rpe("report", *words, "--runs", evaluated)
    assert (result.code, result.out, said in result.err) == (2, "", True)
    assert not (here / "results").exists()


def test_a_watch_of_runs_that_have_ended_reports_at_once(rpe: tiny.Rpe, evaluated: Path, here: Path) -> None:
    result = rpe("report", "--watch", "--runs", evaluated, "--name", "mine")
    assert re.match(r"\d+ runs: \d+ trained", result.err)
    assert "No claim is judged: no run learned its training length" in result.out
    assert (here / "results" / "mine" / "report.html").exists()
    assert rpe("report", "--watch", "--compare", "a", "b").code == 2
    assert "no run 'nothing'" in rpe("report", "--watch", "nothing", "--runs", evaluated).err


def test_a_watch_follows_the_runs_that_filters_and_parts_of_ids_choose(
    rpe: tiny.Rpe, evaluated: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[list[str]] = []
    monkeypatch.setattr("rpecli.launch.progress.watch", lambda find, *_: followed.append([run.name for run in find()]))
    rope = sorted(path.name for path in evaluated.glob("*rope*"))
    assert rpe("report", "--watch", "--runs", evaluated, "--encoding", "rope").code == 0
    assert rpe("report", "--watch", "--runs", evaluated, "--encoding", "rope", "--seed", "1").code == 0
    assert rpe("report", "--watch", "--runs", evaluated, "rope-s0").code == 0
    assert followed == [rope, rope[1:], rope[:1]]
    assert rpe("report", "--watch", "--runs", evaluated, "--seed", "one").code == 2


def test_ctrl_c_ends_a_watch_with_130_and_does_not_touch_the_runs(here: Path) -> None:
    from helpers.run_folders import make_run

    path = make_run(here / "runs", {16: 1.0}, info={"status": "training"})
    process = tiny.start("report", "--watch", "--interval", "0.1", cwd=here)
    assert process.stderr
    assert "1 run: 1 training" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert (process.returncode, messages.splitlines()[-1]) == (130, "interrupted")
    assert Run(path).record["status"] == "training"
