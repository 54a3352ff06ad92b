"""KERPLE, logarithmic kernel: score falls with the logarithm of the distance, at a rate and a scale each head learns.

logit_ij = q_i . k_j / sqrt(D) - p_h ln(1 + a_h |i-j|),  p_h, a_h >= 0.01

p ~ U(0, 2) and a ~ U(0, 1) at first, one pair a head for all layers, as in the authors' code. Past the trained length the
logarithm goes on, slower and slower.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape

LEAST = 0.01


class KerpleLog(DistanceBias):
    paper = "KERPLE: Kernelized Relative Positional Embedding for Length Extrapolation, 2022, arXiv 2205.09921"
    shared = True
    unseen = "the logarithm goes on"

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.p_H = nn.Parameter(2 * torch.rand(shape.n_head))
        self.a_H = nn.Parameter(torch.rand(shape.n_head))

    def by_distance(self, distance: Tensor) -> Tensor:
        p, a = (each.clamp(min=LEAST).view(-1, *[1] * distance.dim()) for each in (self.p_H, self.a_H))
        return -p * torch.log1p(a * distance.abs())
