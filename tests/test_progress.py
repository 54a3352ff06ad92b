"""The progress of runs, read from directories that the tests change by hand, and how a console shows it."""

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny
from helpers.run_folders import evaluation, validation, write_run
from rich.console import Console

from rpecli import process
from rpecli.launch import progress
from rpecli.launch.job import Ending
from rpecli.launch.pool import Event
from rpecli.launch.status import RunStatus, State, SweepStatus, directories_with_record
from rpecli.run import liveness
from rpecli.run.directory import Run, Status
from rpecli.table import duration

LINE = {"loss": 1.5, "exact_match": 0.125}


def training_run(folder: Path, seed: int = 0, step: int = 50, **record: object) -> Run:
    run = write_run(folder, {}, seed=seed, info={"status": Status.TRAINING, "length": 16, **record})
    run.append_metrics(validation(step, 0.25, tokens=20 * step, seconds=0.01 * step, **LINE))
    return run


def finish(run: Run, exact: float = 0.75) -> None:
    run.update(status=Status.TRAINED)
    for length in (16, 32, 64, 128):  # what the recipe evaluates: 1x to 8x
        run.append_evaluation(evaluation(length, exact, exact))


def console_of(terminal: bool = False, width: int = 200) -> Console:
    return Console(file=io.StringIO(), width=width, height=30, force_terminal=terminal)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def viewed(sweep: SweepStatus, width: int = 200) -> list[str]:
    """The lines of the view of a terminal."""
    console = console_of(width=width)
    console.print(progress.view(sweep, width))
    return text_of(console).splitlines()


def refreshed(run: Run) -> RunStatus:
    status = RunStatus(run)
    status.refresh()
    return status


def test_evaluations_of_weights_that_are_gone_are_not_shown(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    run.update(weights="w")
    finish(run)
    status = refreshed(run)
    assert [*status.evaluations] == [16, 32, 64, 128]
    run.update(weights="others")  # trained again; eval.jsonl is as it was
    assert status.refresh()
    assert not status.evaluations


def test_a_sweep_that_has_ended_is_shown_once_and_left(tmp_path: Path) -> None:
    write_run(tmp_path, {16: 1.0})
    write_run(tmp_path, {}, seed=1, info={"status": "failed", "error": "nan"})
    write_run(tmp_path, {}, seed=2, info={"status": "stopped"})
    console = console_of()
    progress.watch(lambda: directories_with_record(tmp_path), console, 1, sleep=pytest.fail)
    assert text_of(console).splitlines() == ["3 runs: 1 trained, 1 stopped, 1 failed, 33 % of the steps"]


def test_a_watch_goes_on_until_no_run_is_waiting_or_at_work(tmp_path: Path) -> None:
    """At every look the next thing happens: one run ends, one that had not begun begins, it fails."""
    first = training_run(tmp_path)
    second = write_run(tmp_path, {}, seed=1, info={"status": "created"})
    actions: list[Callable[[], object]] = [
        lambda: finish(first),
        lambda: second.update(status="training"),
        lambda: second.update(status="failed", error="nan"),
    ]
    console = console_of()
    progress.watch(lambda: directories_with_record(tmp_path), console, 1, sleep=lambda _: actions.pop(0)())
    lines = text_of(console).splitlines()
    assert actions == []
    assert lines[0] == "2 runs: 1 waiting, 1 training, 25 % of the steps"
    assert lines[1] == f"{first.name}  step 50/100  loss 1.500  acc 0.25  2k tok/s  0 s left"
    assert lines[2].startswith(f"{first.name}  trained  token accuracy 0.250  exact match 0.750 at 16  exact match 0.750 at 32")
    assert lines[3] == f"{second.name}  training"
    assert lines[4] == f"{second.name}  failed: nan"
    assert lines[5].startswith("2 runs: 1 trained, 1 failed")


def test_a_run_that_cannot_be_read_is_named_and_not_waited_for(tmp_path: Path) -> None:
    run = training_run(tmp_path, format=2)
    console = console_of()
    progress.watch(lambda: [run], console, 1, sleep=pytest.fail)
    lines = text_of(console).splitlines()
    assert lines[0].startswith(f"{run.name}  unreadable: {run} was written by another version of rpe")
    assert lines[1] == "1 run: 1 unreadable"


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    runs = [training_run(tmp_path, seed) for seed in range(3)]
    sweep = SweepStatus(lambda: runs)
    sweep.refresh()
    contents = [(status.record, status.metrics, status.evaluations) for status in sweep.runs.values()]
    runs[1].append_evaluation(evaluation(16, 0.5, 0.5))
    sweep.refresh()
    for number, (status, (record, metrics, evaluations)) in enumerate(zip(sweep.runs.values(), contents, strict=True)):
        assert status.record is record
        assert status.metrics is metrics
        assert (status.evaluations is evaluations) == (number != 1)


def test_runs_that_begin_later_are_included_and_those_that_are_deleted_forgotten(tmp_path: Path) -> None:
    sweep = SweepStatus(lambda: directories_with_record(tmp_path))
    sweep.refresh()
    assert sweep.n_ended == len(sweep.runs) == 0
    run = training_run(tmp_path)
    assert sweep.refresh() == [f"{run.name}  training"]
    assert sweep.n_ended == 0
    run.record_file.unlink()
    sweep.refresh()
    assert sweep.runs == {}


@pytest.mark.parametrize("end", [b'{"step": 100, "lo', b"not json\n"])
def test_a_last_line_that_is_torn_or_damaged_leaves_the_line_before(tmp_path: Path, end: bytes) -> None:
    run = training_run(tmp_path, step=50)
    status = refreshed(run)
    with open(run.metrics_file, "ab") as file:
        file.write(end)
    assert status.refresh()
    assert status.steps[0] == status.metrics["step"] == 50


def test_a_record_that_is_damaged_for_a_moment_stays_as_it_was(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    status = refreshed(run)
    run.record_file.write_text("{")
    assert status.refresh()
    assert status.state == State.TRAINING


def ended_process() -> dict[str, Any]:
    """The fields of a record whose process was killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        fields = {"pid": running.pid, "process": process.identity(running.pid)}
        running.kill()
    return fields


def same_number() -> dict[str, Any]:
    """The fields of a record whose process had the number that this one has."""
    return {"pid": os.getpid(), "process": f"{process.identity(os.getpid())}1"}


def elsewhere() -> dict[str, Any]:
    return {"pid": os.getpid(), "process": "another-machine 1234"}


@pytest.mark.parametrize(
    ("fields", "lengths", "state"),
    [
        (process.this_process, (16,), "evaluating"),
        (process.this_process, (16, 32, 64, 128), "trained"),
        (ended_process, (16,), "trained"),
        (same_number, (16,), "trained"),
        (elsewhere, (16,), "evaluating"),
    ],
)
def test_a_trained_run_is_at_work_while_its_process_evaluates_it(
    tmp_path: Path, fields: Callable[[], dict[str, Any]], lengths: tuple[int, ...], state: str
) -> None:
    record = {**fields(), "length": 16, "started": "now"}
    run = write_run(tmp_path, dict.fromkeys(lengths, 0.5), info=record)
    assert (refreshed(run).state, refreshed(run).has_ended) == (state, state != "evaluating")
    for file in run.path.iterdir():
        os.utime(file, (0, 0))
    assert refreshed(run).state == State.TRAINED, "its process has written nothing for long"


@pytest.mark.parametrize(
    ("fields", "age", "training", "created"),
    [
        (process.this_process, 1e6, "training", "waiting"),
        (ended_process, 0, "interrupted", "not started"),
        (same_number, 0, "interrupted", "not started"),
        (elsewhere, 0, "training", "waiting"),
        (elsewhere, 1e6, "interrupted", "not started"),
        (lambda: {"pid": os.getpid(), "process": None}, 0, "interrupted", "not started"),
    ],
)
def test_a_run_whose_process_was_killed_is_seen_to_be_dead(
    tmp_path: Path, rpe: tiny.Rpe, fields: Callable[[], dict[str, Any]], age: float, training: str, created: str
) -> None:
    for seed, (status, state) in enumerate({"training": training, "created": created}.items()):
        run = write_run(tmp_path / "runs", {}, seed=seed, info={"status": status, **fields()})
        for file in run.path.iterdir():
            os.utime(file, (time.time() - age, time.time() - age))
        assert refreshed(run).state == state
        assert refreshed(run).has_ended == (state in ("interrupted", "not started"))
        assert liveness.state(run, run.record) == (state if status == "training" else status)
    assert f"| {training} " in rpe("ls", "runs", "--runs", tmp_path / "runs").out
    assert (rpe("ls", "runs", "--runs", tmp_path / "runs", "--state", "interrupted").code == 0) == (training == "interrupted")


def test_a_watch_of_killed_runs_ends_and_says_so(tmp_path: Path) -> None:
    for seed, status in enumerate(("training", "created")):
        write_run(tmp_path, {}, seed=seed, info={"status": status, **ended_process()})
    console = console_of()
    progress.watch(lambda: directories_with_record(tmp_path), console, 1, sleep=pytest.fail)
    assert text_of(console).splitlines()[0].startswith("2 runs: 1 interrupted, 1 not started")


def test_a_watch_sees_a_run_die(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        run = training_run(tmp_path, pid=running.pid, process=process.identity(running.pid))
        console = console_of()

        def kill(_: float) -> None:
            running.kill()
            running.wait()

        progress.watch(lambda: [run], console, 1, sleep=kill)
    assert f"{run.name}  interrupted" in text_of(console)


def test_a_run_that_writes_nothing_for_long_is_said_to(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    for file in run.path.iterdir():
        os.utime(file, (time.time() - 200, time.time() - 200))
    status = refreshed(run)
    assert progress.describe(status) == "step 50/100  nothing written for 3 min 20 s"
    status.taken_up = time.time()
    assert "nothing written" not in progress.describe(status)


def test_a_command_takes_up_what_a_killed_one_had_created(tmp_path: Path) -> None:
    run, busy = (write_run(tmp_path, {}, seed=seed, info={"status": "created", **ended_process()}) for seed in (0, 1))
    with busy.lock():
        liveness.claim(run)
        before = busy.record
        liveness.claim(busy)
    assert refreshed(run).state == State.WAITING
    assert busy.record == before


def test_the_view_shows_all_runs_those_at_work_and_the_results_so_far(tmp_path: Path) -> None:
    finish(training_run(tmp_path), exact=0.5)
    finish(training_run(tmp_path, seed=1), exact=1.0)
    training_run(tmp_path, seed=2, step=40)
    sweep = SweepStatus(lambda: directories_with_record(tmp_path))
    sweep.refresh()
    lines = viewed(sweep)
    assert lines[0] == "3 runs: 1 training, 2 trained, 80 % of the steps"
    assert lines[1].endswith(" 2/3 ended")
    assert lines[2].split("  ")[0] == "RoPE, seed 2, Copy"
    assert "step 40/100  loss 1.500  acc 0.25" in lines[2]
    assert lines[4].split() == ["task", "encoding", "ended", "valid.", "1x", "2x", "4x", "8x"]
    assert lines[6].split() == ["Copy", "RoPE", "2/3", "25", "75", "75", "75", "75"]


def test_the_view_fits_80_columns_with_long_names_and_many_lengths(tmp_path: Path) -> None:
    changes = {"task": "addition:base=2:operands=split:reverse=false", "encoding": "rope:scaling=yarn:factor=8"}
    run = training_run(tmp_path, **changes)
    finish(run, exact=0.5)
    for length in range(36, 124, 8):
        run.append_evaluation(evaluation(length, 0.5, 0.5))
    training_run(tmp_path, seed=1, step=40, **changes)
    sweep = SweepStatus(lambda: directories_with_record(tmp_path))
    sweep.refresh()
    lines = viewed(sweep, 80)
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith("RoPE (")
    assert "step 40/100  loss 1.500  acc 0.25" in lines[2]
    assert lines[4].split() == ["task", "encoding", "ended", "valid.", "1x", "2.75x", "4x", "4.75x", "6.25x", "8x"]
    assert lines[6].split()[-7:] == ["25", "50", "50", "50", "50", "50", "50"], "no number is cut"


def test_many_runs_at_work_do_not_fill_the_screen(tmp_path: Path) -> None:
    for seed in range(progress.MAX_LISTED + 2):
        training_run(tmp_path, seed)
    sweep = SweepStatus(lambda: directories_with_record(tmp_path))
    sweep.refresh()
    assert "and 2 more" in viewed(sweep)


def test_in_a_terminal_the_view_stays_in_place(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    console = console_of(terminal=True)
    progress.watch(lambda: [run], console, 1, sleep=lambda _: finish(run))
    assert "1 training" in text_of(console)
    assert "\x1b[2K" in text_of(console), "lines are taken back"


def test_the_time_left_is_told_once_something_has_moved(tmp_path: Path) -> None:
    run, seconds = training_run(tmp_path, step=50), [0.0]
    sweep = SweepStatus(lambda: [run], now=lambda: seconds[0])
    sweep.refresh()
    assert sweep.summary() == "1 run: 1 training, 50 % of the steps"
    seconds[0] = 10.0
    run.append_metrics(validation(60, 0.25))
    sweep.refresh()
    assert sweep.summary() == "1 run: 1 training, 60 % of the steps, about 40 s left"


def test_the_time_left_of_evaluations_is_told_from_the_runs_that_ended(tmp_path: Path) -> None:
    runs, seconds = [write_run(tmp_path, {16: 1.0}, seed=seed) for seed in range(3)], [0.0]
    sweep = SweepStatus(lambda: runs, queued=True, now=lambda: seconds[0])
    sweep.refresh()
    seconds[0] = 10.0
    sweep.runs[runs[0]].queued = False
    assert sweep.summary() == "3 runs: 2 waiting, 1 trained, about 20 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (125, "2 min 05 s"), (3600, "1 h 00 min"), (36061, "10 h 01 min")]
)
def test_times_are_written_with_their_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def three(tmp_path: Path) -> list[Run]:
    """A run that is trained, one in training, one that has not begun."""
    done = write_run(tmp_path, {16: 1.0, 32: 0.5})
    done.append_metrics(validation(100, 0.25, **LINE))
    done.weights_file.touch()
    return [done, training_run(tmp_path, seed=1), write_run(tmp_path, {}, seed=2, info={"status": "created"})]


def events(runs: list[Run]) -> Iterator[Event]:
    done, half, new = runs
    for run in runs:
        yield Event("started", run)
    yield Event("tick", active=tuple(runs))
    yield Event("ended", done, Ending(0))
    half.update(status="stopped")
    yield Event("ended", half, Ending(75))
    yield Event("tick", active=(new,))
    new.update(status="failed")
    yield Event("ended", new, Ending(1, "why"))
    yield Event("tick")


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_shows_every_run_and_how_it_ended(terminal: bool, three: list[Run]) -> None:
    console = console_of(terminal)
    endings = progress.follow(events(three), console, three, interval=0)
    done, half, new = three
    assert endings == {done: Ending(), half: Ending(75), new: Ending(1, "why")}
    for line in (
        f"[1/3] {done.name}  already evaluated",
        f"[2/3] {half.name}  stopped",
        f"[3/3] {new.name}  FAILED: why",
        "3 runs: 3 waiting",
        "3 runs: 1 trained, 1 stopped, 1 failed",
    ):
        assert line in text_of(console)
    assert ("\x1b[" in text_of(console)) == terminal
    if not terminal:
        assert f"{done.name}  evaluating, 2 lengths done" in text_of(console)
        assert f"{half.name}  step 50/100  loss 1.500" in text_of(console)
        assert f"{new.name}  starting" in text_of(console)


def test_a_run_that_had_lost_its_weights_is_told_as_trained(three: list[Run]) -> None:
    console, (done, *_) = console_of(), three
    done.weights_file.unlink()
    progress.follow(iter([Event("started", done), Event("ended", done, Ending(0))]), console, [done])
    assert f"[1/1] {done.name}  trained in 2 s, 25 % of tokens right in validation" in text_of(console)


def test_a_reason_is_told_with_the_first_run_that_fails_for_it(three: list[Run]) -> None:
    console = console_of()
    events = (Event("ended", run, Ending(1, f"no space left on device: {run.metrics_file}")) for run in three)
    progress.follow(events, console, three)
    told = [line.partition("  ")[2] for line in text_of(console).splitlines() if line.startswith("[")]
    assert told == [f"FAILED: no space left on device: {three[0].metrics_file}", "FAILED as before", "FAILED as before"]


def test_the_end_of_a_run_says_what_was_done(tmp_path: Path) -> None:
    evaluated, trained = write_run(tmp_path, {16: 1.0}), training_run(tmp_path, seed=1)
    evaluated.weights_file.touch()

    def work() -> Iterator[Event]:
        for length in (32, 64):
            evaluated.append_evaluation(evaluation(length, 0.5, 0.0) | {"seconds": 1.6})
        yield Event("ended", evaluated, Ending(0))
        trained.update(status="trained", seconds=65)
        trained.append_evaluation(evaluation(16, 1.0, 1.0) | {"seconds": 0.2})
        yield Event("ended", trained, Ending(0))

    console = console_of()
    progress.follow(work(), console, [evaluated, trained])
    assert f"[1/2] {evaluated.name}  evaluated at 2 lengths, 3 s" in text_of(console)
    expected = f"[2/2] {trained.name}  trained in 1 min 05 s, 25 % of tokens right in validation; evaluated at 1 length, 0 s"
    assert expected in text_of(console)


def test_a_pipe_gets_one_line_per_run_that_ended_between_a_summary_at_the_start_and_at_the_end(three: list[Run]) -> None:
    console = console_of()
    progress.follow(events(three), console, three)
    assert len(text_of(console).splitlines()) == 5


def test_progress_survives_a_run_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    def vanish(run: Run) -> Iterator[Event]:
        yield Event("started", run)
        shutil.rmtree(run.path)
        yield Event("tick", active=(run,))

    for terminal in (False, True):
        run, console = tiny.new_run(tmp_path), console_of(terminal)
        assert progress.follow(vanish(run), console, [run]) == {}
        assert "1 run: 1 unreadable" in text_of(console)


def test_between_looks_at_all_runs_those_at_work_alone_are_looked_at(three: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERYWHERE", 1e9)
    looks, refresh = list[str](), RunStatus.refresh

    def noted(status: RunStatus) -> bool:
        looks.append(status.run.name)
        return refresh(status)

    def work() -> Iterator[Event]:
        for kind in ("started", "tick", "tick"):
            looks.clear()
            yield Event(kind, three[1] if kind == "started" else None, active=(three[1],))
            assert looks == [three[1].name]
        looks.clear()

    monkeypatch.setattr(RunStatus, "refresh", noted)
    progress.follow(work(), console_of(), three)
    assert sorted(looks) == sorted(run.name for run in three)  # the last look is at all of them
