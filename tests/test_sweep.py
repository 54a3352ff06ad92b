"""Many runs at a time: a crash costs one run, a stop saves all of them, started again does what is missing."""

import io
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny
from rich.console import Console
from rich.table import Table

from rpecli.evaluate.request import EvalRequest
from rpecli.launch import job as order
from rpecli.launch import pool as sweep
from rpecli.launch import progress as screen
from rpecli.launch import worker as work
from rpecli.launch.job import Job
from rpecli.run import directory as run
from rpecli.run.files import read_lines

CRASH = '''"""Adds nothing; where a file `armed` lies beside this one it crashes."""

import os
import signal
from pathlib import Path

from rpecli.encoding import Encoding


class Crash(Encoding):
    def embed(self, x_BxTxM, positions_BxT, ids_BxT):
        if Path(__file__).with_name("armed").exists() and (WHEN):
            CRASH
        return x_BxTxM
'''
WAYS = {
    "raise ValueError('no such angle')": "ValueError: no such angle",
    "os._exit(9)": "exit code 9",
    "os.kill(os.getpid(), signal.SIGKILL)": "killed by signal 9, out of memory perhaps",
}


@pytest.fixture
def rpe(rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> tiny.Rpe:
    monkeypatch.setattr("rpecli.launch.pool.n_cores", lambda: 1)
    return rpe


def crashing(folder: Path, crash: str, when: str = "True") -> Path:
    path = folder / "crash.py"
    path.write_text(CRASH.replace("CRASH", crash).replace("WHEN", when))
    (folder / "armed").touch()
    return path


def runs_of(folder: Path) -> dict[str, Path]:
    """Runs by the part of their name that tells them apart."""
    return {path.name.rpartition("-")[0].split("-", 1)[1]: path for path in run.listing(folder)[0]}


def times(path: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in path.iterdir() if file.name not in ("lock", "log.txt")}


def weights(path: Path) -> bytes:
    return (path / "weights.safetensors").read_bytes()


def session(number: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its) == number and state != "Z":
            found.append(int(entry.name))
    return found


def gone(number: int) -> bool:
    """Whether a session empties within seconds."""
    for _ in range(500):
        if not session(number):
            return True
        time.sleep(0.02)
    return False


# --------------------------------------------------------------------------------------------------------------- a crash


@pytest.mark.parametrize("crash", WAYS)
def test_a_crash_costs_one_run_and_starting_again_does_what_is_missing(crash: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    mine = crashing(tmp_path, crash)
    file = tiny.recipe_file(tmp_path, encoding=f"rope,{mine},none")
    words = ("train", file, "--runs", tmp_path / "runs", "--jobs", 2, "--device", "cpu")
    said = rpe(*words)
    paths = runs_of(tmp_path / "runs")
    assert said.code == 1
    assert {name: run.read(path)["status"] for name, path in paths.items()} == {
        "rope-s0": "trained", "crash-s0": "failed", "none-s0": "trained",
    }  # fmt: skip
    failed = paths.pop("crash-s0")
    assert WAYS[crash] in run.read(failed)["error"]
    assert f"{failed.name}: {run.read(failed)['error']}  ({failed / 'log.txt'})" in said.err
    assert "1 of 3 runs failed" in said.err
    assert ("Traceback" in (failed / "log.txt").read_text()) == crash.startswith("raise")
    before = {path: times(path) for path in paths.values()}
    (tmp_path / "armed").unlink()
    said = rpe(*words)
    assert said.code == 0
    assert "2 of 3 runs are trained already." in said.out
    assert run.read(failed)["status"] == "trained"
    assert {path: times(path) for path in paths.values()} == before


def test_a_crash_in_evaluation_does_not_cost_the_training(tmp_path: Path, rpe: tiny.Rpe) -> None:
    """As when the system kills a process that asked for too much memory."""
    mine = crashing(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", when="ids_BxT.shape[1] > 18")
    file = tiny.recipe_file(tmp_path, encoding=f"{mine},none", lengths="1x,2x,4x")
    words = ("run", file, "--runs", tmp_path / "runs", "--out", tmp_path / "results", "--jobs", 1, "--device", "cpu")
    said = rpe(*words)
    path = runs_of(tmp_path / "runs")["crash-s0"]
    assert said.code == 1
    assert run.read(path)["status"] == "trained"
    assert "killed by signal 9, out of memory perhaps" in run.read(path)["error"]
    assert [line["length"] for line in read_lines(path / "eval.jsonl")] == [4, 8]
    assert (tmp_path / "results" / "mine" / "report.md").exists(), "a crash costs the run, not the report"
    before = times(path)["weights.safetensors"]
    (tmp_path / "armed").unlink()
    assert rpe(*words).code == 0
    assert times(path)["weights.safetensors"] == before
    assert [line["length"] for line in read_lines(path / "eval.jsonl")] == [4, 8, 16]
    assert run.read(path)["error"] is None


def test_a_crash_in_this_process_leaves_the_other_runs_to_go_on(tmp_path: Path, rpe: tiny.Rpe) -> None:
    mine = crashing(tmp_path, "raise ValueError('no such angle')")
    file = tiny.recipe_file(tmp_path, encoding=f"{mine},none")
    said = rpe("train", file, "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu")
    paths = runs_of(tmp_path / "runs")
    assert said.code == 1
    assert f"{paths['crash-s0'].name}: ValueError: no such angle" in said.err
    assert {name: run.read(path)["status"] for name, path in paths.items()} == {"crash-s0": "failed", "none-s0": "trained"}


def test_a_process_that_cannot_even_start_its_run_is_told_by_its_code(tmp_path: Path) -> None:
    path = tiny.create(tmp_path)
    assert work.why(path, 1) == "exit code 1"
    run.update(path, error="what it wrote itself")
    assert work.why(path, 1) == "what it wrote itself"


# ---------------------------------------------------------------------------------------------------------------- a stop


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
    words = (command, file, "--runs", tmp_path / "runs", "--device", "cpu")
    words += ("--out", tmp_path / "results") if command == "run" else ()
    trap.arm(17, "wait")
    process = tiny.start(*words, "--jobs", 2, cwd=tmp_path)
    assert len(trap.reached(2)) == 2
    (os.killpg if to_all else os.kill)(process.pid, number)
    said = tiny.finish(process)
    assert gone(process.pid)
    assert said.code == code
    assert "start the same command again to go on" in said.err
    assert "Traceback" not in said.err
    trap.disarm()
    paths = run.listing(tmp_path / "runs")[0]
    assert [(run.read(path)["status"], run.read(path)["step"]) for path in paths] == [("stopped", 17)] * 2
    assert rpe(*words, "--jobs", 0).code == 0
    for path, seed in zip(paths, (0, 1), strict=True):
        assert weights(path) == weights(tiny.trained(tmp_path / "untouched", task=str(trap.task), seed=seed))


def test_the_children_of_a_command_killed_outright_save_and_end(tmp_path: Path) -> None:
    trap = tiny.trap_in(tmp_path)
    file = tiny.recipe_file(tmp_path, task=trap.task)
    trap.arm(17, "wait")
    process = tiny.start("train", file, "--runs", tmp_path / "runs", "--device", "cpu", "--jobs", 1, cwd=tmp_path)
    trap.reached()
    process.kill()
    assert tiny.finish(process).code == -signal.SIGKILL
    assert gone(process.pid)
    (path,) = run.listing(tmp_path / "runs")[0]
    assert (run.read(path)["status"], run.read(path)["step"]) == ("stopped", 17)


def test_closing_the_events_stops_the_children(tmp_path: Path) -> None:
    trap = tiny.trap_in(tmp_path)
    path = tiny.create(tmp_path / "runs", task=str(trap.task))
    trap.arm(3, "wait")
    events = sweep.execute([Job(path, train=True, device="cpu")], 1)
    assert next(events) == sweep.Event("started", path)
    (child,) = trap.reached()
    events.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert run.read(path)["status"] == "stopped"


class Stub:
    """A child process that ends after so many looks at it, or never."""

    started: list[Job] = []
    sentinel = 0

    def __init__(self, target: Callable[..., None], args: tuple[Job]):
        self.job, self.looks, self.said = args[0], 0, list[str]()

    def start(self) -> None:
        Stub.started.append(self.job)

    @property
    def exitcode(self) -> int | None:
        self.looks += 1
        return 0 if self.looks > 2 else None

    def terminate(self) -> None:
        self.said.append("terminate")

    def join(self, seconds: float) -> None:
        self.said.append("join")

    def kill(self) -> None:
        self.said.append("kill")


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stub]]:
    context = type("Context", (), {"Process": Stub})
    monkeypatch.setattr(sweep, "_context", lambda: context)
    monkeypatch.setattr(sweep, "wait", lambda sentinels, seconds: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield Stub
    Stub.started.clear()


@pytest.mark.parametrize(
    ("cores", "at_once", "jobs", "threads"), [(8, 2, 5, 4), (8, 8, 2, 4), (8, 16, 16, 1), (2, 1, 3, 2), (1, 4, 4, 1)]
)
def test_cores_are_shared_out_among_the_runs_at_work(
    cores: int, at_once: int, jobs: int, threads: int, stubs: type[Stub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rpecli.launch.pool.n_cores", lambda: cores)
    todo = [Job(Path(str(number)), train=True) for number in range(jobs)]
    events = list(sweep.execute(todo, at_once))
    assert [job.path for job in stubs.started] == [job.path for job in todo]
    assert {job.threads for job in stubs.started} == {threads}
    assert max(len(event.active) for event in events) <= at_once
    assert sorted(event.path for event in events if event.kind == "ended" and event.path) == sorted(j.path for j in todo)


def test_a_child_that_does_not_save_in_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "GRACE", 0.0)
    stuck, quick = Stub(work.child, (Job(Path(), True),)), Stub(work.child, (Job(Path(), True),))
    quick.looks = 10
    sweep._stop([stuck, quick])
    assert stuck.said == ["terminate", "join", "kill"]
    assert quick.said == ["terminate", "join"]


# ------------------------------------------------------------------------------------------------------------ side by side


def test_however_many_run_at_once_the_weights_are_the_same(tmp_path: Path, rpe: tiny.Rpe) -> None:
    """With as many threads each: here one."""
    file = tiny.recipe_file(tmp_path, encoding="rope,learned")
    for jobs in (0, 1, 2):
        assert rpe("train", file, "--runs", tmp_path / str(jobs), "--jobs", jobs, "--device", "cpu").code == 0
    names = list(runs_of(tmp_path / "0"))
    assert len(names) == 2
    for jobs in (1, 2):
        assert [weights(runs_of(tmp_path / str(jobs))[name]) for name in names] == [
            weights(runs_of(tmp_path / "0")[name]) for name in names
        ]
    records = [run.read(path) for jobs in (0, 1, 2) for path in runs_of(tmp_path / str(jobs)).values()]
    assert {record["threads"] for record in records} == {1}


def test_what_a_child_says_is_in_its_log_and_not_on_the_screen(tmp_path: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(tmp_path)
    said = rpe("train", file, "--runs", tmp_path / "runs", "--jobs", 1, "--device", "cpu")
    (path,) = run.listing(tmp_path / "runs")[0]
    assert (path / "log.txt").read_text().count("train {'step'") == 4
    assert "train {" not in said.out + said.err
    assert f"[1/1] {path.name}  done" in said.out + said.err


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_run_that_another_command_works_on_is_left_alone(jobs: int, tmp_path: Path, rpe: tiny.Rpe) -> None:
    file = tiny.recipe_file(tmp_path, encoding="rope,none")
    path = tiny.create(tmp_path / "runs", encoding="none")
    run.update(path, status="training")
    before = (path / "run.json").read_bytes()
    with run.lock(path):
        said = rpe("train", file, "--runs", tmp_path / "runs", "--jobs", jobs, "--device", "cpu")
    assert said.code == 1
    assert f"{path.name}: another process works on it: wait for it, or stop it" in said.err
    assert (path / "run.json").read_bytes() == before
    assert run.read(runs_of(tmp_path / "runs")["rope-s0"])["status"] == "trained"


def test_a_trained_run_that_is_being_evaluated_stays_trained(tmp_path: Path) -> None:
    path = tiny.trained(tmp_path, steps=2)
    before = (path / "run.json").read_bytes()
    with run.lock(path):
        assert work.do(Job(path, train=False, request=EvalRequest(), device="cpu"), say=lambda _: None) == order.BUSY
    assert (path / "run.json").read_bytes() == before


def test_an_evaluation_that_fails_leaves_a_trained_run_trained(tmp_path: Path) -> None:
    path, said = tiny.trained(tmp_path, steps=2), list[str]()
    (path / "eval.jsonl").write_text("no\n")
    assert work.do(Job(path, train=False, request=EvalRequest(), device="cpu"), say=said.append) == order.FAILED
    assert run.read(path)["status"] == "trained"
    assert "eval.jsonl:1: damaged line" in run.read(path)["error"]
    assert "Traceback" in said[0]


def test_a_death_is_not_written_into_a_run_that_another_process_has_taken_up(tmp_path: Path) -> None:
    path = tiny.create(tmp_path)
    with run.lock(path):
        sweep._note_death(path, -9)
    assert run.read(path)["status"] == "created"
    sweep._note_death(path, -9)
    assert run.read(path)["status"] == "failed"


@pytest.mark.parametrize("code", [0, order.FAILED, order.BUSY, order.SAVED, order.INTERRUPTED])
def test_the_codes_of_an_orderly_end_change_no_record(code: int, tmp_path: Path) -> None:
    path = tiny.create(tmp_path)
    before = (path / "run.json").read_bytes()
    sweep._note_death(path, code)
    assert (path / "run.json").read_bytes() == before


def test_two_commands_at_once_share_the_work_of_a_folder(tmp_path: Path, rpe: tiny.Rpe) -> None:
    """Different recipes into one folder: neither disturbs the other."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, seed in ((one, 0), (two, 1)):
        folder.mkdir()
        tiny.recipe_file(folder, seed=seed)
    process = tiny.start("train", one / "mine.yaml", "--runs", tmp_path / "runs", "--jobs", 0, "--device", "cpu", cwd=tmp_path)
    assert rpe("train", two / "mine.yaml", "--runs", tmp_path / "runs", "--jobs", 1, "--device", "cpu").code == 0
    assert tiny.finish(process).code == 0
    assert [run.read(path)["status"] for path in run.listing(tmp_path / "runs")[0]] == ["trained", "trained"]


# -------------------------------------------------------------------------------------------------------------- the screen


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (125, "2:05"), (3600, "1:00:00"), (36061, "10:01:01")]
)
def test_times_are_written_as_on_a_clock(seconds: float, text: str) -> None:
    assert screen.clock(seconds) == text


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run that is done, one in the middle, one that has not begun."""
    runs = tmp_path_factory.mktemp("shown")
    done = tiny.trained(runs)
    half, new = (tiny.create(runs, seed=seed) for seed in (1, 2))
    lines = (done / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (half / "metrics.jsonl").write_bytes(b"".join(lines[:2]))
    return [done, half, new]


def events(paths: list[Path]) -> Iterator[sweep.Event]:
    done, half, new = paths
    for path in paths:
        yield sweep.Event("started", path)
    yield sweep.Event("tick", active=tuple(paths))
    yield sweep.Event("ended", done, 0)
    yield sweep.Event("ended", half, 75)
    yield sweep.Event("tick", active=(new,))
    yield sweep.Event("ended", new, 1)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_shows_every_run_and_how_it_ended(terminal: bool, shown: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "INTERVAL", -1.0)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    codes = screen.follow(events(shown), console, shown)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    done, half, new = shown
    assert codes == {done: 0, half: 75, new: 1}
    for line in (
        f"[1/3] {done.name}  done  acc 0.",
        f"[2/3] {half.name}  stopped  acc 0.",
        f"[3/3] {new.name}  FAILED: exit code 1",
    ):
        assert line in text
    assert ("\x1b[" in text) == terminal
    if not terminal:
        assert f"{done.name}  step 40/40  evaluating, 0 lengths done" in text
        assert f"{half.name}  step 20/40  loss " in text
        assert f"{new.name}  step 0/40  starting" in text


def test_between_starts_and_ends_a_pipe_is_told_little(shown: list[Path]) -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    screen.follow(events(shown), console, shown)
    assert len(console.file.getvalue().splitlines()) == 3  # type: ignore[attr-defined]


def test_progress_survives_a_run_that_is_deleted_meanwhile(shown: list[Path], tmp_path: Path) -> None:
    path = tiny.create(tmp_path)

    def vanish() -> Iterator[sweep.Event]:
        yield sweep.Event("started", path)
        shutil.rmtree(path)
        yield sweep.Event("tick", active=(path,))

    for terminal in (False, True):
        path = tiny.create(tmp_path)
        screen.follow(vanish(), Console(file=io.StringIO(), force_terminal=terminal), [path])


def test_a_table_is_markdown_in_a_pipe() -> None:
    table = Table(title="numbers")
    table.add_column("run")
    table.add_column("a", justify="right")
    table.add_row("one", "1")
    table.add_row("a | b", "10.5")
    assert screen.plain(table).splitlines() == [
        "**numbers**",
        "",
        "| run    |    a |",
        "| :----- | ---: |",
        "| one    |    1 |",
        r"| a \| b | 10.5 |",
    ]


def test_a_job_in_another_thread_is_done_too(tmp_path: Path) -> None:
    """A notebook, a server: no signals there."""
    path, codes = tiny.create(tmp_path, steps=3), list[Any]()
    worker = threading.Thread(target=lambda: codes.append(work.do(Job(path, True, device="cpu"), say=lambda _: None)))
    worker.start()
    worker.join()
    assert codes == [0]
