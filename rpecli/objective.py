"""What a model is trained to predict, and when a prediction is right: one token, or the set of tokens that may come next.

A set of tokens is a whole number whose bit v stands for token v, so that targets have one shape and type in both cases.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def losses(logits_NxV: Tensor, targets_N: Tensor, sets: bool) -> Tensor:
    """Nats per place, `[N]`: cross-entropy of the token, or the sum over the vocabulary of the binary ones of membership."""
    if not sets:
        return F.cross_entropy(logits_NxV, targets_N, reduction="none")
    return F.binary_cross_entropy_with_logits(logits_NxV, members(targets_N, logits_NxV), reduction="none").sum(-1)


def predict(logits: Tensor, sets: bool) -> Tensor:
    """The likeliest token of logits `[..., V]`, or the set of all tokens that are more likely in it than not."""
    if not sets:
        return logits.argmax(-1)
    return ((logits > 0) * _bits(logits)).sum(-1)


def members(sets_N: Tensor, logits_NxV: Tensor) -> Tensor:
    """1 where a token is in the set, else 0, `[N, V]`."""
    return ((sets_N[:, None] & _bits(logits_NxV)) != 0).to(logits_NxV.dtype)


def _bits(logits: Tensor) -> Tensor:
    return torch.ones(logits.shape[-1], dtype=torch.int64, device=logits.device) << torch.arange(
        logits.shape[-1], device=logits.device
    )
