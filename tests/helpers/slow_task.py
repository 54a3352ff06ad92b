"""A task that takes its time, so that there is time to disturb a run, and what two sweeps of it have in common."""

import subprocess
from pathlib import Path
from typing import Any

from helpers import training as tiny
from rpecli.run.directory import Run, find_runs

SLOW = '''"""Copy, with a rest in every batch."""

import time

from rpecli import task


class Slow(task.Task):
    def __init__(self, *, symbols: int = 16):
        self.symbols = symbols

    def draw(self, rng, batch, length):
        time.sleep(0.1)
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN):
        return task.prompt_answer(x_BxN, x_BxN)
'''


def finish(process: "subprocess.Popen[str]") -> tiny.Result:
    """The end of a sweep, which takes minutes on a busy machine."""
    out, err = process.communicate(timeout=500)
    return tiny.Result(process.returncode, out, err)


def recipe_file(folder: Path, **keys: Any) -> Path:
    """A recipe of two encodings with two seeds; each run takes `steps` / 10 seconds."""
    (folder / "slow.py").write_text(SLOW)
    return tiny.recipe_file(folder, **{"task": folder / "slow.py", "encoding": "rope,none", "seed": "0:2", **keys})


def far(runs: Path, step: int) -> list[Run]:
    """The runs that have done so many steps and are at work."""
    ready = [run for run in find_runs(runs)[0] if (run.last_metrics() or {}).get("step", 0) >= step]
    return [run for run in ready if run.record["status"] == "training"]


def assert_equal_sweeps(folder: Path, file: Path) -> None:
    """The runs and the report `mine` in a folder are those of the same recipe that nobody disturbed, but for clocks."""
    alone = folder / "undisturbed"
    alone.mkdir()
    done = finish(tiny.start("run", file, "--jobs", 2, "--device", "cpu", "--no-reference", cwd=alone))
    assert done.code == 0, done
    runs = find_runs(folder / "runs")[0]
    assert [run.name for run in runs] == [run.name for run in find_runs(alone / "runs")[0]]
    for run in runs:
        other = Run(alone / "runs" / run.name)
        assert run.weights_file.read_bytes() == other.weights_file.read_bytes()
        assert tiny.metrics(run) == tiny.metrics(other)
        assert _without_clock(run.evaluations()) == _without_clock(other.evaluations())
    tables = _tables(folder)
    assert "summary.csv" in tables
    assert tables == _tables(alone)


def _without_clock(lines: list[Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def _tables(folder: Path) -> dict[str, str]:
    """The tables of the report; runs.csv has the time that each run took."""
    files = sorted((folder / "results" / "mine").glob("*.csv"))
    return {path.name: path.read_text() for path in files if path.name != "runs.csv"}
