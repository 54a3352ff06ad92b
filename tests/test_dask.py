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


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_sweep_whose_worker_is_killed_ends_as_one_that_was_not(cluster: Cluster, tmp_path: Path) -> None:
    file = slow_task.recipe_file(tmp_path, steps=60)
    words = ("run", file, "--on", cluster.file, "--device", "cpu", "--no-reference")
    command = tiny.start(*words, cwd=tmp_path)
    wait_for(lambda: len(slow_task.far(tmp_path / "runs", 20)) == 2, "two runs at work")
    victim = next(worker for worker in cluster.workers if children(worker.pid))
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
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
    command.send_signal(signal.SIGINT)
    result = slow_task.finish(command)
    assert (result.code, "start the same command again to go on" in result.err) == (130, True)
    assert "Traceback" not in result.err
    assert sorted(run.record["status"] for run in find_runs(tmp_path / "runs")[0]) == ["created", "created", "stopped", "stopped"]
    again = slow_task.finish(tiny.start(*words, cwd=tmp_path))
    assert again.code == 0, again
    assert {run.record["status"] for run in find_runs(tmp_path / "runs")[0]} == {"trained"}


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
        assert result == tiny.Result(2, "", "--on tcp://127.0.0.1:1 needs Dask: pip install 'rpe[dask]'\n")
    pytest.importorskip("distributed")
    monkeypatch.setattr("rpecli.launch.on_dask.CONNECT", 0.5)
    result = rpe("train", "quick", "--on", "tcp://127.0.0.1:1")
    expected = "--on tcp://127.0.0.1:1: no Dask scheduler answers: start one with dask scheduler, and name its address\n"
    assert result == tiny.Result(2, "", expected)
    assert not (here / "runs").exists()
