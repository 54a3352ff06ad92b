"""`rpe train` and `rpe run` from recipes, flags and own files; stops; output in pipes and terminals."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import training as tiny
from helpers.command import ENCODING, TASK, table

from rpecli import catalog
from rpecli.cli import train
from rpecli.run.directory import find_runs


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


def test_settings_of_one_task_are_not_a_flag_and_the_message_says_where_to_write_them(rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("train", tiny.recipe_file(here), "--set", "by_task=copy:steps=3")
    assert (result.code, "in a file: by_task: {NAME: {steps: 500}}" in result.err) == (2, True)
    assert "--by-task" not in rpe("train", "--help").out


def test_set_takes_any_key_several_times(rpe: tiny.Rpe, here: Path) -> None:
    words = ("--set", "steps=3", "--set", " lr = 1e-3 ", "--jobs", 0, "--device", "cpu")
    assert rpe("train", tiny.recipe_file(here), *words).code == 0
    (run,) = find_runs(here / "runs")[0]
    assert (run.config.steps, run.config.lr) == (3, 1e-3)


def test_lists_in_flags_are_a_grid(rpe: tiny.Rpe, here: Path) -> None:
    words = ("--task", "copy,reverse", "--encoding", "rope,none", "--seed", "0:2", "--steps", 1, "--jobs", 0, "--device", "cpu")
    result = rpe("train", tiny.recipe_file(here), *words)
    assert result.code == 0
    assert len(table(result.out)) == 8
    assert "Next: rpe eval   # 1x to 2x of the training length" in result.out


@pytest.mark.parametrize(
    ("lengths", "said"),
    [([64], "8x to 64x of the training length 64"), ([32, 256], "2x to 16x of the longest training length 256")],
)
def test_the_next_command_says_what_its_lengths_are_multiples_of(lengths: list[int], said: str) -> None:
    assert train.next_evaluation(lengths) == ("rpe eval --lengths 512:4096", said)


@pytest.mark.parametrize(
    ("lengths", "asked", "said"),
    [
        ([8], ["1x:4x"], "1x to 4x of the training length"),
        ([128, 128], ["1x:4x", "128,512"], "1x to 4x of the training length"),
        ([8], ["2x"], "2x of the training length"),
        ([8, 16], ["1x:4x", "1x:4x"], "1x to 4x of the training length"),
        ([8, 16], ["8,64", "8,64"], "lengths 8 to 64"),
        ([8, 8], ["1x:8x", "1x:4x"], "lengths 8 to 64"),
    ],
)
def test_the_next_command_says_the_lengths_that_were_asked_for(lengths: list[int], asked: list[str], said: str) -> None:
    assert train.next_evaluation(lengths, asked) == ("rpe eval", said)


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 75)])
def test_a_stop_in_this_process_saves_ends_the_command_and_starts_no_further_run(
    number: str, code: int, rpe: tiny.Rpe, here: Path
) -> None:
    trap = tiny.trap_in(here)
    words = ("train", tiny.recipe_file(here, task=trap.task, seed="0:2"), "--jobs", 0, "--device", "cpu")
    trap.arm(17, number)
    result = rpe(*words)
    assert result.code == code
    assert "start the same command again to go on" in result.err
    first, second = find_runs(here / "runs")[0]
    assert (first.record["status"], second.record["status"]) == ("stopped", "created")
    assert rpe(*words).code == 0
    untouched = tiny.trained_run(here / "untouched", task=str(trap.task))
    assert first.weights_file.read_bytes() == untouched.weights_file.read_bytes()


def test_output_in_a_pipe_is_markdown_without_escape_codes(evaluated: Path) -> None:
    for words in (("ls", "encodings"), ("ls", "runs", "--runs", evaluated), ("nonsense",), ("show", "x", "--runs", evaluated)):
        result = tiny.finish(tiny.start(*words, cwd=evaluated))
        assert "\x1b" not in result.out + result.err
        assert result.out.startswith("| ") or result.code


def test_a_closed_pipe_is_not_an_error(evaluated: Path) -> None:
    process = tiny.start("ls", "encodings", cwd=evaluated)
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


def test_a_narrow_terminal_gets_narrow_tables_that_lose_nothing(evaluated: Path) -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal("ls", "tasks", columns=100, cwd=evaluated))
    assert max(map(len, text.splitlines())) <= 100
    assert "|--" not in text
    assert {word.rstrip() for word in re.findall(r"^\S+", text, re.MULTILINE)} >= set(catalog.names("tasks"))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal("ls", "runs", "--runs", str(evaluated), columns=40, cwd=evaluated))
    assert max(map(len, shown.splitlines())) <= 40
    assert "Copy" in shown


def test_no_color_is_obeyed(evaluated: Path) -> None:
    for words in (("ls", "encodings"), ("show", "nothing-near", "--runs", str(evaluated)), ("--help",)):
        text = terminal(*words, columns=100, cwd=evaluated, NO_COLOR="1")
        colours = re.findall(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38|48|4[0-7])(?:;\d+)*m", text)
        assert not colours, (words, colours)


def test_a_users_own_encoding_and_task_train_evaluate_and_list_by_path(rpe: tiny.Rpe, here: Path) -> None:
    (here / "mine.py").write_text(ENCODING)
    (here / "first.py").write_text(TASK)
    words = ("--task", "./first.py", "--encoding", "./mine.py,rope", "--jobs", 0, "--device", "cpu")
    result = rpe("run", tiny.recipe_file(here), *words)
    assert result.code == 0, result.err
    assert re.search(r"^mine ", result.out, re.MULTILINE)
    names = [run.name.rpartition("-")[0] for run in find_runs(here / "runs")[0]]
    assert names == ["first-mine-s0", "first-rope-s0"]
    assert {row["run"].rpartition("-")[0] for row in table(rpe("ls", "runs").out)} == set(names)


def test_a_users_file_that_does_not_load_is_named_with_its_line(rpe: tiny.Rpe, here: Path) -> None:
    (here / "mine.py").write_text(ENCODING.replace("import torch", "import torhc"))
    result = rpe("train", tiny.recipe_file(here), "--encoding", "./mine.py", "--jobs", 0)
    assert result.code == 2
    assert result.err.startswith("--encoding: mine.py:3: this file does not load: ModuleNotFoundError")


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
    result = tiny.finish(tiny.start("train", file, "--jobs", 0, "--device", "cpu", cwd=here, env=env))
    assert result.code == 0, result.err
    assert "first-one-my-own-s0" in result.out
