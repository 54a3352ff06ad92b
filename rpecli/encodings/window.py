"""A sliding window: every head sees only the nearest tokens, and nothing else depends on position.

logit_ij = q_i . k_j / sqrt(D) where |i-j| < width, else minus infinity

With the causal mask these are the last `width` tokens, the current token included. Inside the window only the causal mask tells
the order of the tokens, as without an encoding. Past the training length a token still sees as many tokens as before: tokens
farther back than layers times width are out of reach.
"""

import torch
from torch import Tensor

from rpecli.encoding import DistanceBias, Shape
from rpecli.encodings import _require as require
from rpecli.encodings.hard_alibi import MASKED


class Window(DistanceBias):
    title = "Sliding window"
    paper = "Longformer: The Long-Document Transformer, 2020"
    shared = True
    extrapolation = "the window stays the same"

    def __init__(self, shape: Shape, *, width: int = 16):
        super().__init__(shape)
        require.at_least(1, width=width)  # a token sees at least itself
        self.width = width

    def by_distance(self, distance: Tensor) -> Tensor:
        outside = (distance.abs() >= self.width).expand(self.shape.n_head, *distance.shape)
        return torch.zeros(outside.shape, device=distance.device).masked_fill(outside, MASKED)
