"""Hard ALiBi: some heads see only the last few tokens, each head one more than the head before; other heads see all tokens.

logit_ij = q_i . k_j / sqrt(D) where |i-j| <= h or h >= masked, else minus infinity,  heads h = 0 .. H-1

`masked` heads are limited; 0 stands for half of the heads (the authors' default: 8 of 16), so that at least one stays global.
Past the training length the windows stay the same, and the global heads spread over more tokens.
"""

import torch
from torch import Tensor

from rpecli.encoding import DistanceBias, Shape

MASKED = -1e5  # a weight of 0 after a softmax; with minus infinity, a row whose window is all padding would be NaN


class HardALiBi(DistanceBias):
    title = "Hard ALiBi"
    paper = "Repeat After Me: Transformers are Better than State Space Models at Copying, 2024, arXiv 2402.01032"
    shared = True
    extrapolation = "the windows stay the same"
    window_H: Tensor

    def __init__(self, shape: Shape, *, masked: int = 0):
        super().__init__(shape)
        if not 0 <= masked <= shape.n_head:
            raise ValueError(f"masked={masked}: must be from 0 (half of the heads) to {shape.n_head}")
        heads, masked = torch.arange(shape.n_head), masked or shape.n_head // 2
        self.register_buffer("window_H", torch.where(heads < masked, heads.float(), torch.inf), persistent=False)

    def by_distance(self, distance: Tensor) -> Tensor:
        outside = distance.abs() > self.window_H.view(-1, *[1] * distance.dim())
        return torch.zeros_like(outside, dtype=self.window_H.dtype).masked_fill(outside, MASKED)
