"""The command as people type it: help, tables, lists, every mistake with what to type instead, exit codes."""

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import training as tiny
from typer.main import get_command

from rpecli import __version__, catalog
from rpecli.cli import _exit as cli_end
from rpecli.cli import _flags as flags
from rpecli.cli import app as cli
from rpecli.config import recipe
from rpecli.config.keys import recipe_keys
from rpecli.evaluate import measure as evaluate
from rpecli.launch import job as order
from rpecli.run.directory import Run, find_runs

ENCODING = '''"""Adds a number of its own to every score; a user's own file."""

import torch

from rpecli.encoding import DistanceBias


class Mine(DistanceBias):
    group = "RPE"

    def by_distance(self, distance):
        return -0.5 * distance.expand(self.shape.n_head, *distance.shape)
'''
TASK = '''"""Say the first symbol; a user's own file."""

from rpecli.task import Task, prompt_answer


class First(Task):
    symbols = 5
    defaults = {"length": 3}
    examples = (([2, 4], "> 2 4 | [2] ."),)

    def draw(self, rng, batch, length):
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN):
        return prompt_answer(x_BxN, x_BxN[:, :1])
'''


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four trained and evaluated runs; nothing may change it."""
    runs = tmp_path_factory.mktemp("done") / "runs"
    for encoding in ("rope", "learned"):
        for seed in (0, 1):
            evaluate.evaluate(tiny.trained_run(runs, encoding=encoding, seed=seed), device="cpu", threads=1)
    return runs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tables(text: str) -> list[list[dict[str, str]]]:
    """The Markdown tables in a text, each a list of rows by column; a blank line, or a title, parts them."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        head, rule, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines())
        assert all(re.fullmatch(":-+|-+:", cell) for cell in rule)
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


def table(text: str) -> list[dict[str, str]]:
    """The first one."""
    return tables(text)[0]


# ------------------------------------------------------------------------------------------------------------------ help


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_help_page(command: str, rpe: tiny.Rpe) -> None:
    said = rpe(command, "--help")
    assert (said.code, said.err) == (0, "")
    assert re.search(rf"Usage: .*\b{command}\b", said.out)
    assert rpe(command, "-h").out == said.out


@pytest.mark.parametrize("columns", [80, 130])
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_help_ends_with_three_examples_each_on_one_line(
    command: str, columns: int, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, _, examples = rpe(command, "--help").out.partition("Examples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) == 3
    for line in lines:
        program, name, *words = shlex.split(line)
        assert program == "rpe"
        get_command(cli.app).get_command(None, name).make_context(name, words)  # raises where a flag does not exist


def test_the_help_lists_every_command_in_order_and_where_to_start(rpe: tiny.Rpe) -> None:
    said = rpe("--help")
    assert said.code == 0
    _, _, listed = said.out.partition("─ Commands ─")
    commands = ["train", "eval", "report", "run", "ls", "show", "inspect", "check", "bench", "data"]
    assert re.findall(r"^│ (\w+)", listed, re.MULTILINE) == commands == list(cli.COMMANDS)
    assert "\n   rpe run quick\n" in said.out


def test_without_a_command_the_help_is_shown(rpe: tiny.Rpe) -> None:
    assert rpe() == rpe("--help") == rpe("-h")


def test_the_version_is_shown(rpe: tiny.Rpe) -> None:
    assert rpe("--version") == tiny.Result(0, f"rpe {__version__}\n", "")


def test_the_help_of_every_recipe_key_shows_its_group_type_choices_and_default(
    rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = rpe("train", "--help").out
    panels = dict(re.findall(r"╭─ (\w+) ─+╮\n(.*?)╰", text, re.DOTALL))
    for key in recipe_keys():
        if key.name != "by_task":
            (line,) = (line for line in panels[key.group].splitlines() if f"--{key.name.replace('_', '-')} " in line)
            assert key.type in line
            assert f"[default: {key.default}" in line or not key.default
    assert "[softmax|stick-breaking]" in panels["Model"]
    assert re.search(r"--steps .*\[default: 1000, or the task's default\]", panels["Training"])
    assert re.search(r"--lengths .*\[default: 1x,2x,4x,8x\]", panels["Evaluation"])


@pytest.mark.parametrize("words", [("trian",), ("train", "--job", "2"), ("eval", "--sampels", "3"), ("run",), ("data", "copy")])
def test_what_is_no_command_or_flag_is_a_usage_error(words: tuple[str, ...], rpe: tiny.Rpe, here: Path) -> None:
    said = rpe(*words)
    assert said.code == 2
    assert "Usage: " in said.err
    assert "Error" in said.err
    assert not list(here.iterdir())


@pytest.mark.parametrize("words", [("--help",), ("ls", "encodings"), ("ls", "tasks"), ("ls", "recipes"), ("check", "--keys")])
def test_what_only_lists_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    code = (
        "import sys; from rpecli.cli import app as cli\n"
        "try: cli.main()\nexcept SystemExit as end: assert not end.code, end\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=catalog.PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "rpecli" in loaded
    assert not loaded & {"torch", "pandas", "datasets", "numpy", "scipy", "matplotlib"}


# -------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "--lrr", "3"), r"No such option: --lrr.*--lr\b"),
        (("train", "--lr", "fast"), r"--lr: 'fast' is not a number: write for example 0\.006"),
        (("train", "--lr"), r"'--lr' requires an argument"),
        (("train", "--set", "lr"), r"--set lr: write --set key=value"),
        (("train", "--set", "lrr=3"), r"--lrr: unknown key: did you mean lr\?"),
        (("train", "--d-model", "30"), r"--d-model: d_model=30 is not divisible by n_head=4: d_model=32 is"),
        (
            ("train", "--encoding", "ropee"),
            r"--encoding: unknown encoding 'ropee': did you mean rope or .*  \(rpe ls encodings\)",
        ),
        (("train", "--task", "cpy"), r"--task: unknown task 'cpy': did you mean copy\?"),
        (
            ("train", "--encoding", "rope,", "alibi"),
            r"'alibi': it is one of the encodings; write lists with commas and no",
        ),
        (("train", "--encoding", "rope:base=x"), r"encoding rope: option base must be a number, not 'x'"),
        (("train", "--seed", "x"), r"--seed: 'x' is not a seed: write 3, or 0,4, or 0:3 for 0, 1, 2"),
        (("train", "--positions", "random"), r"--positions: unknown positions 'random': did you mean randomized\?"),
        (("train", "--positions", "offset", "--max-position", "5"), r"--max-position: 5 is below the longest training sequence"),
        (("train", "quik"), r"unknown recipe 'quik': did you mean quick\?"),
        (("train", "gone.yaml"), r"no \.yaml file gone\.yaml"),
        (
            ("train", "--length", "200", "--task", "sort:distinct=true"),
            r"--length: 200: sort:distinct=true has no problem longer",
        ),
        (("train", "--stack", "some"), r"--stack some: write auto, on, off, or how many at most: --stack 8"),
        (("run", "quick", "--stack", "0"), r"--stack 0: write auto, on, off, or how many at most"),
        (("run", "quick", "--lengths", "4:1"), r"--lengths: '4:1' descends: write 1:4"),
        (("run", "quik"), r"did you mean quick\?"),
        (("eval", "--lengths", "0:10"), r"--lengths: '0:10': lengths start at 1: write 1:10"),
        (("eval", "--lengths", "abc"), r"--lengths: 'abc': 'abc' is not a length: write a whole number below"),
        (("eval", "--lengths", "64:16"), r"--lengths: '64:16' descends: write 16:64"),
        (("eval", "--lengths", "1:99999999:1"), r"has more than 10000 lengths"),
        (("check", "quik"), r"did you mean quick\?"),
        (("ls", "encoding"), r"unknown kind 'encoding': did you mean encodings\?"),
        (("report", "--recipe", "quik", "--runs", "DONE"), r"did you mean quick\?"),
        (("show", "copy-rop-s0", "--runs", "DONE"), r"no run 'copy-rop-s0' under .*: did you mean copy-rope-s"),
    ],
)
def test_a_mistake_is_told_with_what_to_type_instead(
    words: tuple[str, ...], message: str, rpe: tiny.Rpe, here: Path, done: Path
) -> None:
    said = rpe(*[str(done) if word == "DONE" else word for word in words])
    assert said.code == 2
    assert re.search(message, " ".join(re.sub(r"[│╭╮╰╯─]", " ", said.err).split(" ")), re.DOTALL), said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not list(here.iterdir()), "a mistake leaves nothing behind"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eval",), "no runs under runs: create some with rpe train --encoding rope"),
        (("report",), "no runs under runs: create some with rpe train --encoding rope"),
        (("ls", "runs"), "no runs under runs: create some with rpe train --encoding rope"),
    ],
)
def test_without_runs_the_first_command_is_told(words: tuple[str, ...], message: str, rpe: tiny.Rpe, here: Path) -> None:
    said = rpe(*words)
    assert (said.code, said.err.strip()) == (1, message)


def test_where_there_is_no_run_no_name_is_near(rpe: tiny.Rpe, here: Path) -> None:
    said = rpe("show", "copy-rope")
    assert said.code == 2
    assert "no run 'copy-rope' under runs: there are none yet" in said.err


def test_a_file_in_the_place_of_the_runs_is_named(rpe: tiny.Rpe, here: Path) -> None:
    (here / "runs").touch()
    said = rpe("train", tiny.recipe_file(here), "--jobs", 0)
    assert said.code == 1
    assert "runs is a file where a directory is needed" in said.err


def test_a_device_that_is_not_there_fails_with_those_that_are(rpe: tiny.Rpe, here: Path) -> None:
    said = rpe("train", tiny.recipe_file(here), "--jobs", 0, "--device", "gpu")
    assert said.code == 1
    assert "no device 'gpu' here: --device" in said.err


# --------------------------------------------------------------------------------------------------- flags and recipes


def test_every_recipe_key_is_a_flag_with_or_without_a_recipe(rpe: tiny.Rpe, here: Path) -> None:
    words = [word for key, value in (tiny.KEYS | {"steps": 3}).items() for word in (f"--{key.replace('_', '-')}", value)]
    assert rpe("train", *words, "--jobs", 0, "--device", "cpu").code == 0
    assert rpe("train", tiny.recipe_file(here), "--steps=3", "--jobs", 0, "--device", "cpu").code == 0
    (run,) = find_runs(here / "runs")[0]
    assert run.config.steps == 3
    assert run.name == tiny.config(steps=3).id


def test_flags_may_stand_before_the_recipe(rpe: tiny.Rpe, here: Path) -> None:
    file = tiny.recipe_file(here)
    assert rpe("train", "--steps", 3, "--lr", "1e-3", file, "--jobs", 0, "--device", "cpu").code == 0
    (run,) = find_runs(here / "runs")[0]
    assert (run.config.steps, run.config.lr) == (3, 1e-3)


def test_settings_of_one_task_are_no_flag_and_the_way_out_is_said(rpe: tiny.Rpe, here: Path) -> None:
    said = rpe("train", tiny.recipe_file(here), "--set", "by_task=copy:steps=3")
    assert (said.code, "in a file: by_task: {NAME: {steps: 500}}" in said.err) == (2, True)
    assert "--by-task" not in rpe("train", "--help").out


def test_set_takes_any_key_several_times(rpe: tiny.Rpe, here: Path) -> None:
    words = ("--set", "steps=3", "--set", " lr = 1e-3 ", "--jobs", 0, "--device", "cpu")
    assert rpe("train", tiny.recipe_file(here), *words).code == 0
    (run,) = find_runs(here / "runs")[0]
    assert (run.config.steps, run.config.lr) == (3, 1e-3)


def test_lists_in_flags_are_a_grid(rpe: tiny.Rpe, here: Path) -> None:
    words = ("--task", "copy,reverse", "--encoding", "rope,none", "--seed", "0:2", "--steps", 1, "--jobs", 0, "--device", "cpu")
    said = rpe("train", tiny.recipe_file(here), *words)
    assert said.code == 0
    assert len(table(said.out)) == 8
    assert "Next: rpe eval --lengths 512:4096" in said.out


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_a_shipped_recipe_is_well(name: str, rpe: tiny.Rpe) -> None:
    said = rpe("check", name)
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(rf"{name}: \d+ runs, no errors\n", said.out)


def test_without_a_name_every_shipped_recipe_is_checked(rpe: tiny.Rpe) -> None:
    said = rpe("check")
    assert said.code == 0
    assert [line.partition(":")[0] for line in said.out.splitlines()] == catalog.names("recipes")


def test_a_broken_recipe_is_told_every_error_with_its_place(rpe: tiny.Rpe, here: Path) -> None:
    (here / "bad.yaml").write_text("task: copy\nencoding: ropee\nlr: fast\nlrr: 3\nsteps: 0\nlr: 4\nseed: x\n")
    said = rpe("check", "bad.yaml")
    bad = (here / "bad.yaml").resolve()
    assert said.code == 2
    assert said.out == ""
    assert [line.partition(": ")[0].replace(str(bad), "bad") for line in said.err.splitlines()] == [
        f"bad:{number}" for number in (2, 3, 4, 5, 6, 7)
    ]
    keys = [line.split(": ")[1] for line in said.err.splitlines()]
    assert keys == ["encoding", "lr", "lrr", "steps", "lr", "seed"]


def test_what_only_the_code_knows_is_told_with_its_place_too(rpe: tiny.Rpe, here: Path) -> None:
    (here / "bad.yaml").write_text("task: sort:distinct=true\nencoding: [rope:bas=3, none]\nlengths: 1x,100x\nlength: 8\n")
    said = rpe("check", "bad.yaml")
    bad = (here / "bad.yaml").resolve()
    assert said.code == 2
    assert f"{bad}:3: lengths: 800: sort:distinct=true has no problem longer than 150" in said.err
    assert f"{bad}:2: encoding: encoding rope has no option 'bas': did you mean base?" in said.err


def test_what_only_the_code_knows_of_a_key_of_one_task_is_told_with_its_place(rpe: tiny.Rpe, here: Path) -> None:
    text = "task: [copy, sort:distinct=true]\nby_task:\n  sort:\n    lengths: 1x,100x\n  copy: {max_position: 3}\n"
    (here / "bad.yaml").write_text(f"{text}positions: offset\n")
    said = rpe("check", "bad.yaml")
    bad = (here / "bad.yaml").resolve()
    assert said.code == 2
    assert f"{bad}:4: by_task: sort: lengths: 1600: sort:distinct=true has no problem longer than 150" in said.err
    assert f"{bad}:5: by_task: copy: max_position: 3 is below" in said.err


def test_the_keys_are_listed_with_their_defaults(rpe: tiny.Rpe) -> None:
    rows = table(rpe("check", "--keys").out)
    assert {row["key"] for row in rows} == set(recipe.Recipe.model_fields)
    assert next(row for row in rows if row["key"] == "by_task")["default"] == "none"
    (lr,) = (row for row in rows if row["key"] == "lr")
    assert (lr["type"], lr["default"]) == ("FLOAT", "0.006")
    assert all(row["meaning"] for row in rows)


# ----------------------------------------------------------------------------------------------------------- ls and show


@pytest.mark.parametrize("kind", ["encodings", "tasks", "recipes"])
def test_everything_there_is_is_listed_with_what_it_does(kind: str, rpe: tiny.Rpe) -> None:
    said, data = rpe("ls", kind), json.loads(rpe("ls", kind, "--json").out)
    assert (said.code, said.err) == (0, "")
    column, what = kind.removesuffix("s"), next(key for key in data[0] if key.startswith("what"))
    assert [row[column] for row in table(said.out)] == [row[column] for row in data] == catalog.names(kind)
    assert all(row[what] for row in data)


def test_a_recipe_is_listed_with_the_lengths_of_each_task(monkeypatch: pytest.MonkeyPatch, rpe: tiny.Rpe, here: Path) -> None:
    file = tiny.recipe_file(here, task="copy,reverse,sort", by_task="{reverse: {lengths: 1x:8x}}")
    monkeypatch.setattr(catalog, "names", lambda kind: [str(file)])
    assert json.loads(rpe("ls", "recipes", "--json").out)[0]["lengths"] == "1x,2x or 1x:8x"


def test_without_a_kind_encodings_are_listed(rpe: tiny.Rpe) -> None:
    assert rpe("ls").out == rpe("ls", "encodings").out


def test_runs_are_listed_with_how_they_went(rpe: tiny.Rpe, done: Path) -> None:
    rows = table(rpe("ls", "runs", "--runs", done).out)
    data = json.loads(rpe("ls", "runs", "--runs", done, "--json").out)
    assert [row["run"] for row in rows] == [info["id"] for info in data] == [run.name for run in find_runs(done)[0]]
    assert {row["status"] for row in rows} == {"trained"}
    last = Run(done / rows[0]["run"]).metrics()[-1]
    assert rows[0]["acc"] == f"{last['token_accuracy']:.3f}"


def test_a_foreign_or_damaged_directory_among_the_runs_is_said_and_skipped(rpe: tiny.Rpe, done: Path, here: Path) -> None:
    shutil.copytree(done, here / "runs")
    (here / "runs" / "holiday").mkdir()
    damaged = find_runs(here / "runs")[0][0]
    damaged.record_file.write_text("{")
    for words in (("ls", "runs"), ("report", "--out", "results"), ("eval", "--lengths", "1x", "--jobs", 0)):
        said = rpe(*words)
        assert said.code == 0
        assert "runs/holiday: not a run directory (no run.json): move it elsewhere" in said.err
        assert f"{damaged.record_file.relative_to(here)}: damaged record: delete" in said.err
        assert damaged.name not in said.out
        assert "copy-rope-s1" in said.out or words[0] == "report"


def test_a_run_is_shown_by_id_pattern_or_path(rpe: tiny.Rpe, done: Path, here: Path) -> None:
    run = find_runs(done)[0][0]
    by_id = rpe("show", run.name, "--runs", done)
    assert by_id.code == 0
    assert {row["field"]: row["value"] for row in table(by_id.out)}["id"] == run.name
    assert rpe("show", run).out == by_id.out
    assert rpe("show", run.name[:-3] + "*", "--runs", done).out == by_id.out
    both = rpe("show", "copy-rope-*", "--runs", done)
    assert both.out.count("| id ") == 2


def test_the_evaluation_of_a_shown_run_is_a_row_a_length(rpe: tiny.Rpe, done: Path) -> None:
    run = find_runs(done)[0][0]
    record, rows = tables(rpe("show", run.name, "--runs", done).out)
    assert {"field": "status", "value": "trained"} in record
    assert [row["length"] for row in rows] == ["4", "8"]
    assert rows[0]["exact match"] == f"{run.evaluations()[0]['exact_match']:.3f}"


def test_a_run_shown_as_json_is_all_there_is(rpe: tiny.Rpe, done: Path) -> None:
    run = find_runs(done)[0][0]
    shown = json.loads(rpe("show", run.name, "--runs", done, "--json").out)
    assert shown["id"] == run.name
    assert shown["config"] == run.config.to_keys()
    assert shown["eval"] == run.evaluations()


def test_several_runs_shown_as_json_are_one_list(rpe: tiny.Rpe, done: Path) -> None:
    shown = json.loads(rpe("show", "copy-rope-*", "--runs", done, "--json").out)
    assert [each["id"] for each in shown] == [tiny.config(seed=seed).id for seed in (0, 1)]


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        ("eval.jsonl", ("show", "RUN"), "eval.jsonl:1: damaged line: delete that line, or the run, and start again"),
        ("eval.jsonl", ("eval", "RUN", "--jobs", 0, "--device", "cpu"), "eval.jsonl:1: damaged line: delete that line"),
        ("recipe.yaml", ("show", "RUN", "--json"), "its recipe.yaml does not load"),
        ("recipe.yaml", ("eval", "RUN", "--jobs", 1, "--device", "cpu"), "its recipe.yaml does not load"),
        ("run.json", ("show", "runs/RUN"), "run.json: damaged record: delete"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    file: str, words: tuple[str, ...], message: str, rpe: tiny.Rpe, done: Path, here: Path
) -> None:
    name = tiny.config().id
    shutil.copytree(done / name, here / "runs" / name)
    (here / "runs" / name / file).write_text("no: good\nat: all\n")
    said = rpe(*[str(word).replace("RUN", name) for word in words])
    assert said.code == 1
    assert message in said.err


# ---------------------------------------------------------------------------------------------------- eval, report and run


def test_runs_are_chosen_by_pattern(rpe: tiny.Rpe, done: Path) -> None:
    said = rpe("eval", "copy-learned-*", "--runs", done, "--jobs", 0, "--device", "cpu")
    assert said.code == 0
    exact, token = tables(said.out)
    assert [row["run"].rpartition("-")[0] for row in exact] == ["copy-learned-s0", "copy-learned-s1"]
    assert [[*row] for row in (exact[0], token[0])] == [["run", "4", "8"]] * 2
    assert f"Next: rpe report --runs {done}" in said.out


def test_what_was_evaluated_is_shown_without_being_measured_again(rpe: tiny.Rpe, done: Path) -> None:
    before = [run.evaluations_file.read_bytes() for run in find_runs(done)[0]]
    said = rpe("eval", "--runs", done, "--jobs", 0, "--device", "cpu")
    assert said.code == 0
    first = table(said.out)[0]
    line = Run(done / first["run"]).evaluations()[0]
    assert first["4"] == f"{line['exact_match']:.3f}"
    assert [run.evaluations_file.read_bytes() for run in find_runs(done)[0]] == before


def test_a_report_is_written_and_its_tables_shown(rpe: tiny.Rpe, done: Path, here: Path) -> None:
    said = rpe("report", "--runs", done, "--name", "mine", "--out", "results")
    assert said.code == 0
    assert "## copy, trained to 4: exact match" in said.out
    assert "Written: results/mine/" in said.err
    assert {"report.md", "report.json", "runs.csv"} <= {path.name for path in (here / "results" / "mine").iterdir()}


def test_a_report_as_json_is_json_alone(rpe: tiny.Rpe, done: Path, here: Path) -> None:
    made = json.loads(rpe("report", "--runs", done, "--name", "mine", "--json").out)
    assert (made["name"], len(made["runs"])) == ("mine", 4)
    assert made == json.loads((here / "results" / "mine" / "report.json").read_text())


def test_a_report_may_be_of_the_runs_of_a_recipe(rpe: tiny.Rpe, done: Path, here: Path) -> None:
    file = tiny.recipe_file(here, encoding="learned")
    made = json.loads(rpe("report", "--recipe", file, "--runs", done, "--json").out)
    assert made["name"] == "mine"
    assert [each["id"] for each in made["runs"]] == [tiny.config(encoding="learned").id]


def test_run_trains_evaluates_reports_and_does_nothing_twice(rpe: tiny.Rpe, here: Path) -> None:
    words = ("run", tiny.recipe_file(here, encoding="rope,none"), "--device", "cpu", "--json", "--jobs")
    first = rpe(*words, 1)
    assert first.code == 0
    created = find_runs(here / "runs")[0]
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for run in created for file in run.path.glob("*[ls]")}
    second = rpe(*words, 0)
    assert second.code == 0
    assert {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in before} == before
    assert json.loads(first.out)["rows"] == json.loads(second.out)["rows"]
    assert (here / "results" / "mine" / "report.md").exists()


def test_what_is_said_meanwhile_does_not_mix_with_the_data(rpe: tiny.Rpe, here: Path) -> None:
    file = tiny.recipe_file(here)
    for jobs, progress in ((0, "train {'step': 10"), (1, "[1/1] copy-rope")):
        said = rpe("run", file, "--runs", f"runs{jobs}", "--jobs", jobs, "--device", "cpu", "--json")
        assert said.code == 0
        assert json.loads(said.out)["name"] == "mine"
        assert progress in said.err


def test_run_takes_lengths_and_evaluates_them(rpe: tiny.Rpe, here: Path) -> None:
    said = rpe("run", tiny.recipe_file(here), "--lengths", "2,6", "--jobs", 0, "--device", "cpu")
    (run,) = find_runs(here / "runs")[0]
    assert said.code == 0
    assert [line["length"] for line in run.evaluations()] == [2, 4, 6]


def test_run_trains_and_measures_each_task_by_its_own_settings_and_flags_hold_for_all(rpe: tiny.Rpe, here: Path) -> None:
    file = tiny.recipe_file(here, task="copy,reverse", steps=2, by_task="{reverse: {steps: 3, lengths: 1x, samples: 8}}")
    for flags_given, expected in (
        ((), {"copy": (2, [4, 8], 32), "reverse": (3, [4], 8)}),
        (("--steps", 4, "--lengths", "2x"), {"copy": (4, [4, 8], 32), "reverse": (4, [4, 8], 8)}),
    ):
        runs = here / f"runs{len(flags_given)}"
        assert rpe("run", file, *flags_given, "--runs", runs, "--jobs", 0, "--device", "cpu").code == 0
        found = {}
        for run in find_runs(runs)[0]:
            lines = run.evaluations()
            found[run.record["task"]] = run.record["step"], [line["length"] for line in lines], lines[-1]["n"]
        assert found == expected


def test_a_changed_file_of_a_trained_run_is_said(rpe: tiny.Rpe, done: Path, here: Path) -> None:
    shutil.copytree(done, here / "runs")
    run = Run(here / "runs" / tiny.config().id)
    sources = run.record["sources"]
    for kind, word in (("tasks", "task"), ("encodings", "encoding")):
        run.update(sources=sources | {kind: "00000000"})
        said = rpe("train", tiny.recipe_file(here), "--jobs", 0)
        assert said.code == 0
        assert f"{run.name}: the file of its {word} has changed since; delete runs/{run.name} to train again" in said.err


# -------------------------------------------------------------------------------------------------------- stops in process


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 75)])
def test_a_stop_in_this_process_saves_ends_the_command_and_starts_no_further_run(
    number: str, code: int, rpe: tiny.Rpe, here: Path
) -> None:
    trap = tiny.trap_in(here)
    words = ("train", tiny.recipe_file(here, task=trap.task, seed="0:2"), "--jobs", 0, "--device", "cpu")
    trap.arm(17, number)
    said = rpe(*words)
    assert said.code == code
    assert "start the same command again to go on" in said.err
    first, second = find_runs(here / "runs")[0]
    assert (first.record["status"], second.record["status"]) == ("stopped", "created")
    assert rpe(*words).code == 0
    untouched = tiny.trained_run(here / "untouched", task=str(trap.task))
    assert first.weights_file.read_bytes() == untouched.weights_file.read_bytes()


# ----------------------------------------------------------------------------------------------------------------- output


def test_output_in_a_pipe_is_markdown_without_escape_codes(done: Path) -> None:
    for words in (("ls", "encodings"), ("ls", "runs", "--runs", done), ("nonsense",), ("show", "x", "--runs", done)):
        said = tiny.finish(tiny.start(*words, cwd=done))
        assert "\x1b" not in said.out + said.err
        assert said.out.startswith("| ") or said.code


def test_a_reader_that_has_seen_enough_is_no_error(done: Path) -> None:
    process = tiny.start("ls", "encodings", cwd=done)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait()


def terminal(*words: str, columns: int, cwd: Path, **env: str) -> str:
    """What the command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    variables = os.environ | {"PYTHONPATH": str(catalog.PACKAGE.parent), "COLUMNS": str(columns), "TERM": "xterm-256color"} | env
    command = [sys.executable, "-m", "rpecli", *words]
    process = subprocess.Popen(command, cwd=cwd, env=variables, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        text += part
    os.close(ours)
    process.wait()
    return text.decode()


def test_a_narrow_terminal_gets_narrow_tables_that_lose_nothing(done: Path) -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal("ls", "tasks", columns=60, cwd=done))
    assert max(map(len, text.splitlines())) <= 60
    assert "|--" not in text
    assert {word.rstrip() for word in re.findall(r"^\S+", text, re.MULTILINE)} >= set(catalog.names("tasks"))
    for run in find_runs(done)[0]:
        shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal("ls", "runs", "--runs", str(done), columns=40, cwd=done))
        assert max(map(len, shown.splitlines())) <= 40
        assert run.name[:6] in shown
        break


def test_no_color_is_obeyed(done: Path) -> None:
    for words in (("ls", "encodings"), ("show", "nothing-near", "--runs", str(done)), ("--help",)):
        text = terminal(*words, columns=100, cwd=done, NO_COLOR="1")
        colours = re.findall(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38|48|4[0-7])(?:;\d+)*m", text)
        assert not colours, (words, colours)


# ----------------------------------------------------------------------------------------------------------- one's own files


def test_a_users_own_encoding_and_task_train_evaluate_and_list_by_path(rpe: tiny.Rpe, here: Path) -> None:
    (here / "mine.py").write_text(ENCODING)
    (here / "first.py").write_text(TASK)
    words = ("--task", "./first.py", "--encoding", "./mine.py,rope", "--jobs", 0, "--device", "cpu")
    said = rpe("run", tiny.recipe_file(here), *words)
    assert said.code == 0, said.err
    assert "| mine" in said.out
    names = [run.name.rpartition("-")[0] for run in find_runs(here / "runs")[0]]
    assert names == ["first-mine-s0", "first-rope-s0"]
    assert {row["run"].rpartition("-")[0] for row in table(rpe("ls", "runs").out)} == set(names)


def test_an_own_file_that_does_not_load_is_named_with_its_line(rpe: tiny.Rpe, here: Path) -> None:
    (here / "mine.py").write_text(ENCODING.replace("import torch", "import torhc"))
    said = rpe("train", tiny.recipe_file(here), "--encoding", "./mine.py", "--jobs", 0)
    assert said.code == 2
    assert f"{(here / 'mine.py').resolve()}:3: this file does not load: ModuleNotFoundError" in said.err


def test_a_new_file_in_the_folder_is_listed_and_trained_without_another_edit(here: Path) -> None:
    """A copy of the package with one more encoding and one more task."""
    source = here / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(catalog.PACKAGE, source / "rpecli", ignore=ignore)
    for kind in ("tasks", "recipes"):
        shutil.copytree(catalog.folder(kind), source / "rpecli" / kind, ignore=ignore, dirs_exist_ok=True)
    (source / "rpecli" / "encodings" / "my_own.py").write_text(ENCODING)
    (source / "rpecli" / "tasks" / "first_one.py").write_text(TASK)
    env = {"PYTHONPATH": str(source)}
    listed = tiny.finish(tiny.start("ls", "encodings", cwd=here, env=env))
    row = next(row for row in table(listed.out) if row["encoding"] == "my-own")
    assert row["what it does"] == "Adds a number of its own to every score; a user's own file."
    file = tiny.recipe_file(here, task="first-one", encoding="my-own")
    said = tiny.finish(tiny.start("train", file, "--jobs", 0, "--device", "cpu", cwd=here, env=env))
    assert said.code == 0, said.err
    assert "first-one-my-own-s0" in said.out


# ------------------------------------------------------------------------------------------------------------- completion


def test_the_shell_is_offered_names_behind_any_comma(done: Path, here: Path) -> None:
    encodings, tasks = flags.complete_names("encodings"), flags.complete_names("tasks")
    assert encodings("") == catalog.names("encodings")
    assert encodings("ro") == ["rope"]
    assert encodings("alibi,ro") == ["alibi,rope"]
    assert tasks("cop") == ["copy"]
    assert flags.complete_names("recipes")("qu") == ["quick"]
    assert encodings("zzz") == []


def test_the_shell_is_offered_the_runs_of_this_folder(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(done.parent)
    assert flags.complete_runs("copy-rope-s1") == [tiny.config(seed=1).id]
    assert flags.complete_runs("nothing") == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("train --encoding ro", "rope"), ("train qui", "quick"), ("run qui", "quick"), ("data cop", "copy"), ("ev", "eval")],
)
def test_completion_works_through_the_shells_protocol(typed: str, offered: str, done: Path) -> None:
    count = str(len(typed.split()))
    env = os.environ | {"_RPE_COMPLETE": "complete_bash", "COMP_WORDS": f"rpe {typed}", "COMP_CWORD": count}
    code = "import sys; sys.argv[0] = 'rpe'; from rpecli.cli.app import app; app(prog_name='rpe')"
    env |= {"PYTHONPATH": str(catalog.PACKAGE.parent)}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=done)
    assert found.stdout.split() == [offered]


def test_every_exit_code_is_its_own() -> None:
    assert (cli_end.USAGE, cli_end.FAILURE, order.SAVED, order.INTERRUPTED) == (2, 1, 75, 130)


def test_an_error_that_is_no_mistake_of_the_users_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def app() -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(ValueError, match="a defect"):
        cli.main()


def test_positions_that_do_not_ascend_are_refused_to_an_encoding_that_reads_distances(rpe: tiny.Rpe, here: Path) -> None:
    said = rpe("train", "--task", "addition", "--positions", "coupled", "--encoding", "learned,t5")
    assert said.code == 2
    assert said.err == "--positions: coupled positions do not ascend, and t5 reads distances: choose another encoding\n"


def test_positions_that_a_task_does_not_have_are_refused(rpe: tiny.Rpe, here: Path) -> None:
    said = rpe("train", "--task", "copy", "--positions", "coupled", "--encoding", "learned")
    assert said.code == 2
    assert "copy has no coupled positions: write positions: start" in said.err


def test_a_trained_model_is_measured_with_another_encoding_and_the_report_keeps_them_apart(rpe: tiny.Rpe, here: Path) -> None:
    tiny.trained_run(here / "runs", steps=40)
    keys = ("--jobs", "0", "--lengths", "4,8")
    assert rpe("eval", *keys).code == 0
    assert rpe("eval", *keys, "--rope-scaling", "yarn").code == 0
    said = rpe("eval", *keys, "--swap-encoding", "none")
    assert said.code == 0
    assert " as none" in said.out
    assert " as rope:scaling=yarn" in said.out
    told = rpe("report")
    assert told.code == 0
    rows = {re.sub(r" \[\w\]", "", line.split("|")[1]).strip() for line in told.out.splitlines() if line.startswith("|")}
    assert {"rope", "rope as none", "rope as rope:scaling=yarn"} <= rows


def test_an_encoding_that_cannot_take_a_models_place_is_told_before_anything_runs(rpe: tiny.Rpe, here: Path) -> None:
    tiny.trained_run(here / "runs", steps=20)
    said = rpe("eval", "--swap-encoding", "rope:scaling=yran")
    assert said.code == 2
    assert "scaling is none, pi, ntk, dynamic, yarn or llama3, not 'yran'" in said.err
    said = rpe("eval", "--swap-encoding", "t5", "--jobs", "0")
    assert said.code == 1
    assert "choose one without parameters" in said.err


def test_two_studies_are_set_side_by_side(rpe: tiny.Rpe, done: Path, here: Path) -> None:
    rpe("report", "--runs", done, "--name", "mine")
    said = rpe("report", "--compare", "mine", done, "--runs", done)
    assert "# mine (A) against" in said.out
    assert "are identical to runs in B" in said.out
    assert (here / "results" / f"mine-against-{done.name}" / "compare.html").exists()
    assert json.loads(rpe("report", "--compare", "mine", done, "--json").out)["a"]["word"] == "mine"


def test_a_comparison_takes_two_studies_and_nothing_else(rpe: tiny.Rpe, done: Path) -> None:
    said = rpe("report", "copy-*", "--compare", "a", "b", "--runs", done)
    assert (said.code, "takes two studies and nothing else: remove 'copy-*'" in said.err) == (2, True)
    assert rpe("report", "--compare", "a", "b", "--runs", done).code == 1


def test_a_watch_of_what_has_ended_reports_at_once(rpe: tiny.Rpe, done: Path, here: Path) -> None:
    said = rpe("report", "--watch", "--runs", done, "--name", "mine")
    assert re.match(r"\d+ runs: \d+ trained", said.err)
    assert "token accuracy" in said.out
    assert (here / "results" / "mine" / "report.html").exists()
    assert rpe("report", "--watch", "--compare", "a", "b").code == 2
    assert "no run 'nothing'" in rpe("report", "--watch", "nothing", "--runs", done).err


def test_ctrl_c_ends_a_watch_with_130_and_leaves_the_sweep_alone(here: Path) -> None:
    from helpers.run_folders import made_up_run

    run = made_up_run(here / "runs", {16: 1.0}, info={"status": "training"})
    process = tiny.start("report", "--watch", "--interval", "0.1", cwd=here)
    assert process.stderr
    assert "1 run: 1 training" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert (process.returncode, messages.splitlines()[-1]) == (130, "interrupted; start the same command again to go on")
    assert run.record["status"] == "training"
