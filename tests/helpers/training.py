"""What tests of training and of the command share: a recipe of milliseconds, the command in this process, a trap."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from rpecli import catalog
from rpecli.cli import app as cli
from rpecli.config.recipe import Config
from rpecli.run.directory import Run
from rpecli.train import loop as train
from rpecli.train.state import Trainer, build_trainer

KEYS: dict[str, Any] = {"task": "copy", "encoding": "rope", "d_model": 16, "n_head": 2, "n_layer": 1, "length": 4, "steps": 40,
                        "tokens": 128, "curriculum": 0.0, "validate_every": 10, "warmup": 5, "samples": 32,
                        "lengths": "1x,2x"}  # fmt: skip

TRAP = '''"""Copy; at a training batch that the file `trap` beside this one names, it does what that file says."""

import os
import signal
import time
from pathlib import Path

from rpecli import task
from rpecli.train import loop as train
from rpecli.train.state import Trainer, build_trainer

TRAP = Path(__file__).with_name("trap")


class Trapped(task.Task):
    def __init__(self, *, symbols: int = 16):
        self.symbols, self.batches = symbols, 0

    def draw(self, rng, batch, length):
        if batch not in (1, 32, 64):  # one: to measure a sequence; 32 and 64: evaluation and validation
            self.batches += 1
            if TRAP.exists():
                train.SAVE_SECONDS, (number, action) = SAVE_SECONDS, TRAP.read_text().split()
                if self.batches == int(number):
                    spring(action)
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN):
        return task.prompt_answer(x_BxN, x_BxN)


def spring(action):
    if action == "wait":
        return wait()
    TRAP.unlink()
    if action == "raise":
        raise ValueError("the trap")
    if action == "exit":
        os._exit(3)
    os.kill(os.getpid(), getattr(signal, action))


def wait():
    """Until a signal comes; then it is passed on to whoever listened before."""
    got = []
    old = {number: signal.signal(number, lambda n, _: got.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    TRAP.with_name(f"reached-{os.getpid()}").touch()
    until = time.monotonic() + 60
    while not got and time.monotonic() < until:
        time.sleep(0.01)
    for number, handler in old.items():
        signal.signal(number, handler)
    for number in got:
        os.kill(os.getpid(), number)
'''


@dataclass(frozen=True)
class Trap:
    """A task of the user's own, and the file that arms it."""

    task: Path

    def arm(self, batch: int, action: str) -> None:
        self.task.with_name("trap").write_text(f"{batch} {action}")

    def disarm(self) -> None:
        self.task.with_name("trap").unlink()

    def reached(self, number: int = 1) -> list[int]:
        """Waits until that many processes sit in the trap and returns their ids."""
        for _ in range(3000):
            pids = [int(path.name.partition("-")[2]) for path in self.task.parent.glob("reached-*")]
            if len(pids) >= number:
                return pids
            time.sleep(0.02)
        raise TimeoutError("no process came to the trap")


def trap_in(folder: Path, save_seconds: float = 0) -> Trap:
    """A trap whose process saves every `save_seconds` while it is armed."""
    path = folder / "trapped.py"
    text = TRAP.replace("TRAP = Path", f"SAVE_SECONDS = {save_seconds}\nTRAP = Path")
    path.write_text(text.replace("__file__", repr(str(path))))  # a run has a copy of this file: the trap stays here
    return Trap(path)


def config(**keys: Any) -> Config:
    return Config.from_keys(**KEYS | keys)


def trainer(**keys: Any) -> Trainer:
    """A model and its optimizer before the first step, on the CPU."""
    return build_trainer(config(**keys), torch.device("cpu"))


def new_run(folder: Path, **keys: Any) -> Run:
    """A run that was created and not trained."""
    return Run.create(config(**keys), folder)


def trained_run(folder: Path, **keys: Any) -> Run:
    run = new_run(folder, **keys)
    train.train(run, "cpu")
    return run


def recipe_file(folder: Path, **keys: Any) -> Path:
    """A recipe with the tiny keys and these on top."""
    lines = [f"{key}: {value}" for key, value in (KEYS | keys).items()]
    path = folder / "mine.yaml"
    path.write_text("# A tiny one.\n" + "\n".join(lines) + "\n")
    return path


@dataclass(frozen=True)
class Result:
    """The exit code, the output and the messages of a command."""

    code: int
    out: str
    err: str


class Rpe:
    """`rpe("train", "--seed", 3)`: the command in this process, from its entry point on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: Any) -> Result:
        self.monkeypatch.setattr(sys, "argv", ["rpe", *map(str, arguments)])
        self.capsys.readouterr()
        code: Any = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        captured = self.capsys.readouterr()
        return Result(code, captured.out, captured.err)


def start(*arguments: Any, cwd: Path, **keys: Any) -> "subprocess.Popen[str]":
    """The command in a process (and process group) of its own."""
    env = os.environ | {"PYTHONPATH": str(catalog.PACKAGE.parent), "OMP_NUM_THREADS": "1"} | keys.pop("env", {})
    command = [sys.executable, "-m", "rpecli", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **keys
    )


def finish(process: "subprocess.Popen[str]") -> Result:
    out, err = process.communicate(timeout=100)
    return Result(process.returncode, out, err)


def metrics(run: Run) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock says."""
    return [{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics()]
