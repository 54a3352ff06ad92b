"""Help of every command: groups, types, choices, defaults, examples; version; completion in the shell."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import training as tiny
from helpers.command import table
from typer.main import get_command

from rpecli import __version__, catalog
from rpecli.cli import _flags
from rpecli.cli import app as cli
from rpecli.config.keys import recipe_keys
from rpecli.config.recipe import Recipe
from rpecli.config.yaml_source import IN_FILES


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_help_page(command: str, rpe: tiny.Rpe) -> None:
    result = rpe(command, "--help")
    assert (result.code, result.err) == (0, "")
    assert re.search(rf"Usage: .*\b{command}\b", result.out)
    assert rpe(command, "-h").out == result.out


@pytest.mark.parametrize("columns", [80, 130])
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_help_ends_with_examples_each_on_one_line(
    command: str, columns: int, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    page = rpe(command, "--help").out
    assert "…" not in page
    _, _, examples = page.partition("Examples:\n")
    assert all(len(line) <= 80 for line in examples.splitlines())
    lines = [line.strip() for line in examples.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert 3 <= len(lines) <= 4
    for line in lines:
        program, name, *words = shlex.split(line)
        assert program == "rpe"
        get_command(cli.app).get_command(None, name).make_context(name, words)  # raises where a flag does not exist


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_paragraph_of_the_help_has_no_line_ends_of_the_docstring(command: str) -> None:
    about = get_command(cli.app).get_command(None, command).help
    assert about
    assert all("\n" not in paragraph for paragraph in about.split("\n\n"))


def test_the_help_lists_every_command_in_order_and_where_to_start(rpe: tiny.Rpe) -> None:
    result = rpe("--help")
    assert result.code == 0
    _, _, listed = result.out.partition("─ Commands ─")
    commands = ["train", "eval", "report", "run", "choose", "ls", "show", "reproduce", "inspect", "new", "check", "bench"]
    commands += ["data", "export", "import", "rm", "work"]
    assert re.findall(r"^│ (\w+)", listed, re.MULTILINE) == commands == list(cli.COMMANDS)
    assert "\n   rpe run quick\n" in result.out


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
        if key.name not in IN_FILES:
            (line,) = (line for line in panels[key.group].splitlines() if f"--{key.name.replace('_', '-')} " in line)
            assert key.type in line
            assert f"[default: {key.default}" in line or not key.default
    assert "[softmax|stick-breaking]" in panels["Model"]
    assert re.search(r"--steps .*\[default: 1000, or the task's default\]", panels["Training"])
    assert re.search(r"--lengths .*\[default: 1x,2x,4x,8x\]", panels["Evaluation"])


@pytest.mark.parametrize("words", [("trian",), ("train", "--job", "2"), ("eval", "--sampels", "3"), ("run",), ("data", "copy")])
def test_an_unknown_command_or_flag_is_a_usage_error(words: tuple[str, ...], rpe: tiny.Rpe, here: Path) -> None:
    result = rpe(*words)
    assert result.code == 2
    assert "Usage: " in result.err
    assert "Error" in result.err
    assert not list(here.iterdir())


@pytest.mark.parametrize("words", [("--help",), ("ls", "encodings"), ("ls", "tasks"), ("ls", "recipes"), ("check", "--keys")])
def test_what_only_lists_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    code = (
        "import sys; from rpecli.cli import app as cli\n"
        "try: cli.main()\nexcept SystemExit as end: assert not end.code, end\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    completed = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=catalog.PACKAGE.parent)
    assert completed.returncode == 0, completed.stderr
    loaded = {name.partition(".")[0] for name in completed.stderr.split()}
    assert "rpecli" in loaded
    assert not loaded & {"torch", "pandas", "datasets", "numpy", "scipy", "matplotlib"}


def test_the_keys_are_listed_with_their_defaults(rpe: tiny.Rpe) -> None:
    rows = table(rpe("check", "--keys").out)
    assert {row["key"] for row in rows} == set(Recipe.model_fields)
    assert next(row for row in rows if row["key"] == "by_task")["default"] == "none"
    (lr,) = (row for row in rows if row["key"] == "lr")
    assert (lr["type"], lr["default"]) == ("FLOAT", "0.006")
    assert all(row["meaning"] for row in rows)


def test_the_shell_completes_names_after_any_comma(evaluated: Path, here: Path) -> None:
    encodings, tasks = _flags.complete_names("encodings"), _flags.complete_names("tasks")
    assert encodings("") == catalog.names("encodings")
    assert encodings("sinu") == ["sinusoidal"]
    assert encodings("alibi,sinu") == ["alibi,sinusoidal"]
    assert tasks("copy-") == ["copy-every"]
    assert _flags.complete_names("recipes")("qu") == ["quick"]
    assert encodings("zzz") == []


def test_the_shell_completes_the_runs_of_this_folder(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(evaluated.parent)
    assert _flags.complete_runs("copy-rope-s1") == [tiny.config(seed=1).id]
    assert _flags.complete_runs("nothing") == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("train --encoding sinu", "sinusoidal"),
        ("train qui", "quick"),
        ("run qui", "quick"),
        ("data copy-", "copy-every"),
        ("ev", "eval"),
    ],
)
def test_completion_works_through_the_shells_protocol(typed: str, offered: str, evaluated: Path) -> None:
    count = str(len(typed.split()))
    env = os.environ | {"_RPE_COMPLETE": "complete_bash", "COMP_WORDS": f"rpe {typed}", "COMP_CWORD": count}
    code = "import sys; sys.argv[0] = 'rpe'; from rpecli.cli.app import app; app(prog_name='rpe')"
    env |= {"PYTHONPATH": str(catalog.PACKAGE.parent)}
    completed = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=evaluated)
    assert completed.stdout.split() == [offered]
