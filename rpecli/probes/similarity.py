"""How alike runs attend, as 1 - JS/ln 2 of their Jensen-Shannon divergence at the same places of the same strings.

Heads have no common request, so they are compared twice: as the mean of a layer's heads, and paired so that the pairs are most
alike (Hungarian method). Layers are compared with the layer of the same number.
"""

import math
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def divergence(a_NxT: Tensor, b_NxT: Tensor) -> float:
    """Mean Jensen-Shannon divergence of rows in nats, each row taken as a distribution."""
    a, b = (each.double() / each.double().sum(-1, keepdim=True).clamp(min=1e-12) for each in (a_NxT, b_NxT))
    mixed = torch.special.entr((a + b) / 2).sum(-1)
    return max(0.0, float((mixed - (torch.special.entr(a) + torch.special.entr(b)).sum(-1) / 2).mean()))


def layer(a_NxHxT: Tensor, b_NxGxT: Tensor) -> dict[str, Any]:
    """Similarity of two layers: of their means over heads, and of their best pairs (`pairs`: heads, counted from 1)."""
    cost = [[divergence(a, b) for b in b_NxGxT.unbind(1)] for a in a_NxHxT.unbind(1)]
    mine, theirs = linear_sum_assignment(cost)
    paired = sum(cost[a][b] for a, b in zip(mine, theirs, strict=True)) / len(mine)
    return {
        "mean": _alike(divergence(a_NxHxT.mean(1), b_NxGxT.mean(1))),
        "paired": _alike(paired),
        "pairs": [[int(a) + 1, int(b) + 1] for a, b in zip(mine, theirs, strict=True)],
    }


def pair(first: list[Tensor], second: list[Tensor]) -> list[dict[str, Any]]:
    """Layer by layer, as far as both have one."""
    return [layer(a, b) for a, b in zip(first, second, strict=False)]


def _alike(js: float) -> float:
    return round(1 - min(1.0, js / math.log(2)), 6)
