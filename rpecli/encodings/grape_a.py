"""GRAPE-A: ALiBi whose slope is gated by the key, by the query, or by both.

logit_ij = q_i . k_j / sqrt(D) - (i-j) m_h softplus(o_h) g_ij
g_ij = softplus(u_h . k_j / sqrt(D)) for gate=key, softplus(v_h . q_i / sqrt(D)) for gate=query, their sum for gate=both

m_h are ALiBi's slopes, softplus(o) = 1 at first, and u, v ~ N(0, 1/D) are divided by their length each time. A gate starts at
about ln 2: ALiBi with 0.69 of the slope, and twice that for both. The paper's key gate has a raw u.k, which may reward distance;
the authors' code has the softplus, and so has this. The distance times a gate is -i g_j + j g_j, so two channels of queries and
keys for each gate give the scores exactly: plain attention, linear memory. Positions count from the middle of the keys.
Past the training length the penalty keeps growing.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings._parts import product
from rpecli.encodings.alibi import slopes


class GrapeA(Encoding):
    title = "GRAPE-A"
    group = "content"
    paper = "Group Representational Position Encoding, 2025, arXiv 2512.07805"
    causal_only = True
    extrapolation = "the penalty keeps growing"
    slope_H: Tensor

    def __init__(self, shape: Shape, *, gate: str = "both"):
        super().__init__(shape)
        require.one_of(("key", "query", "both"), gate=gate)
        H, D = shape.n_head, shape.d_head
        self.register_buffer("slope_H", torch.tensor(slopes(H)), persistent=False)
        self.o_H = nn.Parameter(torch.full((H,), math.log(math.e - 1)))
        self.u_HxD = nn.Parameter(torch.randn(H, D) * D**-0.5) if gate != "query" else None
        self.v_HxD = nn.Parameter(torch.randn(H, D) * D**-0.5) if gate != "key" else None

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        middle_Bx1 = (qk.k_pos_BxS.amin(1, keepdim=True) + qk.k_pos_BxS.amax(1, keepdim=True)) // 2  # whole, so exact
        i_BxHxTx1, j_BxHxSx1 = (
            (positions - middle_Bx1)[:, None, :, None].to(x.dtype).expand(*x.shape[:3], 1)
            for positions, x in ((qk.q_pos_BxT, qk.q_BxHxTxD), (qk.k_pos_BxS, qk.k_BxHxSxD))
        )
        slope_Hx1x1 = (self.slope_H * F.softplus(self.o_H) / self.shape.scale)[:, None, None]  # the engine scales products
        pairs = []
        if self.u_HxD is not None:
            g_BxHxSx1 = slope_Hx1x1 * self._gate(qk.k_BxHxSxD, self.u_HxD)
            pairs += [(-i_BxHxTx1, g_BxHxSx1), (torch.ones_like(i_BxHxTx1), j_BxHxSx1 * g_BxHxSx1)]
        if self.v_HxD is not None:
            g_BxHxTx1 = slope_Hx1x1 * self._gate(qk.q_BxHxTxD, self.v_HxD)
            pairs += [(g_BxHxTx1, j_BxHxSx1), (-i_BxHxTx1 * g_BxHxTx1, torch.ones_like(j_BxHxSx1))]
        queries, keys = zip(*(product(a, b, qk.product_dtype) for a, b in pairs), strict=True)
        return torch.cat([qk.q_BxHxTxD, *queries], dim=-1), torch.cat([qk.k_BxHxSxD, *keys], dim=-1)

    def _gate(self, x_BxHxTxD: Tensor, w_HxD: Tensor) -> Tensor:
        return F.softplus(x_BxHxTxD @ F.normalize(w_HxD, dim=-1)[:, :, None] * self.shape.scale)
