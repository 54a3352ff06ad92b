"""KERPLE, logarithmic kernel: the score falls with the logarithm of the distance, at a rate and scale learned per head.

logit_ij = q_i . k_j / sqrt(D) - p_h ln(1 + a_h |i-j|),  p_h, a_h >= 0.01

p ~ U(0, 2) and a ~ U(0, 1) at first, one pair per head for all layers, as in the authors' code. Past the training length the
logarithm keeps growing, more and more slowly.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape

LEAST = 0.01


class KerpleLog(DistanceBias):
    title = "KERPLE-log"
    paper = "KERPLE: Kernelized Relative Positional Embedding for Length Extrapolation, 2022, arXiv 2205.09921"
    shared = True
    extrapolation = "the logarithm keeps growing"
    look = ("#1287A0", "v")

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.p_H = nn.Parameter(2 * torch.rand(shape.n_head))
        self.a_H = nn.Parameter(torch.rand(shape.n_head))

    def by_distance(self, distance: Tensor) -> Tensor:
        p, a = (parameter.clamp(min=LEAST).view(-1, *[1] * distance.dim()) for parameter in (self.p_H, self.a_H))
        return -p * torch.log1p(a * distance.abs())
