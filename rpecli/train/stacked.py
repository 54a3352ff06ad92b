"""Stacked training: runs that differ only in seed, data seed or learning rate take their steps as one batched program.

A small model keeps a GPU waiting for the next launch; a stack launches once for all of its runs. Everything else stays a run's
own: data, initial weights, optimizer state, gradient norm, metrics, checkpoint, directory. The files are those that `train`
writes, so a run that was stopped in a stack goes on alone, and the other way round; it ends within float tolerance of the run
alone.

In a step every run draws a batch of its own length, so batches are padded to the largest: behind the last token, where causal
attention does not see it (bidirectional attention gets a mask), and in scored places of weight 0. Runs are sorted by length and
split into several programs where padding would cost more than another launch.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from rpecli import catalog, data, objective
from rpecli.choice import split_switch
from rpecli.config.recipe import Config
from rpecli.device import pick_device, to_device
from rpecli.run.directory import Run, Status, Stopped
from rpecli.run.files import RunInUse
from rpecli.signals import stop_signals
from rpecli.task import Batch
from rpecli.train import loop
from rpecli.train.batches import TrainBatch, draw_batch, group_by_length, pad_together
from rpecli.train.loop import Diverged, TrainingSession
from rpecli.train.state import Trainer, adamw, build_trainer, checkpoint_step

LAUNCH = {"cuda": 2e10, "cpu": 1e8}  # token x parameter products that one more program costs; CPU measured, CUDA guessed
Progress = Callable[[Run, Mapping[str, Any]], None]  # a run and its new line


class NotStackable(ValueError):  # noqa: N818 - what it says, not a mistake in the code
    """Runs that cannot train together, and the reason."""


class Stack:
    """K runs at the same step. Their parameters are the rows of one tensor, and their models hold views of it."""

    def __init__(self, trainers: list[Trainer]):
        self.trainers, self.config, self.device = trainers, trainers[0].config, trainers[0].device
        self.program = _MeanLoss(trainers[0].model, trainers[0].task.predicts_sets)
        self.shapes = [p.shape for p in trainers[0].model.parameters()]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.flat_KxP = torch.stack([parameters_to_vector(t.model.parameters()).detach() for t in trainers]).requires_grad_()
        self.rows = [nn.Parameter(row_P) for row_P in self.flat_KxP.detach()]  # the same storage, one row per run
        for trainer, row_P in zip(trainers, self.rows, strict=True):
            vector_to_parameters(row_P.detach(), trainer.model.parameters())
        by_lr = {trainer.config.lr: trainer.config for trainer in trainers}
        groups = [[row_P for t, row_P in zip(trainers, self.rows, strict=True) if t.config.lr == lr] for lr in by_lr]
        self.optimizer = adamw([{"params": group} for group in groups], self.config)
        self.group_configs = list(by_lr.values())
        for trainer, row_P in zip(trainers, self.rows, strict=True):
            self._load_optimizer_state(trainer, row_P)
        self.buffers = self._stack_buffers()
        index = {id(p): n for n, p in enumerate(trainers[0].model.parameters())}
        self.parameter_names = [(name, index[id(p)]) for name, p in _named_tensors(trainers[0].model, "_parameters")]

    def step(self) -> None:
        """One step of every run: forward and backward together, one norm, learning rate and AdamW state per run."""
        self.backward()
        grad_KxP = self.flat_KxP.grad
        assert grad_KxP is not None
        norm_K = torch.linalg.vector_norm(grad_KxP, dim=1)
        grad_KxP *= (self.config.clip / (norm_K + 1e-6)).clamp(max=1.0)[:, None]  # as clip_grad_norm_ does, per run
        for row_P, grad_P in zip(self.rows, grad_KxP, strict=True):
            row_P.grad = grad_P
        for group, config in zip(self.optimizer.param_groups, self.group_configs, strict=True):
            group["lr"] = loop.learning_rate(config, self.trainers[0].step)
        self.optimizer.step()
        for trainer in self.trainers:
            trainer.step += 1
        self.flat_KxP.grad = None

    def backward(self) -> None:
        """Draws the batch of every run and leaves the gradients in `flat_KxP.grad`; losses and tokens are counted."""
        batches = [draw_batch(trainer, trainer.step) for trainer in self.trainers]
        launch = LAUNCH.get(self.device.type, 0.0) / self.flat_KxP.shape[1]
        for group in group_by_length([batch.shape for batch in batches], launch):
            loss_G = self._losses(group, [batches[k] for k in group])
            loss_G.sum().backward()
            for k, loss in zip(group, loss_G.detach().unbind(), strict=True):
                self.trainers[k].losses.append(loss)
        for trainer, batch in zip(self.trainers, batches, strict=True):
            trainer.tokens += batch.n_tokens

    def _losses(self, group: list[int], batches: list[TrainBatch]) -> Tensor:
        """The mean loss per run of a group, over its own scored places, `[G]`."""
        index_G = torch.tensor(group, device=self.device)
        slices = self.flat_KxP.index_select(0, index_G).split(self.sizes, dim=1)
        parameters = {name: slices[n].view(len(group), *self.shapes[n]) for name, n in self.parameter_names}
        buffers = {name: buffer.index_select(0, index_G) for name, buffer in self.buffers.items()}
        padded = pad_together(batches, self.config, explicit_positions=bool(self.buffers))
        inputs = [to_device(array, self.device) for array in vars(padded).values()]
        dims = tuple(None if tensor is None else 0 for tensor in inputs)
        self.program.train()
        with sdpa_kernel(SDPBackend.MATH):  # torch has no batching rule for the CPU's fused kernel
            loss_G = vmap(self._loss_of_run, in_dims=(0, *dims))({**parameters, **buffers}, *inputs)
        for name, buffer in buffers.items():  # what the forward pass wrote into them
            self.buffers[name].index_copy_(0, index_G, buffer)
        return loss_G

    def _loss_of_run(self, tensors: dict[str, Tensor], *inputs: Any) -> Tensor:
        """A tied tensor stands under all of its names: torch's own tying spoils modules that layers share."""
        return functional_call(self.program, tensors, inputs, tie_weights=False)

    def _load_optimizer_state(self, trainer: Trainer, row_P: nn.Parameter) -> None:
        states = [trainer.optimizer.state[p] for p in trainer.model.parameters() if trainer.optimizer.state.get(p)]
        if not states:
            return
        if len(states) != len(self.sizes) or len({float(state["step"]) for state in states}) > 1:
            raise NotStackable("some of its parameters had no gradient in some steps")
        flat = {key: torch.cat([state[key].flatten() for state in states]) for key in states[0] if key != "step"}
        self.optimizer.state[row_P] = {"step": states[0]["step"].clone(), **flat}

    def store_optimizer_states(self) -> None:
        """Gives every trainer its optimizer state, in the form of a run alone; the models are always up to date."""
        for trainer, row_P in zip(self.trainers, self.rows, strict=True):
            state = self.optimizer.state[row_P]
            slices = {key: state[key].split(self.sizes) for key in state if key != "step"}
            for n, parameter in enumerate(trainer.model.parameters()):
                own = {key: tensors[n].view(self.shapes[n]) for key, tensors in slices.items()}
                trainer.optimizer.state[parameter] = {"step": state["step"].clone(), **own} if state else {}

    def _stack_buffers(self) -> dict[str, Tensor]:
        """Buffers that differ per run, stacked, the models holding views: those of a weights file, and any with other values."""
        buffers: dict[str, Tensor] = {}
        saved = {f"model.{name}" for name in self.trainers[0].model.state_dict()}
        for named in zip(*(_named_tensors(trainer.model, "_buffers") for trainer in self.trainers), strict=True):
            name, first = named[0]
            if name in saved or not all(torch.equal(first, buffer) for _, buffer in named):
                buffers[name] = torch.stack([buffer for _, buffer in named])
                module, _, attribute = name.removeprefix("model.").rpartition(".")
                for trainer, row in zip(self.trainers, buffers[name], strict=True):
                    trainer.model.get_submodule(module)._buffers[attribute] = row
        return buffers


class _MeanLoss(nn.Module):
    """A model whose forward pass gives its mean loss, since functional calls go through `forward`."""

    def __init__(self, model: nn.Module, sets: bool):
        super().__init__()
        self.model, self.sets = model, sets

    def forward(
        self,
        ids_BxT: Tensor,
        scored_N: Tensor,
        targets_N: Tensor,
        weight_N: Tensor,
        positions: Tensor | None,
        padding_mask_BxT: Tensor | None,
    ) -> Tensor:
        logits_NxV = self.model.head(  # type: ignore[operator]
            self.model(ids_BxT, positions, padding_mask_BxT, query_index_N=scored_N)
        )
        return (objective.losses(logits_NxV, targets_N, self.sets) * weight_N).sum()


def _named_tensors(model: nn.Module, kind: str) -> Iterator[tuple[str, Tensor]]:
    """All parameters or buffers by their name in `_MeanLoss`: a tied one under every name, a shared module once."""
    for prefix, module in model.named_modules():
        for name, tensor in getattr(module, kind).items():
            if tensor is not None:
                yield ".".join(filter(None, ("model", prefix, name))), tensor


def train_together(runs: Sequence[Run], device: str = "auto", progress: Progress | None = None) -> list[Run]:
    """Trains runs as one, every run until it ends; returns those that are left to train alone, from where they stand.

    These are runs that another process holds, runs whose loss is not finite, runs with no step left, and the last one left.
    Raises NotStackable with every run as it was, and Stopped after saving all of them when a signal asks it to stop.
    """
    torch_device = pick_device(device)
    torch.set_num_threads(runs[0].config.threads)
    with ExitStack() as locks, stop_signals() as stopped:
        locked = [run for run in runs if _lock(run, locks)]
        if len(locked) < 2:
            return list(runs)
        steps = {checkpoint_step(run) for run in locked}
        if len(steps) > 1:
            raise NotStackable("they stand at different steps")
        if steps == {locked[0].config.steps}:  # stopped in their last step: a run alone takes none more, and finishes
            return list(runs)
        if reason := why_not_stackable([run.config for run in locked], torch_device):
            raise NotStackable(reason)
        sessions = [loop.start(run, *loop.build_or_load(run, torch_device), stacked=len(locked)) for run in locked]
        unfinished = _train_stack(sessions, progress or (lambda *_: None), stopped)
        for session in unfinished:
            session.run.update(status=Status.STOPPED)
        if stopped:
            raise Stopped(stopped[0])
    return [*(session.run for session in unfinished), *(run for run in runs if run not in locked)]


def _lock(run: Run, locks: ExitStack) -> bool:
    """Whether this process holds the run now, and it is not trained."""
    try:
        locks.enter_context(run.lock())
    except RunInUse:
        return False
    return not run.is_trained


def _train_stack(sessions: list[TrainingSession], progress: Progress, stopped: list[int]) -> list[TrainingSession]:
    """Steps until fewer than two runs are left or a signal came; saves and returns those that have not ended."""
    stack, diverged = Stack([session.trainer for session in sessions]), list[TrainingSession]()
    sets, saved = data.validation_sets(stack.trainers[0].task, stack.config), time.monotonic()
    while len(sessions) > 1 and not stopped:
        stack.step()
        if loop.should_validate(stack.trainers[0]):
            outcomes = [_validate(session, sets, progress) for session in sessions]
            diverged += [session for session, outcome in zip(sessions, outcomes, strict=True) if outcome == "diverged"]
            if any(outcome != "going on" for outcome in outcomes):
                stack.store_optimizer_states()
                sessions = [session for session, outcome in zip(sessions, outcomes, strict=True) if outcome == "going on"]
                stack = Stack([session.trainer for session in sessions]) if sessions else stack
        if time.monotonic() - saved > loop.SAVE_SECONDS:
            _save(stack, sessions)
            saved = time.monotonic()
    _save(stack, sessions)
    return [*sessions, *diverged]


def _validate(session: TrainingSession, sets: list[Batch], progress: Progress) -> str:
    """Validates one run, and finishes it where it has ended: `going on`, `finished` or `diverged`."""
    try:
        line = session.validate(sets)
    except Diverged as error:
        progress(session.run, {"diverged": str(error)})
        return "diverged"  # its checkpoint, if there is one, is older: alone it resumes from there and fails
    progress(session.run, line)
    if session.trainer.step < session.trainer.config.steps and not loop.should_stop(session.trainer.config, line):
        return "going on"
    session.finish()
    return "finished"


def _save(stack: Stack, sessions: list[TrainingSession]) -> None:
    if sessions:
        stack.store_optimizer_states()
    for session in sessions:
        session.save()


def why_not_stackable(configs: list[Config], device: torch.device) -> str | None:
    """Why runs cannot train together; None where losses, gradients and buffers of the first step are those of the runs alone."""
    if split_switch(configs[0].encoding)[1]:
        return "its encoding changes on the way"  # which would give parameters steps without a gradient
    if configs[0].dropout:
        return "what it drops is drawn run by run"
    if configs[0].position_penalty:
        return "a penalty is of a model alone"
    if configs[0].decayed != "all":
        return "not all of its parameters decay"  # those of a run are one row
    single, stacked = ([build_trainer(config, device) for config in configs] for _ in range(2))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*performance drop")  # an operation that torch would do run by run
            stack = Stack(stacked)
            stack.backward()
    except Exception as error:  # whatever a user's encoding does that has no batched form
        return f"torch cannot batch it: {catalog.blame(error)}{type(error).__name__}: {error}".splitlines()[0]
    assert stack.flat_KxP.grad is not None
    tolerance = 0.1 if configs[0].dtype == "bfloat16" else 1e-3  # of the largest gradient
    for trainer, twin, grad_P in zip(single, stacked, stack.flat_KxP.grad, strict=True):
        loss = loop.answer_losses(trainer.model, draw_batch(trainer, trainer.step), device).mean()
        loss.backward()
        if any(p.grad is None for p in trainer.model.parameters()):
            return "some of its parameters have no gradient"
        single_P = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        deviation = (grad_P - single_P).abs().max() / single_P.abs().max().clamp(min=1e-6)
        same_buffers = all(torch.equal(a, b) for a, b in zip(trainer.model.buffers(), twin.model.buffers(), strict=True))
        if not deviation < tolerance or not same_buffers or abs(loss.detach() - twin.losses[-1]) > tolerance:
            return "a stacked step is not the step alone"
    return None
