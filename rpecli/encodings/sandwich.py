"""Sandwich: the dot product of two sinusoidal encodings as a bias, which decays with the distance and oscillates.

logit_ij = q_i . k_j / sqrt(D) + sum_c cos((i-j) 10000^(-2c/W)) / (8h/H),  c = 0 .. W/2-1,  h = 1..H,  W = 128    (appendix E)

Nothing is learned. One library has a "sandwich" bias without the cosine, which is linear. Past the training length the sum of
cosines is defined, and keeps decaying as long as the slowest wave does.
"""

import torch
from torch import Tensor

from rpecli.encoding import DistanceBias, Shape
from rpecli.encodings import _rotary as rotary


class Sandwich(DistanceBias):
    title = "Sandwich"
    paper = "Dissecting Transformer Length Extrapolation via the Lens of Receptive Field Analysis, 2022, arXiv 2212.10356"
    shared = True
    extrapolation = "keeps decaying, with oscillations"
    w_C: Tensor
    gain_H: Tensor

    def __init__(self, shape: Shape, *, width: int = 128):
        super().__init__(shape)
        if width < 2 or width % 2:
            raise ValueError(f"width={width}: must be even, for example width={max(2, width + width % 2)}")
        self.register_buffer("w_C", rotary.frequencies(width, 10000.0), persistent=False)
        self.register_buffer("gain_H", shape.n_head / (8 * torch.arange(1, shape.n_head + 1)), persistent=False)

    def by_distance(self, distance: Tensor) -> Tensor:
        total = torch.zeros_like(distance, dtype=self.w_C.dtype)
        for w in self.w_C:  # one wave at a time: all pairs times all waves would take 64 times the memory
            total = total + torch.cos(distance * w)
        return self.gain_H.view(-1, *[1] * distance.dim()) * total
