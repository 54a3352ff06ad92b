"""Kills at random moments: of the process group, a child, the command, the server that forks, and of a report.

The same command again then ends with every run trained, byte for byte as if nothing had happened, with no process and no
temporary file left. RPE_KILLS=30 kills each target as often, at other moments every time.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import training as tiny

from rpecli import catalog, container, device
from rpecli.launch.job import Ending
from rpecli.run.directory import find_runs

KILLS = int(os.environ.get("RPE_KILLS", 0))
MOMENTS = random.Random(None if KILLS else 3)
KILLS_PER_SWEEP = 5
WINDOW = 6.0  # seconds in which a kill falls: the imports, and most of the work
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
CODES = {0, 1, 75, 130, -signal.SIGKILL}
SLOW = '''"""Copy, with a rest in every batch: a sweep that takes seconds and little of the processor."""

import time

from rpecli import task


class Slow(task.Task):
    def __init__(self, *, symbols: int = 16):
        self.symbols = symbols

    def draw(self, rng, batch, length):
        time.sleep(0.02)
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN):
        return task.prompt_answer(x_BxN, x_BxN)
'''


def processes(session: int) -> dict[int, int]:
    """The living processes of a session, and the parent of each."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(number) == session and state != "Z":
            parents[int(entry.name)] = int(parent)
    return parents


def has_handlers(pid: int) -> bool:
    """Whether a process has passed the start of Python, where nobody can answer a signal."""
    try:
        status = (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return True
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def wait_until(condition: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:  # type: ignore[operator]
        time.sleep(0.02)


def victim(command: int, target: str) -> int | None:
    """The process to kill; None while there is none of its kind."""
    parents = processes(command)
    servers = [pid for pid, parent in parents.items() if parent == command]
    children = [pid for pid, parent in parents.items() if parent in servers]
    return {"server": next(iter(servers), None), "child": MOMENTS.choice(children) if children else None}.get(target, command)


def disturb(process: "subprocess.Popen[str]", target: str, number: signal.Signals) -> None:
    """Sends a signal at a random moment, if the command has not ended before."""
    wait_until(lambda: process.poll() is not None or has_handlers(process.pid))
    time.sleep(MOMENTS.uniform(0, WINDOW))
    wait_until(lambda: process.poll() is not None or victim(process.pid, target))
    pid = victim(process.pid, target)
    if process.poll() is None and pid is not None:
        try:
            (os.killpg if target == "group" else os.kill)(pid, number)
        except ProcessLookupError:
            return


def _finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=600)  # by hand it runs beside much else
    return process.returncode, out, err


def ends_cleanly(process: "subprocess.Popen[str]", told: str) -> None:
    result = tiny.Result(*_finish(process))
    assert result.code in CODES, (told, result)
    assert "Traceback" not in result.err + result.out, (told, result)
    wait_until(lambda: not processes(process.pid), 30)
    assert not processes(process.pid), f"{told} leaves a process"


def sweeps(kills: int) -> Iterator[int]:
    """Numbers of kills, one sweep each."""
    while kills > 0:
        yield min(kills, KILLS_PER_SWEEP)
        kills -= KILLS_PER_SWEEP


@pytest.mark.parametrize("target", ["group", "child", "command", "server"])
def test_a_sweep_that_is_killed_at_any_moment_ends_as_if_it_had_not_been(target: str, tmp_path: Path, rpe: tiny.Rpe) -> None:
    for sweep, kills in enumerate(sweeps(KILLS or 1)):
        folder = tmp_path / str(sweep)
        folder.mkdir()
        (folder / "slow.py").write_text(SLOW)
        file = tiny.recipe_file(folder, task=folder / "slow.py", seed="0:3")
        arguments = ("train", file, "--runs", folder / "runs", "--device", "cpu", "--jobs")
        for _ in range(kills):
            number = MOMENTS.choice(SIGNALS)
            process = tiny.start(*arguments, 2, cwd=folder)
            disturb(process, target, number)
            ends_cleanly(process, f"{number.name} to the {target}")
        assert rpe(*arguments, 2).code == 0
        runs, problems = find_runs(folder / "runs")
        assert (len(runs), problems) == (3, [])
        for run in runs:
            assert (run.record["status"], run.record["error"]) == ("trained", None)
            same = tiny.trained_run(folder / "undisturbed", task=str(folder / "slow.py"), seed=run.config.seed)
            assert run.weights_file.read_bytes() == same.weights_file.read_bytes()
            assert tiny.metrics(run) == tiny.metrics(same)
        assert not list(folder.rglob("*.tmp"))


def test_a_report_that_is_killed_at_any_moment_changes_no_run_and_is_written_the_next_time(
    tmp_path: Path, evaluated: Path, rpe: tiny.Rpe
) -> None:
    before = {file: file.read_bytes() for file in evaluated.rglob("*") if file.is_file()}
    arguments = ("report", "--runs", evaluated, "--out", tmp_path / "results")
    for _ in range(KILLS or 1):
        number = MOMENTS.choice(SIGNALS)
        process = tiny.start(*arguments, cwd=tmp_path)
        disturb(process, "group", number)
        ends_cleanly(process, f"{number.name} to a report")
    assert rpe(*arguments).code == 0
    assert {file: file.read_bytes() for file in evaluated.rglob("*") if file.is_file()} == before
    assert not list(tmp_path.rglob("*.tmp"))


TINY = ("--task", "copy", "--steps", 3, "--length", 4, "--d-model", 16, "--n-layer", 1, "--n-head", 2)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("n-layer", 999_999_999, "d-model"),
        ("d-model", 99_999_998, "d-model"),
        ("length", 999_999_999, "length"),
        ("tokens", 999_999_999, "d-model"),
        ("mlp-ratio", 999_999_999, "d-model"),
    ],
)
def test_a_model_that_cannot_fit_is_refused_before_anything_of_its_size_is_made(
    key: str, value: int, place: str, tmp_path: Path, rpe: tiny.Rpe
) -> None:
    flags = list(TINY)
    flags = [*flags, f"--{key}", value] if f"--{key}" not in flags else flags
    if f"--{key}" in TINY:
        flags[flags.index(f"--{key}") + 1] = value
    for encoding in ("rope", "learned"):
        result = rpe("train", *flags, "--encoding", encoding, "--runs", tmp_path / "runs", "--jobs", 0)
        assert result.code == 2, result
        assert "GiB" in result.err, result
        assert "lower d_model, n_layer, length or tokens" in result.err
    assert not (tmp_path / "runs").exists()


def test_evaluation_sets_and_shifts_that_cannot_fit_are_refused(
    evaluated: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rpecli.device.available_memory", lambda: 1 << 30)
    many = ("--samples", 999_999_999, "--eval-tokens", 999_999_999)
    for arguments, word in ((("eval", *many), "--samples"), (("inspect", *many), "--samples"),
                            (("inspect", "--shift", "--shifts", 999_999_999), "--shifts")):  # fmt: skip
        result = rpe(*arguments, "--runs", evaluated, "--device", "cpu")
        is_reason = "GiB" in result.err or "takes many hours" in result.err
        assert (result.code, is_reason, word in result.err) == (2, True, True), result


@pytest.mark.parametrize("name", ["tpu", "cpu:9", "cpu:x", "cuda:99", "", "CPU"])
def test_a_device_that_is_not_there_is_an_error_of_usage_for_every_command(
    name: str, tmp_path: Path, evaluated: Path, rpe: tiny.Rpe
) -> None:
    for command in (("train", *TINY), ("run", "quick"), ("eval", "--runs", evaluated), ("inspect", "--runs", evaluated),
                    ("bench", "--out", tmp_path / "bench")):  # fmt: skip
        result = rpe(*command, "--device", name)
        assert (result.code, result.err.count("\n")) == (2, 1), (command, result)
        assert f"no device {name!r} here: write " in result.err
    assert not list(tmp_path.iterdir())


def test_workers_import_nothing_from_the_working_folder(tmp_path: Path) -> None:
    for name in ("random", "types", "torch", "copy", "numpy", "seed", "table", "rpecli", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemError('imported from the working folder')\n")
    (tmp_path / ("x" * 90)).mkdir()  # a socket in a folder with a longer name could not be bound
    command = [sys.executable, "-P", "-c", "from rpecli.__main__ import main; main()", "train", *map(str, TINY), "--jobs", "1"]
    env = os.environ | {"PYTHONPATH": str(catalog.PACKAGE.parent), "TMPDIR": str(tmp_path / ("x" * 90))}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "working folder" not in done.stdout + done.stderr


def test_a_deleted_run_costs_that_run_alone(tmp_path: Path, rpe: tiny.Rpe) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    file = tiny.recipe_file(tmp_path, task=tmp_path / "slow.py", seed="0:2")
    process = tiny.start("train", file, "--runs", tmp_path / "runs", "--device", "cpu", "--jobs", 2, cwd=tmp_path)
    wait_until(lambda: len(list((tmp_path / "runs").glob("*/metrics.jsonl"))) == 2)
    gone = min((tmp_path / "runs").iterdir())
    shutil.rmtree(gone, ignore_errors=True)
    result = tiny.finish(process)
    assert result.code == 1, result
    assert "Traceback" not in result.err
    assert f"{gone.name}  FAILED: " in result.err
    assert [run.record["status"] for run in find_runs(tmp_path / "runs")[0] if run.path != gone] == ["trained"]


def test_a_finished_sweep_is_not_started_again(tmp_path: Path, rpe: tiny.Rpe, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiny.recipe_file(tmp_path, seed="0:2")
    arguments = ("run", file, "--runs", tmp_path / "runs", "--out", tmp_path / "results", "--device", "cpu")
    assert rpe(*arguments, "--jobs", 0).code == 0
    started: list[object] = []
    monkeypatch.setattr("rpecli.launch.worker.run_job", lambda job, say: started.append(job.run.name) or Ending())
    assert rpe(*arguments, "--jobs", 0).code == 0
    assert started == []
    changed, same = find_runs(tmp_path / "runs")[0]
    changed.evaluations_file.write_bytes(b"")
    rpe(*arguments, "--jobs", 0)
    assert started == [changed.name]
    started.clear()
    rpe(*arguments, "--jobs", 0, "--samples", 33)
    assert sorted(started) == sorted([changed.name, same.name])


def test_the_limits_of_control_groups_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = tmp_path / "job" / "step", tmp_path / "memory" / "job"
    new.mkdir(parents=True)
    old.mkdir(parents=True)
    (tmp_path / "cpu,cpuacct" / "job").mkdir(parents=True)
    (tmp_path / "groups").write_text("4:memory:/job\n3:cpu,cpuacct:/job\n0::/job/step\n")
    monkeypatch.setattr(container, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(container, "TREE", tmp_path)
    assert (container.memory_limits(), container.cpu_quota()) == ([], None)
    (new / "memory.max").write_text("max\n")
    (new / "memory.current").write_text("5\n")
    (new.parent / "memory.max").write_text("1000\n")
    (new.parent / "memory.current").write_text("700\n")
    (new.parent / "memory.stat").write_text("anon 100\ninactive_file 200\n")
    (old / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    (old / "memory.usage_in_bytes").write_text("7\n")
    (new.parent / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us").write_text("300000\n")
    (tmp_path / "cpu,cpuacct" / "job" / "cpu.cfs_period_us").write_text("100000\n")
    assert container.memory_limits() == [(1000, 500)]
    assert container.cpu_quota() == 1.5
    assert (device.available_memory(), device.total_memory(), device.n_cores()) == (500, 1000, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_end_of_a_command_does_not_change_its_exit_code(number: signal.Signals) -> None:
    late = f"import atexit, os; atexit.register(os.kill, os.getpid(), {int(number)})"
    code = f"{late}; from rpecli.__main__ import main; main()"
    ended = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (None, 1)])
def test_a_signal_that_a_module_makes_an_import_error_of_is_a_signal(number: int | None, code: int, tmp_path: Path) -> None:
    raises = "    raise ImportError('initialization failed')\n"
    sent = f"import os\ntry:\n    os.kill(os.getpid(), {int(number)})\nexcept BaseException:\n" if number else "if True:\n"
    (tmp_path / "torch.py").write_text(sent + raises)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    words = [sys.executable, "-m", "rpecli", "train", "--encoding", "rope"]
    ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, number is None)


def test_a_command_with_closed_streams_does_its_work(tmp_path: Path) -> None:
    def ends(*words: str) -> int:
        command = [sys.executable, "-m", "rpecli", *words]
        return subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], cwd=tmp_path, timeout=600).returncode

    assert ends("new", "task", "mine") == 0
    assert (tmp_path / "mine.py").exists()
    assert ends("ls", "nothing") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["install", "ignore"])
def test_a_signal_at_the_first_or_the_last_moment_of_a_command_has_its_answer(moment: str, number: signal.Signals) -> None:
    code = f"""
import os, sys
from rpecli import __main__, signals
{moment} = signals.{moment}
def hit():
    signals.{moment} = {moment}
    if "{moment}" == "install":
        install()
    os.kill(os.getpid(), {int(number)})
    if "{moment}" == "ignore":
        ignore()
signals.{moment} = hit
sys.argv = ["rpe", "--version"]
__main__.main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    expected = (130, "interrupted\n") if number == signal.SIGINT else (75, "stopped by SIGTERM\n")
    assert (result.returncode, result.stderr) == expected
