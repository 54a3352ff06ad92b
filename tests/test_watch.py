"""A sweep followed from its directories, which the tests move on by hand."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.run_folders import evaluation, made_up_run
from rich.console import Console

from rpecli.launch import watch
from rpecli.launch.watch import Watch, Watched
from rpecli.run import provenance as run_provenance
from rpecli.run.directory import Run


def training(folder: Path, seed: int = 0, step: int = 50, **info: object) -> Run:
    run = made_up_run(folder, {}, seed=seed, info={"status": "training", "length": 16, **info})
    line = {"step": step, "loss": 1.5, "token_accuracy": 0.25, "exact_match": 0.125}
    run.append_metrics(line)
    return run


def finish(run: Run, exact: float = 0.75) -> None:
    run.update(status="trained")
    for length in (16, 32, 64, 128):  # what the recipe asks for: 1x to 8x
        run.append_evaluation(evaluation(length, exact, exact))


def plain() -> Console:
    return Console(file=io.StringIO(), width=200)


def screen(found: Watch) -> str:
    console = plain()
    console.print(found.view())
    return console.file.getvalue()


def test_a_sweep_that_has_ended_is_shown_once_and_left(tmp_path):
    made_up_run(tmp_path, {16: 1.0})
    made_up_run(tmp_path, {}, seed=1, info={"status": "failed", "error": "nan"})
    made_up_run(tmp_path, {}, seed=2, info={"status": "stopped"})
    console = plain()
    watch.follow(Watch(lambda: watch.directories(tmp_path)), console, 1, sleep=pytest.fail)
    assert console.file.getvalue().startswith("3 runs: 1 trained, 1 stopped, 1 failed")


def test_it_goes_on_until_no_run_is_waiting_or_training(tmp_path):
    """Every look the next thing happens: one ends, one that had not begun begins, it fails."""
    first = training(tmp_path)
    second = made_up_run(tmp_path, {}, seed=1, info={"status": "created"})
    begin, fail = {"status": "training"}, {"status": "failed", "error": "nan"}
    acts = [lambda: finish(first), lambda: second.update(**begin), lambda: second.update(**fail)]
    console = plain()
    watch.follow(Watch(lambda: watch.directories(tmp_path)), console, 1, sleep=lambda _: acts.pop(0)())
    lines = console.file.getvalue().splitlines()
    assert acts == []
    assert lines[0] == "2 runs: 1 waiting, 1 training, 25% of the steps"
    assert lines[1].startswith(f"{first.name}  trained  token accuracy 0.250  exact match 0.750 at 16  exact match 0.750 at 32")
    assert lines[2] == f"{second.name}  training"
    assert lines[3] == f"{second.name}  failed: nan"
    assert lines[4].startswith("2 runs: 1 trained, 1 failed")


def test_only_what_changed_is_read_again(tmp_path):
    runs = [training(tmp_path, seed) for seed in range(3)]
    found = Watch(lambda: runs)
    found.look()
    contents = [(run.info, run.last, run.lines) for run in found.runs.values()]
    runs[1].append_evaluation(evaluation(16, 0.5, 0.5))
    found.look()
    for number, (run, (info, last, lines)) in enumerate(zip(found.runs.values(), contents, strict=True)):
        assert run.info is info
        assert run.last is last
        assert (run.lines is lines) == (number != 1)


def test_runs_that_begin_meanwhile_are_seen_and_those_that_are_deleted_forgotten(tmp_path):
    found = Watch(lambda: watch.directories(tmp_path))
    found.look()
    assert found.ended
    run = training(tmp_path)
    assert found.look() == [f"{run.name}  training"]
    assert not found.ended
    run.record_file.unlink()
    found.look()
    assert found.runs == {}


@pytest.mark.parametrize("end", [b'{"step": 100, "lo', b"not json\n"])
def test_a_last_line_that_is_torn_or_damaged_leaves_what_was_known(tmp_path, end):
    run = training(tmp_path, step=50)
    found = Watched(run)
    found.look()
    with open(run.metrics_file, "ab") as file:
        file.write(end)
    found.look()
    assert found.steps[0] == found.last["step"] == 50


def test_a_record_that_is_damaged_for_a_moment_stays_as_it_was(tmp_path):
    run = training(tmp_path)
    found = Watched(run)
    found.look()
    run.record_file.write_text("{")
    found.look()
    assert found.state == "training"


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("pid", "machine", "lengths", "state"),
    [(os.getpid, run_provenance.machine, (16,), "evaluating"), (os.getpid, run_provenance.machine, (16, 32, 64, 128), "trained"),
     (ended_process, run_provenance.machine, (16,), "trained"), (os.getpid, lambda: "another", (16,), "trained")],
)  # fmt: skip
def test_a_trained_run_is_at_work_while_its_process_measures_it(tmp_path, pid, machine, lengths, state):
    accuracy = dict.fromkeys(lengths, 0.5)
    found = Watched(made_up_run(tmp_path, accuracy, info={"pid": pid(), "machine": machine(), "length": 16}))
    found.look()
    assert (found.state, found.at_work) == (state, state == "evaluating")


def test_a_process_that_has_not_spoken_for_long_is_another_one(tmp_path):
    run = made_up_run(tmp_path, {16: 0.5}, info={"pid": os.getpid(), "machine": run_provenance.machine()})
    for file in run.path.iterdir():
        os.utime(file, (0, 0))
    found = Watched(run)
    found.look()
    assert found.state == "trained"


def test_the_screen_shows_the_whole_the_runs_at_work_and_what_is_known_so_far(tmp_path):
    finish(training(tmp_path), exact=0.5)
    finish(training(tmp_path, seed=1), exact=1.0)
    run = training(tmp_path, seed=2, step=40)
    found = Watch(lambda: watch.directories(tmp_path))
    found.look()
    shown = screen(found).splitlines()
    assert shown[0] == "3 runs: 1 training, 2 trained, 80% of the steps"
    assert shown[2].split() == [run.name, "training", "40/100", "1.500", "0.250", "0.125"]
    assert shown[4].split()[:6] == ["task", "encoding", "ended", "failed", "token", "acc."]
    assert shown[5].split() == ["copy", "rope", "2/3", "0.25", "0.75", "0.75", "0.75", "0.75"]


def test_many_runs_at_work_do_not_fill_the_screen(tmp_path):
    for seed in range(watch.SHOWN + 2):
        training(tmp_path, seed)
    found = Watch(lambda: watch.directories(tmp_path))
    found.look()
    assert "and 2 more" in screen(found)


def test_in_a_terminal_the_screen_stays_in_place(tmp_path):
    run = training(tmp_path)
    console = Console(file=io.StringIO(), width=100, height=30, force_terminal=True)
    watch.follow(Watch(lambda: watch.directories(tmp_path)), console, 1, sleep=lambda _: finish(run))
    assert "1 training" in console.file.getvalue()
    assert "\x1b[2K" in console.file.getvalue(), "lines are taken back"


def test_what_is_left_is_told_once_something_has_moved(tmp_path, monkeypatch):
    run = training(tmp_path, step=50)
    now = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    found = Watch(lambda: [run])
    found.look()
    now[0] = 10.0
    run.append_metrics({"step": 60})
    found.look()
    assert found.line() == "1 run: 1 training, 60% of the steps, about 0:00:40 left"
