"""Polar coordinate embedding: the magnitude of a channel encodes content and its phase encodes position.

q_i, k_j:  logit_ij = sum_c softplus(q_ic) softplus(k_jc) cos((i-j) w_c - b_hc) / sqrt(D),  w_c = base^(-c/D), c = 0 .. D-1

One frequency per channel, twice as many as RoPE has; b in [-2 pi, 0] is learned per head and channel and starts at 0
(`start=uniform`: anywhere in that range). Cosine and sine take one channel each, so queries and keys are twice as wide. Past the
training length the slow channels meet angles they never saw.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class PoPE(Encoding):
    title = "PoPE"
    paper = 'Decoupling the "What" and "Where" With Polar Coordinate Positional Embeddings, 2025, arXiv 2509.10534'
    extrapolation = "new angles of the slow channels"
    look = ("#8A5FBF", "h")

    def __init__(self, shape: Shape, *, base: float = 10000.0, start: str = "zero"):
        super().__init__(shape)
        require.positive(base=base)
        require.one_of(("zero", "uniform"), start=start)
        self.base = base
        uniform_HxD = torch.rand(shape.n_head, shape.d_head)
        self.bias_HxD = nn.Parameter(-2 * math.pi * uniform_HxD if start == "uniform" else torch.zeros_like(uniform_HxD))

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        b_Hx1xD = self.bias_HxD.clamp(-2 * math.pi, 0)[:, None]
        return _polar(qk.q_BxHxTxD, self._angle(qk.q_pos_BxT)), _polar(qk.k_BxHxSxD, self._angle(qk.k_pos_BxS) + b_Hx1xD)

    def _angle(self, positions_BxT: Tensor) -> Tensor:
        w_D = rotary.frequencies(2 * self.shape.d_head, self.base, positions_BxT.device)
        return rotary.angles(positions_BxT, w_D)[:, None]


def _polar(x_BxHxTxD: Tensor, angle_BxHxTxD: Tensor) -> Tensor:
    magnitude_BxHxTxD = F.softplus(x_BxHxTxD)
    return torch.cat([magnitude_BxHxTxD * angle_BxHxTxD.cos(), magnitude_BxHxTxD * angle_BxHxTxD.sin()], dim=-1)
