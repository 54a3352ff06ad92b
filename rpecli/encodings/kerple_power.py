"""KERPLE, power kernel: the score falls with a power of the distance that is learned per head.

logit_ij = q_i . k_j / sqrt(D) - a_h |i-j|^p_h,  a_h >= 0.01,  0.01 <= p_h <= 2

p ~ U(0, 2) and a ~ U(0, 1) at first, one pair per head for all layers, as in the authors' code. `weighted=true` is that code's
compositional kernel, which also multiplies q_i . k_j / sqrt(D) by exp(-a'_h |i-j|^p'_h), within the same bounds. Past the
training length the power keeps growing.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, QueryKey, Shape

LEAST = 0.01


class KerplePower(DistanceBias):
    title = "KERPLE-power"
    paper = "KERPLE: Kernelized Relative Positional Embedding for Length Extrapolation, 2022, arXiv 2205.09921"
    shared = True
    extrapolation = "the power keeps growing"
    look = ("#1287A0", "p")

    def __init__(self, shape: Shape, *, weighted: bool = False):
        super().__init__(shape)
        self.p_H = nn.Parameter(2 * torch.rand(shape.n_head))
        self.a_H = nn.Parameter(torch.rand(shape.n_head))
        self.weighted = weighted
        if weighted:
            self.weight_p_H = nn.Parameter(2 * torch.rand(shape.n_head))
            self.weight_a_H = nn.Parameter(torch.rand(shape.n_head))
            self.score = self.weighted_score  # type: ignore[method-assign]  # not of the class: the bias alone has a faster kernel

    def by_distance(self, distance: Tensor) -> Tensor:
        return -_power(self.a_H, self.p_H, distance)

    def weighted_score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        power_BxHxTxS = _power(self.weight_a_H, self.weight_p_H, qk.distance_BxTxS).transpose(0, 1)
        bias_BxHxTxS = self.bias(qk.q_pos_BxT, qk.k_pos_BxS)
        return (logits_BxHxTxS - bias_BxHxTxS) * torch.exp(-power_BxHxTxS) + bias_BxHxTxS

    def score_buffers(self, rows: int, keys: int) -> float:
        return 7.0 if self.weighted else super().score_buffers(rows, keys)  # the bias is built a second time, and the decay


def _power(a_H: Tensor, p_H: Tensor, distance: Tensor) -> Tensor:
    """a |d|^p, `[H, *distance.shape]`."""
    a, p = (parameter.view(-1, *[1] * distance.dim()) for parameter in (a_H.clamp(min=LEAST), p_H.clamp(LEAST, 2)))
    return a * distance.abs().to(a.dtype) ** p
