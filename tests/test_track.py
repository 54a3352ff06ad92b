"""Trackers get what metrics.jsonl and eval.jsonl hold, and nothing that goes wrong in one stops a run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny

from rpecli.launch import track
from rpecli.run.directory import find_runs

Logged = list[tuple[dict[str, float], int]]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Logged:
    """What a tracker `wandb` that only remembers has been told."""
    entries: Logged = []

    class Memory:
        def __init__(self, run: Any, folder: Path):
            assert folder.is_dir()

        def log(self, values: dict[str, float], step: int) -> None:
            entries.append((values, step))

        def close(self) -> None:
            entries.append(({}, -1))

    monkeypatch.setitem(track.TRACKERS, "wandb", Memory)
    monkeypatch.setattr(track, "find_spec", lambda name: object())
    return entries


@pytest.mark.parametrize("stack", ["off", "2"])
def test_a_tracker_is_told_every_validation_and_every_evaluated_length(
    stack: str, logged: Logged, here: Path, rpe: tiny.Rpe
) -> None:
    file = tiny.recipe_file(here, seed="0:2" if stack == "2" else 0)
    result = rpe("run", file, "--jobs", 0, "--device", "cpu", "--track", "wandb", "--no-reference", "--stack", stack)
    assert result.code == 0, result
    for run in find_runs(here / "runs")[0]:
        for line in run.metrics():
            values = {name: line[name] for name in ("loss", "lr", "tokens", "token_accuracy", "exact_match")}  # type: ignore[literal-required]
            assert (values, line["step"]) in logged
        for line in run.evaluations():
            values = {f"length {line['length']}/{name}": line[name] for name in track.SCORES}  # type: ignore[literal-required]
            assert any(entry == values for entry, _ in logged)
    assert logged[-1] == ({}, -1)
    assert [path.name for path in (here / "runs" / track.FOLDER).iterdir()] == ["wandb"]
    (run, *_), steps = find_runs(here / "runs")[0], slice(len(logged), None)
    with track.tracked(("wandb",), run) as trackings:  # of a run that was trained before
        trackings.evaluation(run.evaluations()[0])
    assert logged[steps][0][1] == run.record["step"]


def broken(where: str, error: BaseException) -> Callable[..., Any]:
    class Broken:
        def __init__(self, *_: Any):
            self.fail("start")

        def fail(self, place: str) -> None:
            if place == where:
                raise error

        def log(self, *_: Any) -> None:
            self.fail("log")

        def close(self) -> None:
            self.fail("close")

    return Broken


@pytest.mark.parametrize("where", ["start", "log", "close"])
@pytest.mark.parametrize("error", [OSError("no network\nat all"), SystemExit(3), ImportError("no such module")])
def test_what_goes_wrong_in_a_tracker_is_one_line_and_the_run_is_the_same(
    where: str, error: BaseException, here: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(track.TRACKERS, "trackio", broken(where, error))
    monkeypatch.setattr(track, "find_spec", lambda name: object())
    file = tiny.recipe_file(here, seed="0:2")
    result = rpe("train", file, "--jobs", 0, "--device", "cpu", "--track", "trackio")
    message = " ".join(str(error).split())
    first, second = find_runs(here / "runs")[0]
    assert result.code == 0
    lines = [line for line in result.err.splitlines() if "tracking" in line]
    assert len(lines) == 1, result.err
    assert lines[0].startswith(f"{first.name}: tracking with trackio stopped: {message}")
    assert "and the same for 1 other run" in lines[0]
    assert second.weights_file.read_bytes() == tiny.trained_run(here / "alone", seed=1).weights_file.read_bytes()


def test_a_tracker_that_hangs_holds_up_no_run(here: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        def __init__(self, *_: Any):
            time.sleep(60)

    monkeypatch.setitem(track.TRACKERS, "wandb", Hanging)
    monkeypatch.setattr(track, "find_spec", lambda name: object())
    monkeypatch.setattr(track, "CLOSING", 0.1)
    result = rpe("train", tiny.recipe_file(here), "--jobs", 0, "--device", "cpu", "--track", "wandb")
    assert (result.code, "tracking with wandb stopped: it did not end within" in result.err) == (0, True)
    assert find_runs(here / "runs")[0][0].is_trained


def test_a_tracker_that_is_unknown_or_missing_is_a_usage_error(
    here: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = rpe("train", "quick", "--track", "mlflow")
    assert result == tiny.Result(2, "", "--track mlflow: 'mlflow' is none of wandb, tensorboard, trackio\n")
    monkeypatch.setattr(track, "find_spec", lambda name: None)
    result = rpe("run", "quick", "--track", "wandb")
    remedy = "in the clone of rpe, .venv/bin/pip install -c constraints.txt -e '.[track]'"
    assert result == tiny.Result(2, "", f"--track wandb: it is not installed: {remedy}\n")
    assert not (here / "runs").exists()


@pytest.mark.parametrize("name", track.TRACKERS)
def test_the_libraries_themselves_write_offline(name: str, here: Path) -> None:
    pytest.importorskip(name)
    process = tiny.start("train", tiny.recipe_file(here), "--jobs", 1, "--device", "cpu", "--track", name, cwd=here)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, "tracking" in err) == (0, False), err
    (run,) = find_runs(here / "runs")[0]
    files = [path for path in (here / "runs" / track.FOLDER / name).rglob("*") if path.is_file()]
    assert files
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(files[0].parent))
        events.Reload()
        losses = [(event.step, event.value) for event in events.Scalars("loss")]
        assert losses == [(line["step"], pytest.approx(line["loss"])) for line in run.metrics()]
