"""Every mistake ends with a message of one line that says what to type instead, and a fixed exit code."""

import re
from pathlib import Path

import pytest
from helpers import training as tiny

from rpecli import catalog, signals
from rpecli.cli import _exit
from rpecli.cli import app as cli


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "--lrr", "3"), r"No such option: --lrr.*--lr\b"),
        (("show", "--encoding", "rope"), r"No such option: --encoding, which is of rpe train, .*\bls\b"),
        (("bench", "x", "--nosuch"), r"No such option: --nosuch$|No such option: --nosuch \(Possible"),
        (("train", "--lr", "fast"), r"--lr: 'fast' is not a number: write for example 0\.006"),
        (("train", "--lr"), r"'--lr' requires an argument"),
        (("train", "--set", "lr"), r"--set lr: write --set key=value"),
        (("train", "--set", "lrr=3"), r"--lrr: unknown key: did you mean lr or lr_search\?"),
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
            ("train", "--length", "300", "--task", "sort"),
            r"--length: 300: sort has no problem longer",
        ),
        (("train", "--stack", "some"), r"--stack some: write auto, on, off, or how many at most: --stack 8"),
        (("run", "quick", "--stack", "0"), r"--stack 0: write auto, on, off, or how many at most"),
        (("run", "quick", "--lengths", "4:1"), r"--lengths: '4:1' descends: write 1:4"),
        (("run", "quik"), r"did you mean quick\?"),
        (("eval", "--lengths", "0:10"), r"--lengths: '0:10': lengths start at 1: write 1:10"),
        (("eval", "--lengths", "abc"), r"--lengths: 'abc': 'abc' is not a length: write a whole number below"),
        (("eval", "--lengths", "64:16"), r"--lengths: '64:16' descends: write 16:64"),
        (("eval", "--lengths", "8x:1x"), r"^--lengths: '8x:1x' descends: write 1x:8x$"),
        (("eval", "--lengths", "1:99999999:1"), r"has more than 10000 lengths"),
        (("check", "quik"), r"did you mean quick \(recipe\)"),
        (("ls", "encoding"), r"unknown kind 'encoding': did you mean encodings\?"),
        (("report", "--recipe", "quik", "--runs", "RUNS"), r"did you mean quick\?"),
        (("check", ""), r"unknown recipe ''"),
        (
            ("eval", "--rope-scaling", "longrope", "--runs", "RUNS"),
            r"longrope needs factors: write --swap-encoding rope:scaling=",
        ),
        (("eval", "--rope-scaling", "Yarn", "--runs", "RUNS"), r"--rope-scaling: unknown scaling 'Yarn': did you mean yarn\?"),
        (("eval", "--lengths", "0x", "--runs", "RUNS"), r"--lengths: '0x': lengths start at 1: write 1x"),
        (("ls", "runs", "--state", "x"), r"--state: unknown state 'x': known: created"),
        (("show", "copy", "--length", "99999999"), r"--length 99999999: examples are shown up to length 10000"),
        (("train", "--task", "copy:symbols=999999999"), r"of copy:symbols=999999999 has 1,000,000,003 tokens: lower it"),
        (("bench", "eval", "--run", "nosuch"), r"--run: no run nosuch"),
        (("bench", "attention", "--lengths", "999999999"), r"--lengths: 999999999 needs at least .* of memory"),
        (("bench", "train", "--sizes", "99999992x2x4x64x128"), r"--sizes: 99999992x2x4x64x128 needs at least .* of memory"),
        (("train", "--task", "qqqqqq"), r"unknown task 'qqqqqq': the closest of \d+ are \S+, \S+, \S+  \(rpe ls tasks\)"),
        (("bench", "attention", "--encodings", "fire:c=1e18"), r"encoding fire: option c"),
        (("bench", "attention", "--encodings", "t5:buckets=-1"), r"t5"),
        (("data", "copy", "--lengths", "4", "--out", ""), r"--out is empty: write a path, or \. for the working folder"),
        (("report", "--out", " "), r"--out is empty"),
        (("report", "--at", "", "--runs", "RUNS"), r"--at '': write a multiple of the training length: --at 2x"),
        (("report", "--at", "0x", "--runs", "RUNS"), r"--at '0x': write a multiple of the training length: --at 2x"),
        (("report", "RUNS"), r"RUNS is no run, and RUNS holds runs: write --runs RUNS in its place"),
        (("eval", "RUNS/.."), r"RUNS/\.\. is no run, and RUNS/\.\./runs holds runs: write --runs RUNS/\.\./runs in its place"),
        (("ls", "runs", "--runs", "RUNS", "--task", "sort"), r"--task: no run has task sort; they have copy"),
        (("rm", "--runs", "RUNS", "--seed", "0", "--state", "failed"), r"--state: no run has state failed; they have trained"),
        (("train", "--runs", ""), r"--runs is empty"),
        (
            ("report", "--runs", "RUNS", "--out", "/proc/x"),
            r"/proc/x/\S+ cannot be written \(.*\): choose another folder with --out",
        ),
        (("report", "--compare", "RUNS", "RUNS", "--out", "/proc/x"), r"/proc/x/\S+ cannot be written"),
        (("eval", "--runs", "RUNS", "--swap-encoding", "t5"), r"t5 has weights that these runs did not train: .* left out\)"),
        (("inspect", "--runs", "RUNS", "--shift", "--shifts", "100000000"), r"--shifts 100000000.*: leave it out"),
        (("show", "copy-rop-s0", "--runs", "RUNS"), r"no run 'copy-rop-s0' under .*: did you mean copy-rope-s"),
    ],
)
def test_a_mistake_is_reported_with_what_to_type_instead(
    words: tuple[str, ...], message: str, rpe: tiny.Rpe, here: Path, evaluated: Path
) -> None:
    result = rpe(*[word.replace("RUNS", str(evaluated)) for word in words])
    assert result.code == 2
    message = message.replace("RUNS", re.escape(str(evaluated)))
    assert re.search(message, " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.err).split(" ")), re.DOTALL), result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert not list(here.iterdir()), "a mistake leaves nothing behind"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eval",), "no runs under runs: create some with rpe train --encoding rope"),
        (("report",), "no runs under runs: create some with rpe train --encoding rope"),
        (("ls", "runs"), "no runs under runs: create some with rpe train --encoding rope"),
        (("rm", "--state", "failed", "--yes"), "no runs under runs"),
    ],
)
def test_without_runs_the_first_command_is_proposed(words: tuple[str, ...], message: str, rpe: tiny.Rpe, here: Path) -> None:
    result = rpe(*words)
    assert (result.code, result.err.strip()) == (1, message)


def test_without_runs_no_name_is_proposed(rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("show", "copy-rope")
    assert result.code == 2
    assert "no run 'copy-rope' under runs: there are none yet" in result.err


def test_a_file_in_place_of_the_folder_of_runs_is_named(rpe: tiny.Rpe, here: Path) -> None:
    (here / "runs").touch()
    result = rpe("train", tiny.recipe_file(here), "--jobs", 0)
    assert result.code == 1
    assert "runs is a file where a directory is needed" in result.err


def test_an_unavailable_device_is_reported_with_the_available_ones(rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("train", tiny.recipe_file(here), "--jobs", 0, "--device", "gpu")
    assert result.code == 2
    assert "no device 'gpu' here: write " in result.err


def test_coupled_positions_are_refused_with_an_encoding_that_reads_distances(rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("train", "--task", "addition", "--positions", "coupled", "--encoding", "learned,t5")
    assert result.code == 2
    assert result.err == "--positions: coupled positions do not ascend, and t5 reads distances: choose another encoding\n"


def test_positions_that_a_task_does_not_have_are_refused(rpe: tiny.Rpe, here: Path) -> None:
    result = rpe("train", "--task", "copy", "--positions", "coupled", "--encoding", "learned")
    assert result.code == 2
    assert "copy has no coupled positions: write positions: start" in result.err


def test_every_error_of_a_recipe_is_reported_with_its_line(rpe: tiny.Rpe, here: Path) -> None:
    (here / "bad.yaml").write_text("task: copy\nencoding: ropee\nlr: fast\nlrr: 3\nsteps: 0\nlr: 4\nseed: x\n")
    result = rpe("check", "bad.yaml")
    bad = (here / "bad.yaml").resolve()
    assert result.code == 2
    assert result.out == ""
    assert [line.partition(": ")[0].replace(str(bad), "bad") for line in result.err.splitlines()] == [
        f"bad:{number}" for number in (2, 3, 4, 5, 6, 7)
    ]
    keys = [line.split(": ")[1] for line in result.err.splitlines()]
    assert keys == ["encoding", "lr", "lrr", "steps", "lr", "seed"]


def test_errors_that_only_the_code_can_find_are_reported_with_their_line(rpe: tiny.Rpe, here: Path) -> None:
    (here / "bad.yaml").write_text("task: sort\nencoding: [rope:bas=3, none]\nlength: 800\n")
    result = rpe("check", "bad.yaml")
    bad = (here / "bad.yaml").resolve()
    assert result.code == 2
    assert f"{bad}:3: length: 800: sort has no problem longer than 149: write length: 149" in result.err
    (here / "bad.yaml").write_text("task: sort\nencoding: [rope:bas=3, none]\n")
    assert f"{bad}:2: encoding: encoding rope has no option 'bas': did you mean base?" in rpe("check", "bad.yaml").err


def test_errors_in_settings_of_one_task_are_reported_with_their_line(rpe: tiny.Rpe, here: Path) -> None:
    text = "task: [copy, sort]\nby_task:\n  sort:\n    length: 1600\n  copy: {max_position: 3}\n"
    (here / "bad.yaml").write_text(f"{text}positions: offset\n")
    result = rpe("check", "bad.yaml")
    bad = (here / "bad.yaml").resolve()
    assert result.code == 2
    assert f"{bad}:4: by_task: sort: length: 1600: sort has no problem longer than 149" in result.err
    assert f"{bad}:5: by_task: copy: max_position: 3 is below" in result.err


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_a_shipped_recipe_has_no_errors(name: str, rpe: tiny.Rpe) -> None:
    result = rpe("check", name)
    assert (result.code, "no errors" in result.out) == (0, True), result
    assert re.fullmatch(rf"{name}: \d+ runs, no errors\n", result.out)


def test_without_a_name_every_shipped_recipe_is_checked(rpe: tiny.Rpe) -> None:
    result = rpe("check")
    assert result.code == 0
    assert [line.partition(":")[0] for line in result.out.splitlines()] == catalog.names("recipes")


def test_every_exit_code_is_its_own() -> None:
    assert (_exit.USAGE, _exit.FAILURE, signals.TERMINATED, signals.INTERRUPTED) == (2, 1, 75, 130)


def test_an_error_that_is_not_a_mistake_of_the_user_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def app() -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(ValueError, match="a defect"):
        cli.main()
