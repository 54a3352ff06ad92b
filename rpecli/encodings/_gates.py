"""Running sums of gates over the keys between a key and the query."""

import torch.nn.functional as F
from torch import Tensor


def after(gate_BxHxTxS: Tensor) -> Tensor:
    """Of each row, the sum over the keys behind each key: l = j+1 .. S-1."""
    return from_key(F.pad(gate_BxHxTxS[..., 1:], (0, 1)))


def from_key(gate_BxHxTxS: Tensor) -> Tensor:
    """Of each row, the sum from each key on: l = j .. S-1. Added up from the right, so that near keys are exact."""
    return gate_BxHxTxS.flip(-1).cumsum(-1).flip(-1)
