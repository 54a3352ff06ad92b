"""Training steps to time: ours as a run does them, and a peer's on the same batches with the same loss and optimiser."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rpecli import data
from rpecli.bench import Size
from rpecli.bench.peers import BFLOAT16, Library
from rpecli.config.recipe import Config, Recipe
from rpecli.train import loop as train
from rpecli.train import state as train_state

COPY = Recipe.model_fields["task"].default[0]  # a half to read and as much to answer, whatever the length
OURS = "rpe"


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
    """A batch of `batch` sequences of which the model reads `length` tokens each: a mark, n symbols, a mark, n symbols."""
    n = size.length // 2 - 1
    keys: dict[str, Any] = {
        "d_model": size.width,
        "n_layer": size.layers,
        "n_head": size.heads,
        "length": n,
        "min_length": n,
        "dtype": dtype,
    }
    keys |= {"tokens": size.batch * (size.length + 1), "lr": 1e-3, "warmup": 0, "steps": 10**6}  # steps: no end in sight
    return Config(task=COPY, encoding=encoding, **keys)


def ours(size: Size, encoding: str, dtype: str, device: torch.device) -> Case:
    trainer = train_state.build(config_of(size, encoding, dtype), device)

    def step() -> None:
        train.step(trainer)
        trainer.losses.clear()  # which a run does at every validation

    return Case(OURS, dtype, step, sum(each.numel() for each in trainer.model.parameters()))


def of_peer(library: Library, setting: str, size: Size, encoding: str, device: torch.device) -> Case:
    """The products of the linear layers and of attention in bfloat16 where the setting says so, as autocast chooses."""
    trainer = train_state.build(config_of(size, encoding), device)  # for its task, its batches and its settings alone
    torch.manual_seed(0)
    peer = library.build(encoding, setting, size, trainer.task.vocabulary)
    module = peer.module.to(device).train()
    c, n = trainer.config, 0
    optimizer = torch.optim.AdamW(module.parameters(), c.lr, (c.beta1, c.beta2), weight_decay=c.weight_decay, fused=True)

    def step() -> None:
        nonlocal n
        batch = data.frame(data.train_batch(trainer.task, c, n), c)
        scored = np.flatnonzero(batch.answer_BxT | batch.end_BxT)
        target_N = torch.from_numpy(batch.targets_BxT.flat[scored]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=BFLOAT16 in setting):
            hidden_BxTxM = peer.hidden(torch.from_numpy(batch.inputs_BxT).to(device))
            logits_NxV = peer.head(hidden_BxTxM.flatten(0, 1)[torch.from_numpy(scored).to(device)])
        F.cross_entropy(logits_NxV.float(), target_N).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), c.clip)
        optimizer.step()
        optimizer.zero_grad()
        n += 1

    return Case(library.name, setting, step, sum(each.numel() for each in module.parameters()))


def scored(size: Size) -> int:
    """Places of a sequence whose loss counts: n symbols and the end."""
    return size.length // 2


def flops(size: Size, vocabulary: int, mlp_ratio: int = 4) -> float:
    """Of a step: two a multiply-add, a backward pass twice the forward one, attention's scores and values below the diagonal.

    Every place is counted in every layer, also where a step leaves out what nobody reads.
    """
    M, T = size.width, size.length
    layer = T * (4 * M * M + 2 * mlp_ratio * M * M) + T * T * M
    return 3 * 2 * size.batch * (size.layers * layer + scored(size) * M * vocabulary)
