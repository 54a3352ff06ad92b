"""A sweep on two Dask workers over TCP ends the same if one of them is killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import slow_task
from helpers import training as tiny

from rpecli.run.directory import find_runs


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 100) -> Any:
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"{what} did not happen"
        time.sleep(0.1)
    return value


class Cluster:
    """A scheduler and its workers, each a process, on a free port of this machine."""

    def __init__(self, folder: Path):
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        self.file = folder / "scheduler.json"
        self.scheduler = self.start(
            "scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", self.file
        )
        wait_for(self.file.exists, "the start of the scheduler")
        self.workers = [self.start_worker() for _ in range(2)]

    def start(self, kind: str, *words: Any) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, words)]
        with open(self.folder / "cluster.log", "ab") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def start_worker(self) -> "subprocess.Popen[bytes]":
        words = ("--scheduler-file", self.file, "--nthreads", 1, "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        return self.start("worker", *words)

    def kill_a_worker(self) -> None:
        """SIGKILL of one that has a command at work."""
        victim = next(worker for worker in self.workers if children(worker.pid))
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        self.workers.remove(victim)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


looks_into_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def stop(command: "subprocess.Popen[str]") -> None:
    """Ctrl-C, after which the command says how to go on."""
    command.send_signal(signal.SIGINT)
    result = slow_task.finish(command)
    assert (result.code, "start the same command again to go on" in result.err) == (130, True), result
    assert "Traceback" not in result.err


@looks_into_proc
def test_a_sweep_whose_worker_is_killed_ends_as_one_that_was_not(cluster: Cluster, tmp_path: Path) -> None:
    file = slow_task.recipe_file(tmp_path, steps=60)
    words = ("run", file, "--on", cluster.file, "--device", "cpu", "--no-reference")
    command = tiny.start(*words, cwd=tmp_path)
    wait_for(lambda: len(slow_task.far(tmp_path / "runs", 20)) == 2, "two runs at work")
    cluster.kill_a_worker()
    result = slow_task.finish(command)
    assert result.code == 0, result
    assert "Dask: 4 tasks for 2 workers" in result.err
    assert "Traceback" not in result.err
    logs = "".join(path.read_text() for path in tmp_path.glob("runs/.dask/*/*.log"))
    assert "stopped by SIGTERM" in logs
    slow_task.assert_equal_sweeps(tmp_path, file)
    assert "4 of 4 runs are already trained and evaluated." in slow_task.finish(tiny.start(*words, cwd=tmp_path)).err


def test_ctrl_c_lets_what_is_at_work_save_and_the_same_command_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    file = slow_task.recipe_file(tmp_path, steps=40)
    words = ("train", file, "--on", cluster.file, "--device", "cpu")
    command = tiny.start(*words, cwd=tmp_path)
    wait_for(lambda: len(slow_task.far(tmp_path / "runs", 10)) == 2, "two runs at work")
    stop(command)
    assert sorted(run.record["status"] for run in find_runs(tmp_path / "runs")[0]) == ["created", "created", "stopped", "stopped"]
    again = slow_task.finish(tiny.start(*words, cwd=tmp_path))
    assert again.code == 0, again
    assert {run.record["status"] for run in find_runs(tmp_path / "runs")[0]} == {"trained"}


@looks_into_proc
def test_a_search_of_the_learning_rate_takes_the_same_whichever_worker_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    file = slow_task.recipe_file(tmp_path, encoding="rope", steps=30, lr_search="1e-3,3e-3")
    words = ("run", file, "--on", cluster.file, "--device", "cpu", "--no-reference")
    command = tiny.start(*words, cwd=tmp_path)
    wait_for(lambda: len(slow_task.far(tmp_path / "runs/.lr_search", 10)) == 2, "two trials at work")
    cluster.kill_a_worker()
    stop(command)
    cluster.workers.append(cluster.start_worker())
    command = tiny.start(*words, cwd=tmp_path)
    wait_for(lambda: slow_task.far(tmp_path / "runs", 10), "a run with the rate that was taken")
    cluster.kill_a_worker()
    result = slow_task.finish(command)
    assert result.code == 0, result
    assert "of 2 to train, with rates 0.001, 0.003" in result.err
    slow_task.assert_equal_sweeps(tmp_path, file)


@looks_into_proc
def test_a_paper_is_reproduced_and_evaluated_further_whichever_worker_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    words = ("reproduce", slow_task.paper_file(tmp_path, steps=30), "--seeds", 1)
    there, runs = ("--on", cluster.file, "--device", "cpu"), Path("runs/papers")
    command = tiny.start(*words, *there, cwd=tmp_path)
    wait_for(lambda: len(slow_task.far(tmp_path / runs, 10)) == 2, "two runs at work")
    cluster.kill_a_worker()
    stop(command)
    cluster.workers.append(cluster.start_worker())
    table = slow_task.finish(tiny.start(*words, *there, cwd=tmp_path))
    assert (table.code, table.out) == (0, slow_task.undisturbed(tmp_path, *words).out), table
    slow_task.assert_equal_runs(tmp_path, runs)

    more = ("eval", "--lengths", "11:60:1", "--runs", runs)
    command = tiny.start(*more, *there, cwd=tmp_path)
    wait_for(lambda: all(len(run.evaluations()) > 12 for run in find_runs(tmp_path / runs)[0]), "some lengths of both runs")
    cluster.kill_a_worker()
    stop(command)
    again = slow_task.finish(tiny.start(*more, *there, cwd=tmp_path))
    assert (again.code, again.out) == (0, slow_task.undisturbed(tmp_path, *more).out), again
    slow_task.assert_equal_runs(tmp_path, runs)


def test_a_run_that_fails_is_told_and_the_others_are_done(cluster: Cluster, tmp_path: Path) -> None:
    trap = tiny.trap_in(tmp_path)
    file = tiny.recipe_file(tmp_path, task=trap.task, seed="0:2")
    trap.arm(20, "raise")
    result = slow_task.finish(tiny.start("train", file, "--on", cluster.file, "--device", "cpu", cwd=tmp_path))
    assert result.code == 1
    assert "the trap" in result.err
    assert sorted(run.record["status"] for run in find_runs(tmp_path / "runs")[0]) == ["failed", "trained"]


def test_without_a_scheduler_or_dask_the_message_says_what_to_do(
    here: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "distributed", None)
        result = rpe("train", "quick", "--on", "tcp://127.0.0.1:1")
        remedy = "in the clone of rpe, .venv/bin/pip install -c constraints.txt -e '.[dask]'"
        assert result == tiny.Result(2, "", f"--on tcp://127.0.0.1:1 needs Dask: {remedy}\n")
    pytest.importorskip("distributed")
    monkeypatch.setattr("rpecli.launch.on_dask.CONNECT", 0.5)
    result = rpe("train", "quick", "--on", "tcp://127.0.0.1:1")
    expected = "--on tcp://127.0.0.1:1: no Dask scheduler answers: start one with dask scheduler, and name its address\n"
    assert result == tiny.Result(2, "", expected)
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("foo://h:1", "--on foo://h:1: unknown address scheme 'foo'"),
        ("tcp://h", "--on tcp://h: missing port number"),
        ("tls://127.0.0.1:1", "--on tls://127.0.0.1:1: TLS expects a `ssl_context`"),
        ("nothing.json", "--on nothing.json: no such file or directory: dask scheduler --scheduler-file nothing.json writes it"),
        ("empty.json", "--on empty.json: no address of a scheduler is in it"),
    ],
)
def test_what_is_no_address_is_said_at_once_and_in_one_line(place: str, message: str, here: Path, rpe: tiny.Rpe) -> None:
    pytest.importorskip("distributed")
    (here / "empty.json").write_text("{}")
    result = rpe("train", "quick", "--on", place)
    assert (result.code, result.err[: len(message)], len(result.err.splitlines())) == (2, message, 1)
