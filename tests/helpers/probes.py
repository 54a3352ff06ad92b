"""What tests of the probes share: untrained models with any encoding, and their batches."""

from typing import Any

import torch

from helpers import training as tiny
from helpers.encodings import move_parameters
from rpecli.evaluate.eval_set import eval_set
from rpecli.model import LoadedModel, build
from rpecli.probes.inputs import ProbeBatch, probe_batches
from rpecli.task import Batch


def untrained_model(encoding: str, **keys: Any) -> LoadedModel:
    """A model that was never trained, its encoding moved away from its initial values."""
    loaded = build(tiny.config(encoding=encoding, **keys), torch.device("cpu"))
    loaded.model.eval()
    for part in dict.fromkeys(loaded.model.current):
        move_parameters(part)
    return loaded


def blocks_of(loaded: LoadedModel, length: int = 4) -> list[Batch]:
    return eval_set(loaded.config, loaded.task, length)


def batches_of(loaded: LoadedModel, length: int = 4) -> list[ProbeBatch]:
    return list(probe_batches(loaded, length, blocks_of(loaded, length)))
