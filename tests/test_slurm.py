"""A sweep on a Slurm cluster (scripts/slurm_cluster.sh start) ends the same, whichever tasks are stopped or preempted."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import slow_task
from helpers import training as tiny

from rpecli.launch import on_slurm, place
from rpecli.launch.job import Job
from rpecli.launch.pool import Event
from rpecli.run.directory import find_runs


def has_slurm() -> bool:
    try:
        return bool(subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=10, check=True).stdout)
    except (OSError, subprocess.SubprocessError):
        return False


@pytest.fixture(scope="module")
def cluster() -> None:
    pytest.importorskip("submitit")
    if not has_slurm():
        pytest.skip("no Slurm here: scripts/slurm_cluster.sh start")


def slurm(*words: Any) -> str:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True, timeout=60).stdout


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"{what} did not happen: {slurm('squeue', '--array')}"
        time.sleep(0.3)
    return value


def queue() -> dict[str, str]:
    return on_slurm._queue() or {}


def running(runs: Path, n: int, step: int) -> list[str]:
    """The ids of `n` tasks whose runs have done so many steps; none until there are as many."""
    tasks = {}
    for file in runs.glob(".slurm/*/tasks.json"):
        record = json.loads(file.read_text())
        tasks |= {names[0]: f"{record['array']}_{number}" for number, names in enumerate(record["tasks"])}
    states = queue()
    ready = [
        tasks[run.name] for run in find_runs(runs)[0] if (run.last_metrics() or {}).get("step", 0) >= step and run.name in tasks
    ]
    ready = [id for id in ready if states.get(id) == "RUNNING"]
    return ready if len(ready) >= n else []


def release() -> None:
    """Lets requeued tasks start now: Slurm holds them for two minutes."""
    for id, state in queue().items():
        if state == "PENDING":
            subprocess.run(["scontrol", "update", f"jobid={id}", "starttime=now"], capture_output=True)


def preempt() -> None:
    """A job of higher priority, which needs the whole node for a moment."""
    urgent = slurm("sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 2").strip()
    wait_for(lambda: not any(id.startswith(urgent) for id in queue()), "the end of the urgent job")


def stop(command: "subprocess.Popen[str]") -> None:
    """Ctrl-C, after which the command says that its tasks go on."""
    command.send_signal(2)
    _, err = command.communicate(timeout=60)
    assert (command.returncode, "the Slurm jobs go on: start the same command again to follow them" in err) == (130, True), err
    assert "Traceback" not in err


def end(command: "subprocess.Popen[str]") -> tiny.Result:
    """The end of a command, whose tasks are let go as they come back to the queue."""
    wait_for(lambda: release() or command.poll() is not None, "the end of the command", 400)
    return slow_task.finish(command)


def test_a_sweep_whose_tasks_are_stopped_preempted_and_cancelled_ends_as_one_that_was_not(
    cluster: None, tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = slow_task.recipe_file(tmp_path, steps=150)
    words = ("run", file, "--on", "slurm:time=10,cap=2,warn=5", "--device", "cpu", "--no-reference")
    command = tiny.start(*words, cwd=tmp_path)
    runs = tmp_path / "runs"
    stopped, _ = wait_for(lambda: running(runs, 2, 20), "two tasks at work")[:2]
    warning = subprocess.Popen(["scancel", "--signal=USR1", "--batch", stopped])  # as Slurm does before the time limit
    wait_for(lambda: queue().get(stopped) == "PENDING", "the stopped task back in the queue")
    warning.kill()  # it tries for minutes to signal a task that waits
    warning.wait()
    preempt()
    (cancelled, *_) = wait_for(lambda: release() or running(runs, 1, 10), "a task at work again")
    slurm("scancel", cancelled)
    result = end(command)
    assert result.code == 1
    assert f"Slurm task {cancelled} ended before its work was done" in result.err
    assert "Traceback" not in result.err
    again = slow_task.finish(tiny.start(*words, cwd=tmp_path))
    assert again.code == 0, again
    assert "3 of 4 runs are already trained and evaluated." in again.err
    logs = "".join(path.read_text() for path in runs.glob(".slurm/*/*_log.out"))
    assert "goes back to the queue" in logs
    assert "DUE TO PREEMPTION" in logs
    assert not list(runs.rglob("*.pkl"))
    slow_task.assert_equal_sweeps(tmp_path, file)


def test_every_run_of_a_stack_in_the_queue_is_followed_and_only_the_others_are_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third, fourth = (tiny.new_run(tmp_path, encoding="none", seed=seed) for seed in range(4))
    submitted: list[Job] = []
    monkeypatch.setattr(on_slurm, "_slurm", lambda *words, stdin=None: "7")
    monkeypatch.setattr(on_slurm, "_script", lambda *_: "")
    monkeypatch.setattr(on_slurm, "_queue", lambda: {"7_0": "PENDING"})
    monkeypatch.setattr(on_slurm, "_follow", lambda tasks: iter([Event("tick", active=tuple(tasks))]))
    on_slurm.submit([Job(first, train=True, stacked_with=(second,))], {})
    monkeypatch.setattr(
        on_slurm, "submit", lambda jobs, options: submitted.extend(jobs) or [on_slurm.Task("8_0", tmp_path, jobs)]
    )
    stack = Job(second, train=True, stacked_with=(third, fourth))
    notice, _, tick = on_slurm.execute([stack], {})
    assert "1 run of an earlier command" in notice.text
    assert [job.runs for job in submitted] == [(third, fourth)]
    assert [[job.runs for job in task.jobs] for task in tick.active] == [[(second,)], [(third, fourth)]]


def test_an_interrupted_command_leaves_its_tasks_and_the_next_one_follows_them(cluster: None, tmp_path: Path) -> None:
    file = slow_task.recipe_file(tmp_path, encoding="rope", seed=0, steps=30)
    words = ("train", file, "--on", "slurm:time=10", "--device", "cpu")
    command = tiny.start(*words, cwd=tmp_path)
    wait_for(lambda: list(tmp_path.glob("runs/.slurm/*/tasks.json")), "a submission")
    stop(command)
    again = slow_task.finish(tiny.start(*words, cwd=tmp_path))
    assert (again.code, "1 run of an earlier command still in Slurm's queue" in again.err) == (0, True), again
    assert len(list(tmp_path.glob("runs/.slurm/*/tasks.json"))) == 1


def test_a_search_of_the_learning_rate_takes_the_same_whichever_task_is_preempted(cluster: None, tmp_path: Path) -> None:
    file = slow_task.recipe_file(tmp_path, encoding="rope", steps=200, lr_search="1e-3,3e-3")
    words = ("run", file, "--on", "slurm:time=10", "--device", "cpu", "--no-reference")
    command = tiny.start(*words, cwd=tmp_path)
    wait_for(lambda: running(tmp_path / "runs/.lr_search", 2, 10), "two trials at work")
    preempt()
    stop(command)
    command = tiny.start(*words, cwd=tmp_path)
    wait_for(lambda: release() or running(tmp_path / "runs", 1, 10), "a run with the rate that was taken")
    preempt()
    result = end(command)
    assert result.code == 0, result
    assert "of an earlier command still in Slurm's queue: followed" in result.err
    slow_task.assert_equal_sweeps(tmp_path, file)


def test_a_paper_is_reproduced_and_evaluated_further_whichever_task_is_preempted(cluster: None, tmp_path: Path) -> None:
    words = ("reproduce", slow_task.paper_file(tmp_path, steps=200), "--seeds", 1)
    there, runs = ("--on", "slurm:time=10", "--device", "cpu"), Path("runs/papers")
    command = tiny.start(*words, *there, cwd=tmp_path)
    wait_for(lambda: running(tmp_path / runs, 2, 10), "two runs at work")
    preempt()
    stop(command)
    result = end(tiny.start(*words, *there, cwd=tmp_path))
    assert (result.code, result.out) == (0, slow_task.undisturbed(tmp_path, *words).out), result
    assert "2 runs of an earlier command still in Slurm's queue: followed" in result.err

    more = ("eval", "--lengths", "11:150:1", "--runs", runs)
    command = tiny.start(*more, *there, cwd=tmp_path)
    wait_for(lambda: all(len(run.evaluations()) > 12 for run in find_runs(tmp_path / runs)[0]), "some lengths of both runs")
    preempt()
    stop(command)
    result = end(tiny.start(*more, *there, cwd=tmp_path))
    assert (result.code, result.out) == (0, slow_task.undisturbed(tmp_path, *more).out), result
    slow_task.assert_equal_runs(tmp_path, runs)
    assert len(list((tmp_path / runs / ".slurm").iterdir())) == 2


@pytest.mark.parametrize(
    ("option", "named"),
    [("partition=nowhere", "nowhere"), ("time=soon", "--time"), ("no-such-option=1", "no-such-option"), ("cap=0", "cap=64")],
)
def test_what_slurm_refuses_is_a_usage_error_before_a_run_is_made(
    option: str, named: str, cluster: None, here: Path, rpe: tiny.Rpe
) -> None:
    result = rpe("train", "quick", "--on", f"slurm:{option}")
    assert (result.code, result.err.startswith("--on slurm"), named in result.err) == (2, True, True), result
    assert len(result.err.splitlines()) == 1
    assert not (here / "runs").exists()


def test_without_slurm_or_submitit_the_message_says_what_is_missing(
    here: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    result = rpe("train", "quick", "--on", "slurm")
    remedy = "in the clone of rpe, .venv/bin/pip install -c constraints.txt -e '.[slurm]'"
    assert result == tiny.Result(2, "", f"--on slurm needs submitit: {remedy}\n")
    monkeypatch.undo()
    if shutil.which("sbatch"):
        return
    pytest.importorskip("submitit")
    monkeypatch.chdir(here)
    result = rpe("train", "quick", "--on", "slurm")
    assert (result.code, "this machine has no" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slurm", place.Place()),
        ("slurm:time=2:00:00,partition=a,b,cpus_per_task=4",
         place.Place(options={"time": "2:00:00", "partition": "a,b", "cpus-per-task": "4"})),
        ("tcp://h:1", place.Place("tcp://h:1")),
        ("scheduler.json", place.Place("scheduler.json")),
    ],
)  # fmt: skip
def test_a_place_is_read(text: str, expected: place.Place) -> None:
    assert place.parse(text) == expected


@pytest.mark.parametrize("text", ["", "slrm", "slurm:gpu", "slurm:time=1,time=2", "host:8786"])
def test_another_place_is_a_usage_error(text: str, here: Path, rpe: tiny.Rpe) -> None:
    result = rpe("train", "quick", "--on", text)
    assert (result.code, result.err.startswith("--on "), len(result.err.splitlines())) == (2, True, 1)
