"""Many runs at a time: a crash costs one run, a stop saves all of them, started again does what is missing."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny

from rpecli import process
from rpecli.cli import _execute
from rpecli.evaluate.request import EvalRequest
from rpecli.launch import pool, worker
from rpecli.launch.job import BUSY, FAILED, Ending, Job
from rpecli.launch.pool import Event
from rpecli.launch.server import Ended, Started
from rpecli.run.directory import Run, find_runs
from rpecli.run.files import NotWritten

CRASH = '''"""Adds nothing; where a file `armed` lies beside this one it crashes, but not with the two sequences of a trial."""

import os
import signal
from pathlib import Path

from rpecli.encoding import Encoding


class Crash(Encoding):
    def embed(self, x_BxTxM, positions_BxT, ids_BxT):
        if Path(__file__).with_name("armed").exists() and x_BxTxM.shape[0] > 8 and (WHEN):  # in no trial
            CRASH
        return x_BxTxM
'''
WAYS = {
    "raise ValueError('no such angle')": "ValueError: no such angle",
    "os._exit(9)": "left it with exit code 9",
    "os._exit(0)": "left it with exit code 0",
    "raise SystemExit(0)": "its code called exit(0)",
    "os.kill(os.getpid(), signal.SIGKILL)": "killed by signal 9, out of memory perhaps",
}


@pytest.fixture
def rpe(rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> tiny.Rpe:
    monkeypatch.setattr("rpecli.launch.pool.n_cores", lambda: 1)
    return rpe


def crashing(folder: Path, crash: str, when: str = "True") -> Path:
    path = folder / "crash.py"
    path.write_text(CRASH.replace("CRASH", crash).replace("WHEN", when).replace("__file__", repr(str(path))))
    (folder / "armed").touch()
    return path


def runs_of(folder: Path) -> dict[str, Run]:
    """Runs by the part of their name that tells them apart."""
    return {run.name.rpartition("-")[0].split("-", 1)[1]: run for run in find_runs(folder)[0]}


def times(run: Run) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in run.path.iterdir() if file.name not in ("lock", "log.txt")}


def weights(run: Run) -> bytes:
    return run.weights_file.read_bytes()


def session(number: int) -> list[int]:
    """The living processes of a session."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its_session) == number and state != "Z":
            pids.append(int(entry.name))
    return pids


def ends(number: int) -> bool:
    """Whether a session empties within seconds."""
    for _ in range(500):
        if not session(number):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("crash", WAYS)
def test_a_crash_costs_one_run_and_starting_again_does_what_is_missing(crash: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    mine = crashing(tmp_path, crash)
    file = tiny.recipe_file(tmp_path, encoding=f"rope,{mine},none")
    arguments = ("train", file, "--runs", tmp_path / "runs", "--jobs", 2, "--device", "cpu")
    result = rpe(*arguments)
    runs = runs_of(tmp_path / "runs")
    assert result.code == 1
    assert {name: run.record["status"] for name, run in runs.items()} == {
        "rope-s0": "trained", "crash-s0": "failed", "none-s0": "trained",
    }  # fmt: skip
    failed = runs.pop("crash-s0")
    assert WAYS[crash] in failed.record["error"]
    assert f"{failed.name}: {failed.record['error']}" in result.err
    assert f"({failed.log_file})" in result.err or not failed.log_file.read_text()
    assert "1 of 3 runs failed" in result.err
    assert ("Traceback" in failed.log_file.read_text()) == crash.startswith("raise")
    before = {run: times(run) for run in runs.values()}
    (tmp_path / "armed").unlink()
    result = rpe(*arguments)
    assert result.code == 0
    assert "2 of 3 runs" in result.out
    assert failed.record["status"] == "trained"
    assert {run: times(run) for run in runs.values()} == before


def test_a_killed_run_that_leaves_a_process_behind_costs_no_other_run(tmp_path: Path, rpe: tiny.Rpe) -> None:
    """The process that is left holds the pipe of the killed one's last words open, and its run."""
    leave = "os.kill(os.getpid(), signal.SIGKILL) if os.fork() else (signal.alarm(20), signal.pause())"
    file = tiny.recipe_file(tmp_path, encoding=f"rope,{crashing(tmp_path, leave)},none")
    result = rpe("train", file, "--runs", tmp_path / "runs", "--jobs", 2, "--device", "cpu")
    runs = runs_of(tmp_path / "runs")
    assert result.code == 1
    assert f"{runs.pop('crash-s0').name}: the process ended: killed by signal 9" in result.err
    assert "the process that starts the others" not in result.out + result.err
    assert {name: run.record["status"] for name, run in runs.items()} == {"rope-s0": "trained", "none-s0": "trained"}


def test_a_crash_in_evaluation_does_not_cost_the_training(tmp_path: Path, rpe: tiny.Rpe) -> None:
    """As when the system kills a process that asked for too much memory."""
    mine = crashing(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", when="ids_BxT.shape[1] > 18")
    file = tiny.recipe_file(tmp_path, encoding=f"{mine},none", lengths="1x,2x,4x")
    arguments = ("run", file, "--runs", tmp_path / "runs", "--out", tmp_path / "results", "--jobs", 1, "--device", "cpu")
    result = rpe(*arguments)
    run = runs_of(tmp_path / "runs")["crash-s0"]
    assert result.code == 1
    assert run.record["status"] == "trained"
    assert "killed by signal 9, out of memory perhaps" in run.record["error"]
    assert [line["length"] for line in run.evaluations()] == [4, 8]
    assert (tmp_path / "results" / "mine" / "report.md").exists(), "a crash costs the run, not the report"
    before = times(run)["weights.safetensors"]
    (tmp_path / "armed").unlink()
    assert rpe(*arguments).code == 0
    assert times(run)["weights.safetensors"] == before
    assert [line["length"] for line in run.evaluations()] == [4, 8, 16]
    assert run.record["error"] is None


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("raise ValueError('no such angle')", "ValueError: no such angle"), ("os._exit(0)", r"its code called exit\(0\)")],
)
def test_a_crash_in_this_process_leaves_the_other_runs_to_go_on(fault: str, reason: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    mine = crashing(tmp_path, fault)
    file = tiny.recipe_file(tmp_path, encoding=f"{mine},none")
    result = rpe("train", file, "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    runs = runs_of(tmp_path / "runs")
    assert result.code == 1
    assert re.search(rf"{runs['crash-s0'].name}: \S*crash\.py:13: {reason}", result.err)
    assert {name: run.record["status"] for name, run in runs.items()} == {"crash-s0": "failed", "none-s0": "trained"}


def test_a_run_that_is_deleted_is_told_as_gone(tmp_path: Path) -> None:
    run = tiny.new_run(tmp_path)
    shutil.rmtree(run.path)
    ending = worker.run_job(Job(run, train=True, device="cpu"), say=lambda _: None)
    assert ending == Ending(FAILED, f"{run} is gone: it was moved or deleted meanwhile; start the same command again")
    assert not run.path.exists()


def test_a_reason_that_many_runs_have_in_common_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [tiny.new_run(tmp_path, seed=seed) for seed in range(3)]
    _execute._print_failures({run: Ending(FAILED, f"no space left on device: {run.metrics_file}") for run in runs})
    _execute._print_failures({run: Ending(FAILED, f"seed {run.config.seed}") for run in runs[:2]})
    assert capsys.readouterr().err.splitlines() == [
        f"no space left on device: {runs[0].metrics_file}; and the same for 2 other runs",
        f"{runs[0].name}: seed 0",
        f"{runs[1].name}: seed 1",
    ]


def test_the_reason_of_a_failure_is_that_of_this_job_where_the_record_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.new_run(tmp_path)
    run.update(error="an earlier one")

    def train(*_: object, **__: object) -> None:
        monkeypatch.setattr("rpecli.run.directory.write_json", full)
        full()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "log.txt")

    monkeypatch.setattr("rpecli.train.loop.train", train)
    ending = worker.run_job(Job(run, train=True, device="cpu"), say=lambda _: None)
    assert ending == Ending(FAILED, "no space left on device: log.txt")
    assert run.record["error"] == "an earlier one"


@pytest.mark.parametrize(
    ("command", "number", "to_all", "code"),
    [
        ("train", signal.SIGINT, False, 130),
        ("run", signal.SIGINT, True, 130),
        ("run", signal.SIGTERM, False, 75),
    ],
)
def test_a_stopped_command_saves_its_runs_and_leaves_no_process(
    command: str, number: signal.Signals, to_all: bool, code: int, tmp_path: Path, rpe: tiny.Rpe
) -> None:
    trap = tiny.trap_in(tmp_path)
    file = tiny.recipe_file(tmp_path, task=trap.task, seed="0:2")
    arguments = (command, file, "--runs", tmp_path / "runs", "--device", "cpu")
    arguments += ("--out", tmp_path / "results") if command == "run" else ()
    trap.arm(17, "wait")
    process = tiny.start(*arguments, "--jobs", 2, cwd=tmp_path)
    assert len(trap.reached(2)) == 2
    (os.killpg if to_all else os.kill)(process.pid, number)
    result = tiny.finish(process)
    assert ends(process.pid)
    assert result.code == code
    assert "start the same command again to go on" in result.err
    assert "Traceback" not in result.err
    trap.disarm()
    runs = find_runs(tmp_path / "runs")[0]
    assert [(run.record["status"], run.record["step"]) for run in runs] == [("stopped", 17)] * 2
    assert rpe(*arguments, "--jobs", 0).code == 0
    for run, seed in zip(runs, (0, 1), strict=True):
        assert weights(run) == weights(tiny.trained_run(tmp_path / "undisturbed", task=str(trap.task), seed=seed))


def test_the_children_of_a_command_killed_outright_save_and_end(tmp_path: Path) -> None:
    trap = tiny.trap_in(tmp_path)
    file = tiny.recipe_file(tmp_path, task=trap.task)
    trap.arm(17, "wait")
    process = tiny.start("train", file, "--runs", tmp_path / "runs", "--device", "cpu", "--jobs", 1, cwd=tmp_path)
    trap.reached()
    process.kill()
    assert tiny.finish(process).code == -signal.SIGKILL
    assert ends(process.pid)
    (run,) = find_runs(tmp_path / "runs")[0]
    assert (run.record["status"], run.record["step"]) == ("stopped", 17)


def test_closing_the_events_stops_the_children(tmp_path: Path) -> None:
    trap = tiny.trap_in(tmp_path)
    run = tiny.new_run(tmp_path / "runs", task=str(trap.task))
    trap.arm(3, "wait")
    events = pool.execute([Job(run, train=True, device="cpu")], 1)
    assert next(events) == Event("started", run)
    (child,) = trap.reached()
    events.close()  # type: ignore[attr-defined]
    assert process.identity(child) is None
    assert run.record["status"] == "stopped"


class FakeServer:
    """Starts nothing: every job ends as `endings` says, DONE by default, when it is asked the third time."""

    def __init__(self, endings: dict[Run, list[Ending]] | None = None):
        self.endings, self.jobs, self.n_asked = endings or {}, list[tuple[int, Job]](), 0
        self.sent: list[Run] = []

    def send(self, number: int, job: Job) -> None:
        self.jobs.append((number, job))
        self.sent.append(job.run)

    def receive(self, timeout: float) -> list[Ended | Started]:
        self.n_asked += 1
        ended, self.jobs = (self.jobs, []) if self.n_asked % 3 == 0 else ([], self.jobs)
        return [Ended(number, 0, (self.endings.get(job.run) or [Ending()]).pop(0)) for number, job in ended]

    def close(self) -> None:
        self.jobs = []


@pytest.mark.parametrize(("max_processes", "jobs"), [(2, 5), (8, 2), (1, 3)])
def test_no_more_runs_at_once_than_processes(max_processes: int, jobs: int) -> None:
    server, waiting = FakeServer(), [Job(Run(Path(str(number))), train=False) for number in range(jobs)]
    events = list(pool.execute(waiting, max_processes, server=server))
    assert server.sent == [job.run for job in waiting]
    assert max(len(event.active) for event in events) <= max_processes
    assert sorted(event.run for event in events if event.ending and event.run) == sorted(job.run for job in waiting)


def test_a_job_whose_process_ends_well_without_training_its_run_has_failed(tmp_path: Path) -> None:
    run = tiny.new_run(tmp_path)
    (ending,) = [event.ending for event in pool.execute([Job(run, train=True)], 1, server=FakeServer()) if event.ending]
    assert ending == Ending(FAILED, "its process ended without an error, and the run is not trained")


def test_a_run_that_another_process_has_is_taken_up_at_the_end(tmp_path: Path) -> None:
    busy, free = (tiny.new_run(tmp_path, seed=seed) for seed in (0, 1))
    server = FakeServer({busy: [Ending(BUSY), Ending()]})
    events = list(pool.execute([Job(run, train=False) for run in (busy, free)], 1, server=server))
    assert server.sent == [busy, free, busy]
    assert [event.run for event in events if event.ending] == [free, busy]
    assert [event.text for event in events if event.text] == [
        f"{busy.name} is in use by another process: waiting until it is done with them"
    ]


@pytest.mark.parametrize(("cores", "threads", "runs", "expected"), [(8, 1, 5, 5), (8, 1, 9, 8), (8, 3, 9, 2), (2, 4, 3, 1)])
def test_every_thread_of_a_run_has_a_core(
    cores: int, threads: int, runs: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rpecli.launch.pool.n_cores", lambda: cores)
    created = [tiny.new_run(tmp_path, seed=seed, threads=threads) for seed in range(runs)]
    assert pool.default_processes(created) == expected


def test_a_child_that_does_not_save_in_time_is_killed() -> None:
    stubborn = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(); time.sleep(60)"],
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout
    stubborn.stdout.readline()
    children, words = pool.Pool(FakeServer()), list[str]()
    children.children[1] = pool.Child(Job(Run(Path()), train=True))
    children.children[1].pid, children.children[1].identity = stubborn.pid, process.identity(stubborn.pid)
    pool.stop(children, words.append, grace=0.05)
    stubborn.stdout.close()
    assert stubborn.wait() == -signal.SIGKILL
    assert "1 did not answer within 0 s and were killed" in words[1]


def test_however_many_run_at_once_the_weights_are_the_same(tmp_path: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(tmp_path, encoding="rope,learned")
    for jobs in (0, 1, 2):
        assert rpe("train", file, "--runs", tmp_path / str(jobs), "--jobs", jobs, "--device", "cpu").code == 0
    names = list(runs_of(tmp_path / "0"))
    assert len(names) == 2
    for jobs in (1, 2):
        assert [weights(runs_of(tmp_path / str(jobs))[name]) for name in names] == [
            weights(runs_of(tmp_path / "0")[name]) for name in names
        ]


def test_what_a_child_says_is_in_its_log_and_not_on_the_screen(tmp_path: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(tmp_path)
    result = rpe("train", file, "--runs", tmp_path / "runs", "--jobs", 1, "--device", "cpu")
    (run,) = find_runs(tmp_path / "runs")[0]
    assert run.log_file.read_text().count(f"{run.name}  step ") == 4
    assert "  step " not in result.out + result.err
    assert f"[1/1] {run.name}  trained in " in result.out + result.err


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_run_that_another_command_trains_is_waited_for(jobs: int, tmp_path: Path, rpe: tiny.Rpe) -> None:
    trap = tiny.trap_in(tmp_path)
    file = tiny.recipe_file(tmp_path, task=trap.task, seed="0:2")
    trap.arm(17, "wait")
    arguments = ("train", file, "--runs", tmp_path / "runs", "--device", "cpu")
    first = tiny.start(*arguments, "--jobs", 1, cwd=tmp_path)
    (other,) = trap.reached()
    trap.disarm()
    threading.Timer(3.0, os.kill, (other, signal.SIGINT)).start()
    result = rpe(*arguments, "--jobs", jobs)
    assert tiny.finish(first).code == 130
    runs = find_runs(tmp_path / "runs")[0]
    assert (result.code, [run.record["status"] for run in runs]) == (0, ["trained"] * 2)
    assert f"{runs[0].name} is in use by another process" in " ".join(result.err.split())
    assert "FAILED" not in result.err
    assert [run.record["error"] for run in runs] == [None, None]


def test_a_trained_run_that_is_being_evaluated_stays_trained(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=2)
    before = run.record_file.read_bytes()
    with run.lock():
        assert worker.run_job(Job(run, train=False, request=EvalRequest(), device="cpu"), say=lambda _: None) == Ending(BUSY)
    assert run.record_file.read_bytes() == before


def test_an_evaluation_that_fails_leaves_a_trained_run_trained(tmp_path: Path) -> None:
    run = tiny.trained_run(tmp_path, steps=2)
    run.evaluations_file.write_text("no\n")
    ending = worker.run_job(Job(run, train=False, request=EvalRequest(), device="cpu"), say=lambda _: None)
    assert (ending.code, ending.reason) == (FAILED, run.record["error"])
    assert run.record["status"] == "trained"
    assert "eval.jsonl:1: damaged: no checksum" in run.record["error"]
    assert "Traceback" in run.log_file.read_text()


def test_a_run_that_is_complete_and_cannot_be_written_is_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny.trained_run(tmp_path)
    job = Job(run, train=False, request=EvalRequest(), device="cpu")
    assert worker.run_job(job, say=lambda _: None) == Ending()
    before = run.record_file.read_bytes()

    def denied(*_: object, **__: object) -> None:
        raise NotWritten(f"{run.record_file} cannot be written: permission denied")

    monkeypatch.setattr(Run, "update", denied)
    assert worker.run_job(job, say=lambda _: None) == Ending()
    assert run.record_file.read_bytes() == before


def test_a_failure_is_not_written_into_a_run_that_another_process_has_taken_up(tmp_path: Path) -> None:
    run = tiny.new_run(tmp_path)
    session = worker.Session.of(run)
    with run.lock():
        worker.record_failure(run, "killed", session)
    assert run.record["status"] == "created"
    run.update(status="trained", started="later", pid=1)
    worker.record_failure(run, "killed", session)
    assert "error" not in run.record
    run.update(status="training", pid=os.getpid())
    worker.record_failure(run, "killed", session)
    assert (run.record["status"], run.record["error"]) == ("failed", "killed")


def test_two_commands_at_once_share_the_work_of_a_folder(tmp_path: Path, rpe: tiny.Rpe) -> None:
    """Different recipes into one folder: neither disturbs the other."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, seed in ((one, 0), (two, 1)):
        folder.mkdir()
        tiny.recipe_file(folder, seed=seed)
    process = tiny.start("train", one / "mine.yaml", "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu", cwd=tmp_path)
    assert rpe("train", two / "mine.yaml", "--runs", tmp_path / "runs", "--jobs", 1, "--device", "cpu").code == 0
    assert tiny.finish(process).code == 0
    assert [run.record["status"] for run in find_runs(tmp_path / "runs")[0]] == ["trained", "trained"]


def test_a_job_in_another_thread_is_done_too(tmp_path: Path) -> None:
    """A notebook, a server: no signals there."""
    run, codes = tiny.new_run(tmp_path, steps=3), list[Any]()
    thread = threading.Thread(target=lambda: codes.append(worker.run_job(Job(run, True, device="cpu"), say=lambda _: None)))
    thread.start()
    thread.join()
    assert codes == [Ending()]


def test_a_crash_is_told_with_the_last_lines_of_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tiny.new_run(tmp_path)
    run.log_file.write_text("".join(f"line {number}\n\n" for number in range(1, 2000)) + "terminate called: bad_alloc\n")
    _execute._print_failures({run: Ending(FAILED, "the process ended: killed by signal 6", crashed=True)})
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == f"{run.name}: the process ended: killed by signal 6  ({run.log_file})"
    assert lines == [*(f"  line {number}" for number in range(1996, 2000)), "  terminate called: bad_alloc"]
    _execute._print_failures({run: Ending(FAILED, "mine.py:3: ValueError: no")})
    assert len(capsys.readouterr().err.splitlines()) == 1, "an exception says itself where it was raised"
    run.log_file.unlink()
    _execute._print_failures({run: Ending(FAILED, "killed", crashed=True)})
    assert capsys.readouterr().err == f"{run.name}: killed\n"
