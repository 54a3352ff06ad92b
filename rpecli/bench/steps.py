"""Training steps to time: rpe's as a run performs them, and a peer's on the same batches with the same loss and optimizer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from rpecli import data, task
from rpecli.bench import TASK, Size
from rpecli.bench.peers import BFLOAT16, Library
from rpecli.config.recipe import Config
from rpecli.train import loop as train
from rpecli.train import state as train_state

RPE = "rpe"


@dataclass
class Case:
    """One way to train: whose, in which setting, and one step of it."""

    library: str
    setting: str
    step: Callable[[], object]
    parameters: int

    @property
    def name(self) -> str:
        return f"{self.library}, {self.setting}"


def config_of(size: Size, encoding: str, dtype: str = "float32") -> Config:
    """A run that never ends, with `size.batch` sequences per batch of which the model reads `size.length` tokens each.

    A sequence is a mark, n symbols, a mark, n symbols and the end token, which is not read.
    """
    n = size.length // 2 - 1
    return Config.from_keys(
        task=TASK, encoding=encoding, d_model=size.width, n_layer=size.layers, n_head=size.heads, dtype=dtype, length=n,
        min_length=n, tokens=size.batch * (size.length + 1), lr=1e-3, warmup=0, steps=10**6,
    )  # fmt: skip


def rpe_case(size: Size, encoding: str, dtype: str, device: torch.device) -> Case:
    trainer = train_state.build_trainer(config_of(size, encoding, dtype), device)

    def step() -> None:
        train.step(trainer)
        trainer.losses.clear()  # as a run does at every validation

    return Case(RPE, dtype, step, n_parameters(trainer.model))


def peer_case(library: Library, setting: str, size: Size, encoding: str, device: torch.device) -> Case:
    """A peer's model under autocast if the setting says so: linear layers and attention in bfloat16, the loss in float32."""
    config, own_task = config_of(size, encoding), task.build(TASK)
    torch.manual_seed(0)
    peer = library.build(encoding, setting, size, own_task.vocabulary)
    module = peer.module.to(device).train()
    optimizer = train_state.adamw(module.parameters(), config)
    n_step = 0

    def step() -> None:
        nonlocal n_step
        batch = data.shift_targets(data.train_batch(own_task, config, n_step), config)
        index_N = np.flatnonzero(batch.scored_BxT)
        target_N = torch.from_numpy(batch.targets_BxT.flat[index_N]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=BFLOAT16 in setting):
            hidden_BxTxM = peer.hidden(torch.from_numpy(batch.inputs_BxT).to(device))
            logits_NxV = peer.head(hidden_BxTxM.flatten(0, 1)[torch.from_numpy(index_N).to(device)])
        F.cross_entropy(logits_NxV.float(), target_N).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        n_step += 1

    return Case(library.name, setting, step, n_parameters(module))


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def n_scored(size: Size) -> int:
    """Positions of a sequence whose loss counts: n symbols and the end token."""
    return size.length // 2


def flops(size: Size, vocabulary: int, mlp_ratio: int = 4) -> float:
    """Floating-point operations of one step: two per multiply-add, the backward pass twice the forward pass.

    Attention counts the scores and values below the diagonal. Every position counts in every layer, also where a step skips those
    that no loss depends on.
    """
    M, T = size.width, size.length
    layer = T * (4 * M * M + 2 * mlp_ratio * M * M) + T * T * M
    return 3 * 2 * size.batch * (size.layers * layer + n_scored(size) * M * vocabulary)
