"""`rpe inspect`: tables or JSON, figures, errors, from the command's entry point."""

import json
import re
from pathlib import Path

import pytest
from helpers import training as tiny

from rpecli.probes import invariance
from rpecli.run.directory import Run, Stopped


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("rope", "learned"):
        tiny.trained_run(folder, encoding=name, steps=5)
    return folder


def test_inspect_says_a_sentence_per_encoding(rpe: tiny.Rpe, runs: Path) -> None:
    result = rpe("inspect", "--runs", runs, "--lengths", "1x,2x")
    assert result.code == 0
    assert re.findall(r"^Copy, [^:]+: ", result.out, re.MULTILINE) == ["Copy, Learned APE: ", "Copy, RoPE: "]
    assert "|" not in result.out


def test_inspect_shows_tables_and_writes_figures(rpe: tiny.Rpe, runs: Path, tmp_path: Path) -> None:
    result = rpe("inspect", "--runs", runs, "--lengths", "1x,2x", "--tables", "--out", tmp_path / "figures")
    assert (result.code, result.out.count("**")) == (0, 18)
    assert "First-layer scores by term" in result.out
    assert {path.suffix for path in (tmp_path / "figures").glob("entropy-copy.*")} == {".png", ".svg", ".pdf"}


def test_lengths_below_and_between_multiples_wait_for_the_training_length(rpe: tiny.Rpe, runs: Path) -> None:
    inspection = json.loads(rpe("inspect", "copy-rope*", "--runs", runs, "--lengths", "0.5x,4:2x", "--json").out)
    (record,) = inspection["runs"]
    trained = record["train_length"]
    assert [at["length"] for at in record["lengths"]] == sorted({trained // 2, 4, trained, 2 * trained})


def test_inspect_json_is_json(rpe: tiny.Rpe, runs: Path) -> None:
    inspection = json.loads(rpe("inspect", "--runs", runs, "--json").out)
    assert [run["encoding"] for run in inspection["runs"]] == ["learned", "rope"]
    assert len(inspection["similarity"]) == 1


def test_inspect_shift_shows_what_a_shift_changes(rpe: tiny.Rpe, runs: Path, tmp_path: Path) -> None:
    result = rpe("inspect", "copy-rope*", "--runs", runs, "--shift", "--shifts", "2,8", "--out", tmp_path)
    kept = r"Copy, RoPE: predictions kept: (?:> )?\d+ % when all positions move by 8, (?:> )?\d+ % behind a prefix of 8\."
    assert re.fullmatch(kept, " ".join(result.out.split()))
    assert "later positions" in rpe("inspect", "copy-rope*", "--runs", runs, "--shift", "--shifts", "2,8", "--tables").out
    assert (tmp_path / "shift-copy.png").exists()
    lines = json.loads(rpe("inspect", "copy-rope*", "--runs", runs, "--shift", "--shifts", "2,8", "--json").out)
    assert [line["shift"] for line in next(iter(lines.values()))] == [2, 8, 2, 8]


def test_inspect_swaps_the_encoding_of_trained_models(rpe: tiny.Rpe, runs: Path, tmp_path: Path) -> None:
    words = ("inspect", "copy-rope*", "--runs", runs, "--swap-encoding", "none", "--eval-seed", 3, "--samples", 8)
    result = rpe(*words, "--lengths", "1x", "--out", tmp_path)
    assert result.code == 0
    assert result.out.startswith("Copy, RoPE as NoPE: ")
    assert [path.name for path in tmp_path.glob("heads*as-none.png")]
    (lines,) = json.loads(rpe(*words, "--shift", "--shifts", "2", "--json").out).values()
    assert {(line["encoding_override"], line["eval_seed"], line["n"]) for line in lines} == {("none", 3, 8)}
    (record,) = json.loads(rpe("inspect", "copy-rope*", "--runs", runs, "--rope-scaling", "pi", "--json").out)["runs"]
    assert record["label"] == "rope as rope:scaling=pi"


def test_inspect_overwrite_measures_again(rpe: tiny.Rpe, runs: Path) -> None:
    words = ("inspect", "copy-rope*", "--runs", runs, "--shift", "--shifts", "5")
    run, counts = Run(next(runs.glob("copy-rope*"))), []
    for flag in ((), (), ("--overwrite",)):
        rpe(*words, *flag)
        counts.append(sum(line.get("shift") == 5 for line in run.probes()))
    assert counts == [2, 2, 4]


def test_inspect_leaves_out_runs_that_are_not_trained(rpe: tiny.Rpe, tmp_path: Path) -> None:
    tiny.new_run(tmp_path)
    result = rpe("inspect", "--runs", tmp_path)
    assert result.code == 1
    assert "is not trained and is left out" in result.err


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
def test_a_wrong_flag_is_refused_with_what_to_type_instead(
    rpe: tiny.Rpe, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    result = rpe("inspect", "--runs", runs, *words)
    assert (result.code, remedy in result.err) == (2, True)


def test_an_interrupted_shift_ends_as_other_commands_do(rpe: tiny.Rpe, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise Stopped(2)

    monkeypatch.setattr(invariance, "probe", stop)
    assert rpe("inspect", "--runs", runs, "--shift").code == 130
