"""Kills at random moments: of the process group, a child, the command, the server that forks, and of a report.

The same command again then ends with every run trained, byte for byte as if nothing had happened, with no process and no
temporary file left. RPE_KILLS=30 kills each target as often, at other moments every time.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import training as tiny

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


def ends_cleanly(process: "subprocess.Popen[str]", told: str) -> None:
    result = tiny.finish(process)
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
