"""Shaw's relative position representations: a learned key vector for every distance, added to the key.

logit_ij = q_i . (k_j + a[clip(i-j, -K, K)]) / sqrt(D)                                                   (paper, equation 4)

One table of vectors a layer, shared by its heads, K = 16, drawn from N(0, 1/D): K+1 of them in causal attention, 2K+1 in both
directions. The paper's second table, added to the values, is left out. Past distance K every key shares the last vector.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceCurve, Shape


class Shaw(DistanceCurve):
    paper = "Self-Attention with Relative Position Representations, 2018, arXiv 1803.02155"
    unseen = "one vector for all that is far"

    def __init__(self, shape: Shape, *, reach: int = 16):
        super().__init__(shape)
        if reach < 1:
            raise ValueError(f"reach={reach}: the farthest distance told apart is at least 1")
        self.reach, self.ahead = reach, 0 if shape.causal else reach
        self.table_NxD = nn.Parameter(torch.randn(self.ahead + reach + 1, shape.d_head) * shape.d_head**-0.5)

    def asks(self, q: Tensor, qf: Tensor | None) -> Tensor:
        return q * self.shape.scale

    def vectors(self, distance_N: Tensor) -> Tensor:
        return self.table_NxD[distance_N.clamp(-self.ahead, self.reach) + self.ahead].T[None]
