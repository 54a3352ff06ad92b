"""TISA: translation-invariant self-attention, a learned sum of bell curves of the signed distance for each head.

logit_ij = q_i . k_j / sqrt(D) + f_h(j-i),  f_h(x) = sum_s a_hs exp(-|b_hs| (x - c_hs)^2),  s = 1..5

a, b ~ N(0.1, 0.01^2) and c ~ N(0, 5^2) at first. The authors' code reads f at i-j-1: mirrored and one off, which learning makes
up for; `form=code` does the same. Past the trained length the curves have died out, and far keys get no bias.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape


class TISA(DistanceBias):
    paper = "The Case for Translation-Invariant Self-Attention in Transformer-Based Language Models, 2021, arXiv 2106.01950"
    unseen = "no bias far back"

    def __init__(self, shape: Shape, *, kernels: int = 5, form: str = "paper"):
        super().__init__(shape)
        if kernels < 1:
            raise ValueError(f"kernels={kernels}: at least one curve is needed")
        if form not in ("paper", "code"):
            raise ValueError(f"form is paper or code, not {form!r}")
        self.form = form
        self.a_KxH, self.b_KxH = (nn.Parameter(0.1 + 0.01 * torch.randn(kernels, shape.n_head)) for _ in range(2))
        self.c_KxH = nn.Parameter(5 * torch.randn(kernels, shape.n_head))

    def by_distance(self, distance: Tensor) -> Tensor:
        x = -distance if self.form == "paper" else distance - 1
        total = torch.zeros((), device=distance.device)
        for a_H, b_H, c_H in zip(self.a_KxH, self.b_KxH, self.c_KxH, strict=True):
            a, b, c = (each.view(-1, *[1] * distance.dim()) for each in (a_H, b_H, c_H))
            total = total + a * torch.exp(-b.abs() * (x - c) ** 2)
        return total
