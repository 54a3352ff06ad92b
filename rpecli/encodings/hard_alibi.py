"""Hard ALiBi: some heads see only a few tokens back, each one more than the head before; the others see all, without a bias.

logit_ij = q_i . k_j / sqrt(D) where |i-j| <= h or h >= masked, else minus infinity,  heads h = 0 .. H-1

`masked` heads are limited; 0 stands for half of them (the authors' default: 8 of 16), so that at least one stays global. Past
the trained length the limits stay, and the global heads spread over more tokens.
"""

import torch
from torch import Tensor

from rpecli.encoding import DistanceBias, Shape

DARK = -1e5  # leaves nothing after a softmax; infinity would leave rows whose window is all padding without a number


class HardALiBi(DistanceBias):
    paper = "Repeat After Me: Transformers are Better than State Space Models at Copying, 2024, arXiv 2402.01032"
    shared = True
    unseen = "the limits stay"
    reach_H: Tensor

    def __init__(self, shape: Shape, *, masked: int = 0):
        super().__init__(shape)
        if not 0 <= masked <= shape.n_head:
            raise ValueError(f"masked={masked}: of {shape.n_head} heads, or 0 for half of them")
        heads, masked = torch.arange(shape.n_head), masked or shape.n_head // 2
        self.register_buffer("reach_H", torch.where(heads < masked, heads.float(), torch.inf), persistent=False)

    def by_distance(self, distance: Tensor) -> Tensor:
        far = distance.abs() > self.reach_H.view(-1, *[1] * distance.dim())
        return torch.zeros_like(far, dtype=self.reach_H.dtype).masked_fill(far, DARK)
