"""TISA: translation-invariant self-attention, a learned sum of Gaussian curves of the signed distance per head.

logit_ij = q_i . k_j / sqrt(D) + f_h(j-i),  f_h(x) = sum_s a_hs exp(-|b_hs| (x - c_hs)^2),  s = 1..5

a, b ~ N(0.1, 0.01^2) and c ~ N(0, 5^2) at first. The authors' code evaluates f at i-j-1: mirrored and off by one, which learning
makes up for; `form=code` does the same. Past the training length the curves are near 0, and distant keys get no bias.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape
from rpecli.encodings import _require as require


class TISA(DistanceBias):
    title = "TISA"
    paper = "The Case for Translation-Invariant Self-Attention in Transformer-Based Language Models, 2021, arXiv 2106.01950"
    extrapolation = "no bias for distant keys"

    def __init__(self, shape: Shape, *, kernels: int = 5, form: str = "paper"):
        super().__init__(shape)
        require.at_least(1, kernels=kernels)
        require.one_of(("paper", "code"), form=form)
        self.form = form
        self.a_KxH, self.b_KxH = (nn.Parameter(0.1 + 0.01 * torch.randn(kernels, shape.n_head)) for _ in range(2))
        self.c_KxH = nn.Parameter(5 * torch.randn(kernels, shape.n_head))

    def by_distance(self, distance: Tensor) -> Tensor:
        x = -distance if self.form == "paper" else distance - 1
        total = torch.zeros((), device=distance.device)
        for curve_3xH in zip(self.a_KxH, self.b_KxH, self.c_KxH, strict=True):
            a, b, c = (parameter_H.view(-1, *[1] * distance.dim()) for parameter_H in curve_3xH)
            total = total + a * torch.exp(-b.abs() * (x - c) ** 2)
        return total
