"""Attention with linear biases: every head subtracts a penalty that grows linearly with the distance, at its own slope.

logit_ij = q_i . k_j / sqrt(D) - m_h |i-j|,  m_h = 2^(-8h/H), h = 1..H                                   (paper, section 3)

If H is not a power of two: the slopes of the power of two below H, then every other slope of the power of two above.
`learned=true` starts from these slopes and learns their logarithms. In bidirectional attention the penalty is the same on both
sides. Past the training length the penalty keeps growing: steep heads see a window, and distant keys fade.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape


def slopes(n_head: int) -> list[float]:
    """The slope of each head in the paper, also for head counts that are not powers of two (its official code)."""
    below = 2 ** (n_head.bit_length() - 1)
    own = [2 ** (-8 * h / below) for h in range(1, below + 1)]
    return own if below == n_head else own + slopes(2 * below)[0::2][: n_head - below]


class ALiBi(DistanceBias):
    title = "ALiBi"
    baseline = True
    paper = "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation, 2021, arXiv 2108.12409"
    shared = True
    extrapolation = "the penalty keeps growing"
    look = ("#009E73", "s")
    slope_H: Tensor

    def __init__(self, shape: Shape, *, learned: bool = False):
        super().__init__(shape)
        self.register_buffer("slope_H", torch.tensor(slopes(shape.n_head)), persistent=False)
        self.log_slope_H = nn.Parameter(self.slope_H.log()) if learned else None

    def by_distance(self, distance: Tensor) -> Tensor:
        slope_H = self.slope_H if self.log_slope_H is None else self.log_slope_H.exp()
        return -slope_H.view(-1, *[1] * distance.dim()) * distance.abs()
