"""What a model in training gets right of a validation batch."""

import torch
from torch import Tensor

from rpecli import data, objective
from rpecli.device import to_device
from rpecli.model import LoadedModel
from rpecli.task import Batch


def scores(loaded: LoadedModel, batch: Batch) -> tuple[float, float]:
    """The share of answer tokens that are right, and the share of strings with every answer token right."""
    examples = data.shift_targets(batch, loaded.config)
    correct_BxT = predictions(loaded, batch) == torch.from_numpy(examples.targets_BxT)
    answer_BxT = torch.from_numpy(examples.answer_mask_BxT)
    token_accuracy = (correct_BxT & answer_BxT).sum().item() / answer_BxT.sum().item()
    return token_accuracy, (correct_BxT | ~answer_BxT).all(1).float().mean().item()


def predictions(loaded: LoadedModel, batch: Batch) -> Tensor:
    """The prediction at every place of a batch, `[B, T]`, on the CPU."""
    examples = data.shift_targets(batch, loaded.config)
    positions = data.validation_positions(loaded.task, loaded.config, batch)
    ids_BxT, padding_mask_BxT = (to_device(a, loaded.device) for a in (examples.inputs_BxT, examples.padding_mask_BxT))
    logits_BxTxV = loaded.model.head(loaded.model(ids_BxT, to_device(positions, loaded.device), padding_mask_BxT))
    return objective.predict(logits_BxTxV, examples.sets).cpu()
