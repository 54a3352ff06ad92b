"""Polar coordinate embedding: a channel's magnitude says what, the angle of its position says where, and the two do not mix.

q_i, k_j:  logit_ij = sum_c softplus(q_ic) softplus(k_jc) cos((i-j) w_c - b_hc) / sqrt(D),  w_c = base^(-c/D), c = 0 .. D-1

One frequency a channel, twice RoPE's; b in [-2 pi, 0] is learned for each head and channel and starts at 0 (`start=uniform`:
anywhere in that range). Cosine and sine take a channel each, so queries and keys are twice as wide. Past the trained length the
slow channels meet angles they never saw.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, Shape


class PoPE(Encoding):
    paper = 'Decoupling the "What" and "Where" With Polar Coordinate Positional Embeddings, 2025, arXiv 2509.10534'
    unseen = "new angles of the slow channels"

    def __init__(self, shape: Shape, *, base: float = 10000.0, start: str = "zero"):
        super().__init__(shape)
        if not base > 0:
            raise ValueError(f"base={base}: frequencies need a base above 0, for example base=10000")
        if start not in ("zero", "uniform"):
            raise ValueError(f"start is zero or uniform, not {start!r}")
        self.base = base
        drawn_HxD = torch.rand(shape.n_head, shape.d_head)
        self.bias_HxD = nn.Parameter(-2 * math.pi * drawn_HxD if start == "uniform" else torch.zeros_like(drawn_HxD))

    def _angle(self, positions_BxT: Tensor) -> Tensor:
        D = self.shape.d_head
        w_D = self.base ** (-torch.arange(D, device=positions_BxT.device, dtype=torch.float32) / D)
        return (positions_BxT[..., None] * w_D)[:, None]

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        b_Hx1xD = self.bias_HxD.clamp(-2 * math.pi, 0)[:, None]
        return self._polar(q, self._angle(q_pos)), self._polar(k, self._angle(k_pos) + b_Hx1xD)

    def _polar(self, x_BxHxTxD: Tensor, angle_BxHxTxD: Tensor) -> Tensor:
        size_BxHxTxD = F.softplus(x_BxHxTxD)
        return torch.cat([size_BxHxTxD * angle_BxHxTxD.cos(), size_BxHxTxD * angle_BxHxTxD.sin()], dim=-1)
