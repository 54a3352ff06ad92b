"""Several processes that train one run end within float tolerance of one process with the same batches."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import slow_task
from helpers import training as tiny

from rpecli import catalog, tensor_file
from rpecli.run.directory import Run, find_runs
from rpecli.train import loop, parallel
from rpecli.train.batches import TrainBatch, draw_batch

TOLERANCE = 2e-4  # of weights after 40 steps; the order of a sum differs, and AdamW divides by what is nearly 0
# the shapes that a share can have: fewer rows than processes, positions per row, buffers that a forward pass marks, a switch
KEYS = {
    "rope": {},
    "learned-offset": {"encoding": "learned", "positions": "offset", "max_position": 32},
    "switch": {"encoding": "rope:then=none", "switch_fraction": 0.5},
    "few-rows": {"tokens": 8},
    "penalty": {"encoding": "learned", "position_penalty": 0.01},
    "encoder": {"attention": "bidirectional", "encoding": "t5"},
    "mixed": {"batch_lengths": "mixed"},
}


def weights(run: Run) -> dict[str, torch.Tensor]:
    return tensor_file.read(run.weights_file, "")


def assert_close(run: Run, other: Run) -> None:
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=TOLERANCE, rtol=0, msg=name)
    for line, expected in zip(tiny.metrics(run), tiny.metrics(other), strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], abs=1e-3)
        assert line["tokens"] == expected["tokens"]


@pytest.mark.parametrize("name", ["learned-offset", "switch", "encoder", "penalty"])
def test_two_processes_end_as_one(name: str, tmp_path: Path) -> None:
    run = tiny.new_run(tmp_path / "two", **KEYS[name])
    record = loop.train(run, "cpu", nproc=2)
    assert (record["status"], record["processes"]) == ("trained", 2)
    assert "WORLD_SIZE" not in os.environ
    assert_close(run, tiny.trained_run(tmp_path / "one", **KEYS[name]))


@pytest.mark.parametrize("name", KEYS)
def test_the_shares_of_a_batch_are_its_rows_each_once(name: str) -> None:
    trainer = tiny.trainer(**KEYS[name])
    batch = draw_batch(trainer, 3)
    parts = [parallel._rows(batch, slice(rank, None, 3)) for rank in range(3)]
    whole = loop.answer_losses(trainer.model, batch, trainer.device).sum()
    shares = [loop.answer_losses(trainer.model, part, trainer.device).sum() for part in parts if part.shape[0]]
    torch.testing.assert_close(torch.stack(shares).sum(), whole)
    assert sum(part.shape[0] for part in parts) == batch.shape[0]


class Draws:
    """A share that computes nothing, and notes which random numbers follow in its step."""

    def __init__(self, rank: int):
        self.rank, self.numbers = rank, list[float]()

    def backward(self, batch: TrainBatch) -> torch.Tensor:
        self.numbers = torch.rand(4).tolist()
        return torch.zeros(())


def draws(step: int, rank: int | None) -> list[float]:
    """The random numbers from which a process drops units in a step; without a rank, it trains alone."""
    trainer, share = tiny.trainer(dropout=0.5), Draws(rank or 0)
    trainer.step = step
    if rank is not None:
        trainer.share = share  # type: ignore[assignment]
        loop.step(trainer)
        return share.numbers
    loop.seed_dropout(trainer.config, step, 0)
    return torch.rand(4).tolist()


def test_processes_that_train_a_run_together_drop_other_units_each_and_the_first_those_of_one_alone() -> None:
    assert draws(3, 0) == draws(3, None)
    assert draws(3, 1) == draws(3, 1)
    every = [draws(step, rank) for step in (3, 4) for rank in (0, 1, 2)]
    assert len({tuple(numbers) for numbers in every}) == 6


def test_a_process_that_is_killed_fails_the_run_which_then_goes_on(tmp_path: Path) -> None:
    trap = tiny.trap_in(tmp_path)
    file = tiny.recipe_file(tmp_path, task=trap.task)
    words = ("train", file, "--runs", tmp_path / "runs", "--device", "cpu", "--jobs", 1, "--nproc", 2)
    trap.arm(25, "SIGKILL")
    killed = tiny.finish(tiny.start(*words, cwd=tmp_path))
    assert killed.code == 1
    assert "Traceback" not in killed.err + killed.out
    assert "ended" in killed.err
    assert tiny.finish(tiny.start(*words, cwd=tmp_path)).code == 0


def test_an_error_of_the_first_process_is_told_as_its_own(tmp_path: Path) -> None:
    """The others lose their connection and end too, which is not its cause."""

    def fail(_: object) -> None:
        raise RuntimeError("of the first")

    with pytest.raises(RuntimeError, match=r"^of the first$"):
        loop.train(tiny.new_run(tmp_path), "cpu", fail, nproc=2)


def torchrun(folder: Path, *words: object) -> tiny.Result:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
    ]
    command += ["127.0.0.1:0", "--local-addr", "127.0.0.1", "-m", "rpecli", *map(str, words)]
    env = os.environ | {"PYTHONPATH": str(catalog.PACKAGE.parent), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    return tiny.Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="names Linux's loopback interface")
def test_torchrun_trains_one_run_and_refuses_more(tmp_path: Path) -> None:
    file = tiny.recipe_file(tmp_path)
    result = torchrun(tmp_path, "train", file, "--device", "cpu")
    assert result.code == 0, result
    (run,) = find_runs(tmp_path / "runs")[0]
    assert (run.record["status"], run.record["processes"]) == ("trained", 2)
    assert_close(run, tiny.trained_run(tmp_path / "alone"))
    assert torchrun(tmp_path, "work", run, "--device", "cpu").code == 0
    assert [line["length"] for line in run.evaluations()] == [4, 8]
    refused = torchrun(tmp_path, "train", file, "--seed", "0:2")
    assert (refused.code == 0, "under torchrun a command trains one run, and these are 2" in refused.err) == (False, True)


def test_sigterm_stops_all_processes_at_one_step_and_one_process_goes_on(tmp_path: Path) -> None:
    file = slow_task.recipe_file(tmp_path, encoding="rope", seed=0)
    words = ("train", file, "--device", "cpu", "--jobs", 1)
    process = tiny.start(*words, "--nproc", 2, cwd=tmp_path)
    until = time.monotonic() + 90
    while not slow_task.far(tmp_path / "runs", 10):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    result = tiny.finish(process)
    (run,) = find_runs(tmp_path / "runs")[0]
    assert (result.code, run.record["status"], run.record["processes"]) == (75, "stopped", 2), result
    assert 10 <= run.record["step"] < 40
    assert tiny.finish(tiny.start(*words, cwd=tmp_path)).code == 0
    assert (run.record["status"], run.record["processes"]) == ("trained", 1)
    assert_close(run, tiny.trained_run(tmp_path / "alone", task=str(tmp_path / "slow.py")))
