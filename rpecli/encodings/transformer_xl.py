"""Transformer-XL's relative attention: a content term and a term of sinusoids of the distance, each with a learned query bias.

logit_ij = ((q_i + u) . k_j + (q_i + v) . (W R_{i-j})) / sqrt(D),  R_d = [sin(d w), cos(d w)],  w_c = 10000^(-2c/M)
                                                                                                   (paper, section 3.3)
u, v are shared by all layers, W belongs to the layer; u, v, W ~ N(0, 0.02^2) as in the authors' code. The sum of angles splits
the second term into M extra channels of queries and keys, so this is plain attention on wider vectors:
with (a, b) the halves of (q_i + v) W,
a.sin((i-j)w) + b.cos((i-j)w) = cos(jw).(a sin(iw) + b cos(iw)) + sin(jw).(b sin(iw) - a cos(iw)).
Long evaluation computes (q_i + v) . (W R_{i-j}) directly instead: a product of D channels in place of M.
Past the training length the sinusoids are defined, and new to the model.
"""

from typing import Self

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceCurve, Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class TransformerXL(DistanceCurve):
    title = "Transformer-XL"
    paper = "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context, 2019, arXiv 1901.02860"
    extrapolation = "sinusoids of new distances"
    look = ("#8A5FBF", "P")
    score = Encoding.score  # `rotate` gives the whole score

    def __init__(self, shape: Shape):
        super().__init__(shape)
        require.even_width(shape)
        self.u_HxD = nn.Parameter(0.02 * torch.randn(shape.n_head, shape.d_head))
        self.v_HxD = nn.Parameter(0.02 * torch.randn(shape.n_head, shape.d_head))
        self.w_HxDxM = nn.Parameter(0.02 * torch.randn(shape.n_head, shape.d_head, shape.d_model))

    def share_with(self, first: Self) -> None:
        self.u_HxD, self.v_HxD = first.u_HxD, first.v_HxD

    def _waves(self, positions_BxT: Tensor) -> tuple[Tensor, Tensor]:
        w_C = rotary.frequencies(self.shape.d_model, 10000.0, positions_BxT.device)
        angle_Bx1xTxC = rotary.angles(positions_BxT, w_C)[:, None]
        return angle_Bx1xTxC.sin(), angle_Bx1xTxC.cos()

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        q, k = qk.q_BxHxTxD, qk.k_BxHxSxD
        a_BxHxTxC, b_BxHxTxC = ((q + self.v_HxD[:, None]) @ self.w_HxDxM).chunk(2, dim=-1)
        sin_i, cos_i = self._waves(qk.q_pos_BxT)
        sin_j, cos_j = (wave.expand(k.shape[0], k.shape[1], -1, -1) for wave in self._waves(qk.k_pos_BxS))
        wide_q = [q + self.u_HxD[:, None], a_BxHxTxC * sin_i + b_BxHxTxC * cos_i, b_BxHxTxC * sin_i - a_BxHxTxC * cos_i]
        return torch.cat(wide_q, dim=-1), torch.cat([k, cos_j, sin_j], dim=-1)

    def query_weights(self, qk: QueryKey) -> Tensor:
        return (qk.q_BxHxTxD + self.v_HxD[:, None]) * self.shape.scale

    def distance_basis(self, distance_N: Tensor) -> Tensor:
        return self.w_HxDxM @ torch.cat(self._waves(distance_N[None]), dim=-1)[0, 0].T

    def content_qk(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        return qk.q_BxHxTxD + self.u_HxD[:, None], qk.k_BxHxSxD
