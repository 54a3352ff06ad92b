"""Stacked runs: runs that differ in seed, data seed or learning rate alone take their steps as one batched program.

A small model keeps a GPU waiting for the next launch; a stack launches once for all of its runs. Everything else stays a run's
own: data, initial values, optimizer state, gradient norm, metrics, checkpoint, directory. What is on disk is what `train` leaves,
so a run that was stopped in a stack goes on alone, and the other way round; it ends within float tolerance of the run alone.

In a step every run draws a batch of its own length, so batches are padded to the largest of those that go together: behind the
last token, where causal attention makes nothing of it (attention in both directions is told), and in places that do not count.
Runs are sorted by length and cut into several programs where padding would cost more than another launch.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from rpecli import data
from rpecli.choice import split_switch
from rpecli.config.recipe import Config
from rpecli.device import n_cores, pick_device, stop_signals
from rpecli.run.directory import Run, Status, Stopped
from rpecli.run.files import RunError
from rpecli.task import Batch
from rpecli.train import loop as train
from rpecli.train import state as train_state
from rpecli.train.loop import Diverged, TrainingSession
from rpecli.train.state import Trainer, checkpoint_step

LAUNCH = {"cuda": 2e10, "cpu": 1e8}  # token x parameter products that one more program costs; CPU measured, CUDA guessed
Progress = Callable[[Run, dict[str, Any]], None]  # a run and what there is to say of it


class NotStackable(ValueError):  # noqa: N818 - what it says, not a mistake in the code
    """Runs that cannot train together, and why."""


class Stack:
    """Runs at the same step. Their parameters are the rows of one tensor, and their models keep views of it."""

    def __init__(self, trainers: list[Trainer]):
        self.trainers, self.config, self.device = trainers, trainers[0].config, trainers[0].device
        self.program = _Losses(trainers[0].model)
        self.shapes = [p.shape for p in trainers[0].model.parameters()]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.flat_KxP = torch.stack([parameters_to_vector(t.model.parameters()).detach() for t in trainers]).requires_grad_()
        self.rows = [nn.Parameter(row_P) for row_P in self.flat_KxP.detach()]  # the same storage, a row each
        for trainer, row_P in zip(trainers, self.rows, strict=True):
            vector_to_parameters(row_P.detach(), trainer.model.parameters())
        rates = {trainer.config.lr: trainer.config for trainer in trainers}
        groups = [[row_P for t, row_P in zip(trainers, self.rows, strict=True) if t.config.lr == lr] for lr in rates]
        self.optimizer = train_state.adamw([{"params": group} for group in groups], self.config)
        self.rates = list(rates.values())  # a config of each group
        for trainer, row_P in zip(trainers, self.rows, strict=True):
            self._take(trainer, row_P)
        self.buffers = self._shared_buffers()
        index = {id(p): n for n, p in enumerate(trainers[0].model.parameters())}
        self.places = [(name, index[id(p)]) for name, p in _own(trainers[0].model, "_parameters")]

    def step(self) -> None:
        """A step of every run: forward and backward together, a norm, a rate and an AdamW state each."""
        self.backward()
        grad_KxP = self.flat_KxP.grad
        assert grad_KxP is not None
        norm_K = torch.linalg.vector_norm(grad_KxP, dim=1)
        grad_KxP *= (self.config.clip / (norm_K + 1e-6)).clamp(max=1.0)[:, None]  # as clip_grad_norm_ does, a run each
        for row_P, grad_P in zip(self.rows, grad_KxP, strict=True):
            row_P.grad = grad_P
        for group, config in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = train.learning_rate(config, self.trainers[0].step)
        self.optimizer.step()
        for trainer in self.trainers:
            trainer.step += 1
        self.flat_KxP.grad = None

    def backward(self) -> None:
        """Draws every run's batch and leaves the gradients in `flat_KxP.grad`; losses and tokens are counted."""
        drawn = [_draw(trainer) for trainer in self.trainers]
        shapes = [each.framed.inputs_BxT.shape for each in drawn]
        for chosen in cut(shapes, LAUNCH.get(self.device.type, 0.0) / self.flat_KxP.shape[1]):
            loss_C = self._losses(chosen, [drawn[k] for k in chosen])
            loss_C.sum().backward()
            for k, loss in zip(chosen, loss_C.detach().unbind(), strict=True):
                self.trainers[k].losses.append(loss)
        for trainer, each in zip(self.trainers, drawn, strict=True):
            trainer.tokens += each.tokens

    def _losses(self, chosen: list[int], drawn: list["_Drawn"]) -> Tensor:
        """Each chosen run's mean loss over its own scored places, `[C]`."""
        at_C = torch.tensor(chosen, device=self.device)
        pieces = self.flat_KxP.index_select(0, at_C).split(self.sizes, dim=1)
        held = {name: pieces[n].view(len(chosen), *self.shapes[n]) for name, n in self.places}
        own = {name: each_K.index_select(0, at_C) for name, each_K in self.buffers.items()}
        inputs = _padded(drawn, self.config, places=bool(self.buffers))
        tensors = [None if each is None else torch.from_numpy(each).to(self.device) for each in inputs]
        dims = tuple(None if each is None else 0 for each in tensors)
        self.program.train()
        with sdpa_kernel(SDPBackend.MATH):  # torch has no batching rule for the CPU's fused kernel
            loss_C = vmap(self._alone, in_dims=(0, *dims))({**held, **own}, *tensors)
        for name, each_C in own.items():  # what a forward pass wrote into them
            self.buffers[name].index_copy_(0, at_C, each_C)
        return loss_C

    def _alone(self, held: dict[str, Tensor], *inputs: Any) -> Tensor:
        """One run's loss. A tied tensor stands under each of its names; torch's own tying spoils modules that layers share."""
        return functional_call(self.program, held, inputs, tie_weights=False)

    def _take(self, trainer: Trainer, row_P: nn.Parameter) -> None:
        """A run's optimizer state as that of its row."""
        states = [trainer.optimizer.state[p] for p in trainer.model.parameters() if trainer.optimizer.state.get(p)]
        if not states:
            return
        if len(states) != len(self.sizes) or len({float(state["step"]) for state in states}) > 1:
            raise NotStackable("some of its parameters had no gradient in some steps")
        flat = {key: torch.cat([state[key].flatten() for state in states]) for key in states[0] if key != "step"}
        self.optimizer.state[row_P] = {"step": states[0]["step"].clone(), **flat}

    def hand_back(self) -> None:
        """Gives every run its optimizer state, as one that trained alone has it; the models are never behind."""
        for trainer, row_P in zip(self.trainers, self.rows, strict=True):
            state = self.optimizer.state[row_P]
            parts = {key: state[key].split(self.sizes) for key in state if key != "step"}
            for n, parameter in enumerate(trainer.model.parameters()):
                mine = {key: part[n].view(self.shapes[n]) for key, part in parts.items()}
                trainer.optimizer.state[parameter] = {"step": state["step"].clone(), **mine} if state else {}

    def _shared_buffers(self) -> dict[str, Tensor]:
        """Buffers that are a run's own, stacked, the models keeping views: those of a weights file, and any that differ."""
        found: dict[str, Tensor] = {}
        kept = {f"model.{name}" for name in self.trainers[0].model.state_dict()}
        for named in zip(*(_own(trainer.model, "_buffers") for trainer in self.trainers), strict=True):
            name, first = named[0]
            if name in kept or not all(torch.equal(first, each) for _, each in named):
                found[name] = torch.stack([each for _, each in named])
                module, _, attribute = name.removeprefix("model.").rpartition(".")
                for trainer, row in zip(self.trainers, found[name], strict=True):
                    trainer.model.get_submodule(module)._buffers[attribute] = row
        return found


class _Losses(nn.Module):
    """A model whose forward pass is its mean loss, since functional calls go through `forward`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(
        self, ids_BxT: Tensor, at_N: Tensor, targets_N: Tensor, weight_N: Tensor, positions: Tensor | None, hidden: Tensor | None
    ) -> Tensor:
        return (train.losses_at(self.model, ids_BxT, positions, at_N, targets_N, hidden) * weight_N).sum()  # type: ignore[arg-type]


def _own(model: nn.Module, kind: str) -> Iterator[tuple[str, Tensor]]:
    """Every module's own parameters or buffers by their name in `_Losses`: a tied one by every name, a shared module once."""
    for prefix, module in model.named_modules():
        for name, tensor in getattr(module, kind).items():
            if tensor is not None:
                yield ".".join(filter(None, ("model", prefix, name))), tensor


@dataclass(frozen=True)
class _Drawn:
    """A run's batch of one step."""

    framed: data.Examples
    positions: np.ndarray | None
    tokens: int


def _draw(trainer: Trainer) -> _Drawn:
    batch = data.train_batch(trainer.task, trainer.config, trainer.step)
    positions = data.train_positions(trainer.task, trainer.config, batch, trainer.step)
    return _Drawn(data.shift_targets(batch, trainer.config), positions, batch.tokens_BxT.size)


def cut(shapes: Sequence[tuple[int, int]], launch: float) -> list[list[int]]:
    """Batches `(sequences, tokens)` by length in groups that cost the least: a launch each, and every token, padding too."""
    order = sorted(range(len(shapes)), key=lambda k: shapes[k][1])
    best: list[tuple[float, int]] = [(0.0, 0)]  # of the first so many: the least cost, and where the last group begins
    for stop in range(1, len(order) + 1):
        best.append(
            min((best[start][0] + launch + _area([shapes[k] for k in order[start:stop]]), start) for start in range(stop))
        )
    groups, stop = [], len(order)
    while stop:
        start = best[stop][1]
        groups.append(order[start:stop])
        stop = start
    return groups[::-1]


def _area(shapes: list[tuple[int, int]]) -> int:
    return len(shapes) * max(B for B, _ in shapes) * max(T for _, T in shapes)


def _padded(drawn: list[_Drawn], config: Config, places: bool) -> list[np.ndarray | None]:
    """What `_Losses` takes, a row a run: tokens, scored places, their targets and weights, positions, and what is padding.

    `places` asks for positions even where they are 0, 1, ...: an encoding that notes which it saw must not see the padding's.
    """
    C = len(drawn)
    B, T = np.max([each.framed.inputs_BxT.shape for each in drawn], axis=0)
    scored = [np.nonzero(each.framed.scored_BxT) for each in drawn]
    N = max(len(rows) for rows, _ in scored)
    ids_CxBxT, hidden_CxBxT = np.zeros((C, B, T), dtype=np.int64), np.ones((C, B, T), dtype=bool)
    at_CxN, targets_CxN = (np.zeros((C, N), dtype=np.int64) for _ in range(2))
    weight_CxN = np.zeros((C, N), dtype=np.float32)
    for k, (each, (rows, columns)) in enumerate(zip(drawn, scored, strict=True)):
        n, (b, t) = len(rows), each.framed.inputs_BxT.shape
        ids_CxBxT[k, :b, :t], hidden_CxBxT[k, :b, :t] = each.framed.inputs_BxT, False
        at_CxN[k, :n], targets_CxN[k, :n], weight_CxN[k, :n] = rows * T + columns, each.framed.targets_BxT[rows, columns], 1 / n
    hidden = hidden_CxBxT if config.attention != "causal" and hidden_CxBxT.any() else None
    return [ids_CxBxT, at_CxN, targets_CxN, weight_CxN, _padded_positions(drawn, T, places), hidden]


def _padded_positions(drawn: list[_Drawn], T: int, places: bool) -> np.ndarray | None:
    """Positions `[C, (layers,) B or 1, T]`, the last of each repeated; None for 0, 1, ... in all."""
    found = [each.positions for each in drawn]
    if found[0] is None:
        if not places:
            return None
        found = [np.arange(each.framed.inputs_BxT.shape[1])[None] for each in drawn]
    B = max(each.shape[-2] for each in found if each is not None)
    return np.stack([_edge(each, B, T) for each in found if each is not None])


def _edge(positions: np.ndarray, B: int, T: int) -> np.ndarray:
    *before, b, t = positions.shape
    return np.pad(positions, [(0, 0)] * len(before) + [(0, B - b), (0, T - t)], mode="edge")


def train_together(
    runs: Sequence[Run], device: str = "auto", threads: int | None = None, progress: Progress | None = None
) -> list[Run]:
    """Trains runs as one, each until it ends; returns those that it leaves to train alone, from where they stand.

    These are runs that another process holds, runs whose loss is no number any more, and the last one left. Raises NotStackable,
    with every run as it was, and Stopped after saving all of them when a signal asks it to stop.
    """
    where = pick_device(device)
    torch.set_num_threads(threads or n_cores())
    with ExitStack() as locks, stop_signals() as stopped:
        locked = [run for run in runs if _lock(run, locks)]
        if len(locked) < 2:
            return list(runs)
        if len({checkpoint_step(run) for run in locked}) > 1:
            raise NotStackable("they stand at different steps")
        if reason := refusal([run.config for run in locked], where):
            raise NotStackable(reason)
        sessions = [train.start_or_resume(run, where, stacked=len(locked)) for run in locked]
        unfinished = _train_stack(sessions, progress or (lambda *_: None), stopped)
        for session in unfinished:
            session.run.update(status=Status.STOPPED)
        if stopped:
            raise Stopped(stopped[0])
    return [*(session.run for session in unfinished), *(run for run in runs if run not in locked)]


def _lock(run: Run, locks: ExitStack) -> bool:
    """Whether this process may train a run."""
    try:
        locks.enter_context(run.lock())
    except RunError:
        return False
    return bool(run.record["status"] != Status.TRAINED)


def _train_stack(sessions: list[TrainingSession], progress: Progress, stopped: list[int]) -> list[TrainingSession]:
    """Steps until fewer than two are left or a signal came; returns those that have not ended, saved."""
    stack, lost = Stack([session.trainer for session in sessions]), list[TrainingSession]()
    config, saved = stack.config, time.monotonic()
    sets = data.validation_sets(stack.trainers[0].task, config)
    while len(sessions) > 1 and not stopped:
        stack.step()
        if train.should_validate(stack.trainers[0]):
            ends = [_validated(session, sets, progress) for session in sessions]
            lost += [session for session, end in zip(sessions, ends, strict=True) if end == "lost"]
            if any(ends):
                stack.hand_back()
                sessions = [session for session, end in zip(sessions, ends, strict=True) if not end]
                stack = Stack([session.trainer for session in sessions]) if sessions else stack
        if time.monotonic() - saved > train.SAVE_SECONDS:
            _save(stack, sessions)
            saved = time.monotonic()
    _save(stack, sessions)
    return [*sessions, *lost]


def _validated(session: TrainingSession, sets: list[Batch], progress: Progress) -> str:
    """`done` for a run that has ended, `lost` for one that is to fail alone, nothing for one that goes on."""
    try:
        line = session.validate(sets)
    except Diverged as error:
        progress(session.run, {"diverged": str(error)})
        return "lost"  # its checkpoint, if there is one, is from before: alone it goes on from there
    progress(session.run, line)
    if session.trainer.step < session.trainer.config.steps and not train.should_stop(session.trainer.config, line):
        return ""
    session.finish()
    return "done"


def _save(stack: Stack, sessions: list[TrainingSession]) -> None:
    if sessions:
        stack.hand_back()
    for session in sessions:
        session.save()


def refusal(configs: list[Config], device: torch.device) -> str | None:
    """Why runs of a kind cannot train together; None where the first step's losses and gradients are those of each alone."""
    if split_switch(configs[0].encoding)[1]:
        return "its encoding changes on the way"  # which would give parameters steps without a gradient
    single, stacked = ([train_state.build(config, device) for config in configs] for _ in range(2))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*performance drop")  # an operation that torch would do run by run
            stack = Stack(stacked)
            stack.backward()
    except Exception as error:  # whatever a user's encoding does that has no batched form
        return f"torch cannot batch it: {type(error).__name__}: {error}".splitlines()[0]
    assert stack.flat_KxP.grad is not None
    rough = 0.1 if configs[0].dtype == "bfloat16" else 1e-3  # of the largest gradient
    for trainer, twin, grad_P in zip(single, stacked, stack.flat_KxP.grad, strict=True):
        train.backward(trainer)
        if any(p.grad is None for p in trainer.model.parameters()):
            return "some of its parameters have no gradient"
        alone_P = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        off = (grad_P - alone_P).abs().max() / alone_P.abs().max().clamp(min=1e-6)
        same = all(torch.equal(a, b) for a, b in zip(trainer.model.buffers(), twin.model.buffers(), strict=True))
        if not off < rough or not same or abs(trainer.losses[-1] - twin.losses[-1]) > rough:
            return "a stacked step is not the step alone"
    return None
