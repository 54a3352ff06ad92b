"""Decoupled RoPE: content and position have channels of their own, as in DeepSeek's latent attention.

logit_ij = (q_i . k_j + rope(a_i, i) . rope(b_j, j)) / sqrt(D + r),  a = W_a x per head,  b = W_b x one vector for all heads

r = D/2 rotated channels (DeepSeek-V2: 64 beside 128), w_c = base^(-2c/r), neighbouring channels in pairs; weights ~ N(0, 1/M).
`rope:fraction=...` differs: there each head rotates some of its own channels. Of latent attention this part alone is here: keys
and values are not compressed. Past the training length the slow pairs meet new angles.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class DecoupledRoPE(Encoding):
    title = "Decoupled RoPE"
    paper = "DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model, 2024, arXiv 2405.04434"
    extrapolation = "new angles of the slow pairs"
    look = ("#0072B2", "s")

    def __init__(self, shape: Shape, *, width: int = 0, base: float = 10000.0):
        super().__init__(shape)
        require.even_head(shape)
        require.at_least(0, width=width)
        require.positive(base=base)
        self.width, self.base = width or 2 * max(1, shape.d_head // 4), base
        if self.width % 2:
            raise ValueError(f"width={width}: rotations pair channels: write width={width + 1}")
        self.w_NxM = nn.Parameter(torch.randn((shape.n_head + 1) * self.width, shape.d_model) * shape.d_model**-0.5)

    def features(self, x_BxTxM: Tensor) -> Tensor:
        """a of each head, then b, which all heads share."""
        a, b = (x_BxTxM @ self.w_NxM.T).unflatten(-1, (-1, self.width)).transpose(1, 2).split([self.shape.n_head, 1], dim=1)
        return torch.cat([a, b.expand_as(a)], dim=-1)

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        a, b = qk.q_feat_BxHxTxF[..., : self.width], qk.k_feat_BxHxSxF[..., self.width :]
        w_C = rotary.frequencies(self.width, self.base, qk.device)
        a, b = (rotary.rotated(x, rotary.rotation(at, w_C)) for x, at in ((a, qk.q_pos_BxT), (b, qk.k_pos_BxS)))
        D = self.shape.d_head
        return torch.cat([qk.q_BxHxTxD, a], dim=-1) * (D / (D + self.width)) ** 0.5, torch.cat([qk.k_BxHxSxD, b], dim=-1)
