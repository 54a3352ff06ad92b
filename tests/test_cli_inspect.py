"""`rpe inspect`: tables or JSON, figures, errors, from the command's entry point."""

import json
import re
from pathlib import Path

import pytest
from helpers import training as tiny

from rpecli.probes import invariance as shift
from rpecli.run import directory as run
from rpecli.run.files import read_lines


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("rope", "learned"):
        tiny.trained(folder, encoding=name, steps=5)
    return folder


def test_inspect_shows_tables_and_writes_figures(rpe: tiny.Rpe, runs: Path, tmp_path: Path) -> None:
    said = rpe("inspect", "--runs", runs, "--lengths", "1x,2x", "--out", tmp_path / "figures")
    assert (said.code, said.out.count("**")) == (0, 10)
    assert "position-position" in said.out
    assert {path.suffix for path in (tmp_path / "figures").glob("entropy-copy.*")} == {".png", ".svg", ".pdf"}


def test_inspect_json_is_json(rpe: tiny.Rpe, runs: Path) -> None:
    made = json.loads(rpe("inspect", "--runs", runs, "--json").out)
    assert [each["encoding"] for each in made["runs"]] == ["learned", "rope"]
    assert len(made["similarity"]) == 1


def test_inspect_shift_says_what_moving_changed(rpe: tiny.Rpe, runs: Path, tmp_path: Path) -> None:
    said = rpe("inspect", "copy-rope*", "--runs", runs, "--shift", "--shifts", "2,8", "--out", tmp_path)
    assert "later positions" in said.out
    assert (tmp_path / "shift-copy.png").exists()
    lines = json.loads(rpe("inspect", "copy-rope*", "--runs", runs, "--shift", "--shifts", "2,8", "--json").out)
    assert [line["shift"] for line in next(iter(lines.values()))] == [2, 8, 2, 8]


def test_inspect_puts_another_encoding_into_the_models_as_eval_does(rpe: tiny.Rpe, runs: Path, tmp_path: Path) -> None:
    words = ("inspect", "copy-rope*", "--runs", runs, "--swap-encoding", "none", "--eval-seed", 3, "--samples", 8)
    said = rpe(*words, "--lengths", "1x", "--out", tmp_path)
    assert said.code == 0
    assert re.search(r"copy-rope-s0-\w+ as none +\|", said.out)
    assert [path.name for path in tmp_path.glob("distance*as-none.png")]
    (lines,) = json.loads(rpe(*words, "--shift", "--shifts", "2", "--json").out).values()
    assert {(line["encoding_override"], line["eval_seed"], line["n"]) for line in lines} == {("none", 3, 8)}
    (made,) = json.loads(rpe("inspect", "copy-rope*", "--runs", runs, "--rope-scaling", "pi", "--json").out)["runs"]
    assert made["label"] == "rope as rope:scaling=pi"


def test_inspect_again_measures_what_is_there(rpe: tiny.Rpe, runs: Path) -> None:
    words = ("inspect", "copy-rope*", "--runs", runs, "--shift", "--shifts", "5")
    file = next(runs.glob("copy-rope*")) / "probes.jsonl"
    numbers = []
    for flag in ((), (), ("--overwrite",)):
        rpe(*words, *flag)
        numbers.append(sum(line.get("shift") == 5 for line in read_lines(file)))
    assert numbers == [2, 2, 4]


def test_inspect_leaves_out_what_is_not_trained(rpe: tiny.Rpe, tmp_path: Path) -> None:
    tiny.create(tmp_path)
    said = rpe("inspect", "--runs", tmp_path)
    assert said.code == 1
    assert "is not trained and is left out" in said.err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("--lengths", "7q"), "7q"),
        (("--shift", "--shifts", "2x"), "1,4,16"),
        (("--shift", "--shifts", "7q"), "--shifts: '7q'"),
        (("--out", "taken"), "choose another place"),
        (("--out", "why.pdf"), "write for example why"),
        (("--swap-encoding", "rop"), "did you mean rope"),
        (("--data", "nowhere"), "rpe data TASK"),
        (("--eval-positions", "x"), "--eval-positions"),
    ],
)
def test_inspect_says_what_to_type_instead(
    rpe: tiny.Rpe, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    said = rpe("inspect", "--runs", runs, *words)
    assert (said.code, remedy in said.err) == (2, True)


def test_inspect_shift_that_is_interrupted_ends_as_other_commands_do(
    rpe: tiny.Rpe, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise run.Stopped(2)

    monkeypatch.setattr(shift, "probe", stop)
    assert rpe("inspect", "--runs", runs, "--shift").code == 130
