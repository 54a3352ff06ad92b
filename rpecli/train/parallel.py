"""One run by several processes (data parallel): each computes its rows of every batch, and their gradients add up.

Every process draws the whole batch, which depends on the seed and the step alone, and takes every n-th row of it. Weights and
optimizer are the same everywhere; the first process validates, saves and records, and the others follow it. The processes are
those of `--nproc`, or those that torchrun started, on one machine or several.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rpecli import process
from rpecli.choice import split_switch
from rpecli.device import pick_device
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.train import loop
from rpecli.train.batches import TrainBatch
from rpecli.train.state import Trainer

STORE = "RPE_STORE"  # the file by which the processes of `--nproc` find each other
Others = Sequence[subprocess.Popen[bytes]]  # the processes after the first
LOOPBACK = {"linux": "lo", "darwin": "lo0"}  # the network interface of processes on one machine


class _Losses(nn.Module):
    """The losses of a batch as a forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, trainer: Trainer):
        super().__init__()
        self.model, self.device = trainer.model, trainer.device

    def forward(self, batch: TrainBatch) -> Tensor:
        return loop.answer_losses(self.model, batch, self.device)


class Share:
    """What one process computes of the steps of a trainer: every `size`-th row of a batch, from row `rank` on."""

    def __init__(self, trainer: Trainer):
        self.trainer, self.rank, self.size = trainer, dist.get_rank(), dist.get_world_size()
        switches = split_switch(trainer.config.encoding)[1] is not None  # then not every parameter takes part in every step
        self.program = DistributedDataParallel(_Losses(trainer), find_unused_parameters=switches)

    def backward(self, batch: TrainBatch) -> Tensor:
        """Leaves the gradients of the mean loss of the whole batch in the parameters, and returns that loss."""
        n_targets, n_rows = int(batch.examples.trained_mask_BxT.sum()), batch.shape[0]
        rows = slice(self.rank, None, self.size) if self.rank < n_rows else slice(0, 1)
        counts = float(self.rank < n_rows)  # without a row of its own, a process takes the first one and adds nothing
        share = self.program(_rows(batch, rows)).sum() * (counts / n_targets) + loop.penalty(self.trainer) / self.size
        (share * self.size).backward()  # DistributedDataParallel takes the mean over processes
        loss = share.detach().clone()
        dist.all_reduce(loss)
        self._merge_buffers()
        return loss

    def _merge_buffers(self) -> None:
        """Buffers that mark what a forward pass has touched hold what any process touched."""
        for buffer in self.trainer.model.buffers():
            if buffer.dtype == torch.bool:
                marks = buffer.to(torch.uint8)
                dist.all_reduce(marks, dist.ReduceOp.MAX)
                buffer.copy_(marks.bool())

    def any(self, flag: object) -> bool:
        """Whether the flag is set in any process."""
        flags = torch.tensor(float(bool(flag)), device=self.trainer.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)


def _rows(batch: TrainBatch, rows: slice) -> TrainBatch:
    """Some sequences of a batch."""
    examples = replace(
        batch.examples, **{name: array[rows] for name, array in vars(batch.examples).items() if getattr(array, "ndim", 0)}
    )
    positions = batch.positions
    if positions is not None and positions.shape[-2] == batch.shape[0]:  # [(layers,) B or 1, T]
        positions = positions[..., rows, :]
    return replace(batch, examples=examples, positions=positions)


def device_here(name: str) -> torch.device:
    """The device of this process: of several GPUs, its own."""
    device = pick_device(name)
    if device.type == "cuda" and device.index is None and process.size() > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", process.rank())) % torch.cuda.device_count())
    return device


@contextmanager
def processes(run: Run, device: str, nproc: int) -> Iterator[None]:
    """Within, `nproc` processes work on a run, of which this one is the first; those of torchrun, where it started this one."""
    if process.size() > 1:
        with _joined(device):
            yield
    elif nproc == 1:
        yield
    else:
        with (
            tempfile.TemporaryDirectory() as folder,
            _environment(nproc, Path(folder)),
            _others(run, device, nproc) as others,
            _joined(device, others),
        ):
            yield


@contextmanager
def _environment(nproc: int, folder: Path) -> Iterator[None]:
    """Within, the variables by which processes of one machine find each other."""
    interface = os.environ.get("GLOO_SOCKET_IFNAME", LOOPBACK.get(sys.platform, ""))
    values = {"RANK": "0", "WORLD_SIZE": str(nproc), STORE: str(folder / "store"), "GLOO_SOCKET_IFNAME": interface}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def _others(run: Run, device: str, nproc: int) -> Iterator[Others]:
    """Within, the processes after the first live."""
    command = process.python_command(__name__, str(run), device)
    others = list[subprocess.Popen[bytes]]()
    try:
        for rank in range(1, nproc):
            others.append(subprocess.Popen(command, env=os.environ | {"RANK": str(rank)}, stdin=subprocess.DEVNULL))
        yield others
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextmanager
def _joined(device: str, others: Others = ()) -> Iterator[None]:
    """Within, this process is one of those of the run; entered once all are here. Raises RunError where another has ended."""
    where = device_here(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    store = os.environ.get(STORE)
    address: dict[str, Any] = {"init_method": f"file://{store}"} if store else {}
    backend = "nccl" if where.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, rank=process.rank(), world_size=process.size(), **address)
        yield
    except RuntimeError as error:
        _tell_of_ended(others, error)  # while this one is still connected: the others end when it leaves
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _tell_of_ended(others: Others, error: RuntimeError) -> None:
    """Raises RunError if one of the other processes has ended, which may be what the error of this one comes from."""
    time.sleep(1.0 if others else 0.0)  # the connection is lost before the process has ended
    for number, other in enumerate(others, 2):
        if other.poll() is not None:
            why = "killed, out of memory perhaps" if (other.returncode or 0) < 0 else "see the log"
            raise RunError(f"process {number} of {len(others) + 1} ended ({why}): start the same command again") from error


def follow(run: Run, device: str) -> NoReturn:
    """The part of every process but the first: its share of each step until the first one ends the run, then the process ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process decides when all stop
        signal.signal(number, signal.SIG_IGN)
    with _joined(device):
        config = run.config
        torch.set_num_threads(config.threads)
        trainer = loop.new_or_loaded(run, device_here(device))
        trainer.share = Share(trainer)
        while trainer.step < config.steps:
            loop.step(trainer)
            if loop.should_validate(trainer):
                trainer.losses.clear()
                if trainer.share.any(False):
                    break
            if trainer.share.any(False):
                break
    os._exit(0)  # not through Python's shutdown: a thread of gloo may hold the last tensor, and freeing it then aborts


def main() -> None:
    """A process that `processes` starts: `parallel RUN DEVICE`."""
    process.die_with_parent(signal.SIGKILL)
    follow(Run(Path(sys.argv[1])), sys.argv[2])
