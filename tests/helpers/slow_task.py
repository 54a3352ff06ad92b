"""A task that takes its time, so that there is time to disturb a run, and what two sweeps of it have in common."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from helpers import training as tiny
from rpecli.run import lr_search
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


def paper_file(folder: Path, **keys: Any) -> Path:
    """A paper of two cells, of the same size, with lengths from 1 to 6."""
    (folder / "slow.py").write_text(SLOW)
    protocol = {key: value for key, value in tiny.KEYS.items() if key not in ("task", "encoding", "lengths")}
    paper = {
        "title": "A made-up paper", "source": "nowhere", "summary": "copying", "bins": [[1, 2], [3, 6]],
        "protocol": protocol | keys, "tasks": {"copy": {"task": "slow.py"}},
        "arms": {name: {"encoding": name} for name in ("rope", "none")},
        "cells": [{"task": "copy", "arm": name, "size": "1/2/16", "seeds": [[0.5, 0.5]], "file": "a.txt"}
                  for name in ("rope", "none")],
    }  # fmt: skip
    path = folder / "paper.yaml"
    path.write_text(yaml.safe_dump(paper))
    return path


def undisturbed(folder: Path, *words: Any) -> tiny.Result:
    """The same command in a folder of its own, on this machine, which nobody disturbs."""
    alone = folder / "undisturbed"
    alone.mkdir(exist_ok=True)
    result = finish(tiny.start(*words, "--jobs", 2, "--device", "cpu", cwd=alone))
    assert result.code == 0, result
    return result


def assert_equal_runs(folder: Path, runs: Path) -> None:
    """The runs of a folder are those that were made undisturbed beside it, but for clocks."""
    names = [run.name for run in find_runs(folder / runs)[0]]
    assert names
    assert names == [run.name for run in find_runs(folder / "undisturbed" / runs)[0]]
    for run, other in ((Run(folder / runs / name), Run(folder / "undisturbed" / runs / name)) for name in names):
        assert run.weights_file.read_bytes() == other.weights_file.read_bytes()
        assert tiny.metrics(run) == tiny.metrics(other)
        assert _without_clock(run.evaluations()) == _without_clock(other.evaluations())
        assert _without_clock(run.probes()) == _without_clock(other.probes())
        assert run.record.get("lr_search") == other.record.get("lr_search")


def assert_equal_sweeps(folder: Path, file: Path) -> None:
    """The runs and the report `mine` in a folder are those of the same recipe that nobody disturbed, but for clocks."""
    undisturbed(folder, "run", file, "--no-reference")
    assert_equal_runs(folder, Path("runs"))
    if (folder / "runs" / lr_search.FOLDER).exists():
        assert_equal_runs(folder, Path("runs") / lr_search.FOLDER)
    tables = _tables(folder)
    assert "summary.csv" in tables
    assert tables == _tables(folder / "undisturbed")


def _without_clock(lines: list[Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def _tables(folder: Path) -> dict[str, str]:
    """The tables of the report; runs.csv has the time that each run took."""
    files = sorted((folder / "results" / "mine").glob("*.csv"))
    return {path.name: path.read_text() for path in files if path.name != "runs.csv"}
