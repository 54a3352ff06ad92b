"""Shaw's relative position representations: a learned vector for every distance, added to the key.

logit_ij = q_i . (k_j + a[clip(i-j, -K, K)]) / sqrt(D)                                                   (paper, equation 4)

One table of vectors per layer, shared by its heads, K = 16, drawn from N(0, 1/D): K+1 vectors in causal attention, 2K+1 in
bidirectional attention. The paper's second table, added to the values, is left out. Past distance K all keys have
the last vector.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceCurve, QueryKey, Shape
from rpecli.encodings import _require as require


class Shaw(DistanceCurve):
    title = "Shaw"
    paper = "Self-Attention with Relative Position Representations, 2018, arXiv 1803.02155"
    extrapolation = "all far distances share one vector"
    look = ("#5B8C2A", "X")

    def __init__(self, shape: Shape, *, reach: int = 16):
        super().__init__(shape)
        require.at_least(1, reach=reach)
        self.max_distance, self.ahead = reach, 0 if shape.causal else reach
        self.table_NxD = nn.Parameter(torch.randn(self.ahead + reach + 1, shape.d_head) * shape.d_head**-0.5)

    def query_weights(self, qk: QueryKey) -> Tensor:
        return qk.q_BxHxTxD * self.shape.scale

    def distance_basis(self, distance_N: Tensor) -> Tensor:
        return self.table_NxD[distance_N.clamp(-self.ahead, self.max_distance) + self.ahead].T[None]
