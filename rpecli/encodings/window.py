"""A sliding window: every head sees only the nearest tokens, and no other trace of position.

logit_ij = q_i . k_j / sqrt(D) where |i-j| < width, else minus infinity

With the causal mask that is the last `width` tokens, itself among them. Order beyond the window's edge is told by the causal
mask alone, as without an encoding. Past the trained length a token still sees as many tokens as ever: what is farther back than
layers times width cannot be reached.
"""

import torch
from torch import Tensor

from rpecli.encoding import DistanceBias, Shape
from rpecli.encodings.hard_alibi import DARK


class Window(DistanceBias):
    paper = "Longformer: The Long-Document Transformer, 2020"
    shared = True
    unseen = "the window stays"

    def __init__(self, shape: Shape, *, width: int = 16):
        super().__init__(shape)
        if width < 1:
            raise ValueError(f"width={width}: a token sees at least itself")
        self.width = width

    def by_distance(self, distance: Tensor) -> Tensor:
        dark = (distance.abs() >= self.width).expand(self.shape.n_head, *distance.shape)
        return torch.zeros(dark.shape, device=distance.device).masked_fill(dark, DARK)
