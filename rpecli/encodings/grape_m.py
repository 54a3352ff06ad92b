"""Contextual GRAPE-M: RoPE with learned frequencies whose positions advance by a step that each token sets.

q_i, k_j split into pairs c;  pair c of token t rotates by w_c exp(r_c) sum_{l<t} s_l,  s = sigmoid((a . x + b) / 16)

w_c = base^(-2c/D), r = 0 and a = 0 at first; the heads of a layer share them and, unless `per_head=true`, the step. b starts at
ln(e^0.001 - 1) = -6.9 as in the authors' code: the paper's step is softplus(a . x + b), which starts at 0.001 (`step=softplus`),
but the sigmoid in the code starts at 0.39. The token's own step does not count. With equal steps this is `rope:learned=true`.
Channels c and c + D/2 are a pair. The positions are not read. Past the training length the angles keep adding up.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary

DIVISOR = 16  # of the argument of the sigmoid


class GrapeM(Encoding):
    title = "GRAPE-M"
    group = "content"
    paper = "Group Representational Position Encoding, 2025, arXiv 2512.07805"
    causal_only = True
    extrapolation = "angles keep adding up"
    look = ("#6B7A8F", "X")
    w_C: Tensor

    def __init__(self, shape: Shape, *, base: float = 10000.0, step: str = "sigmoid", per_head: bool = False):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        require.one_of(("sigmoid", "softplus"), step=step)
        rows, self.step = shape.n_head if per_head else 1, step
        self.a_RxM, self.b_R = nn.Parameter(torch.zeros(rows, shape.d_model)), nn.Parameter(torch.zeros(rows))
        nn.init.constant_(self.b_R, math.log(math.expm1(0.001)))
        self.log_w_C = nn.Parameter(torch.zeros(shape.d_head // 2))
        self.register_buffer("w_C", rotary.frequencies(shape.d_head, base).float(), persistent=False)

    def features(self, x_BxTxM: Tensor) -> Tensor:
        z_BxTxR = F.linear(x_BxTxM, self.a_RxM, self.b_R)
        step_BxTxR = F.softplus(z_BxTxR) if self.step == "softplus" else (z_BxTxR / DIVISOR).sigmoid()
        return step_BxTxR.transpose(1, 2)[..., None]

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        place_BxRxSx1 = qk.k_feat_BxHxSxF.cumsum(2) - qk.k_feat_BxHxSxF
        return rotary.turn(qk, place_BxRxSx1 * (self.w_C * self.log_w_C.exp()))
