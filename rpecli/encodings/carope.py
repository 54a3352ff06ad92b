"""CARoPE: every token says how far each head turns by it, and the steps add up to the angles of queries and keys.

q_i, k_j split into pairs c = 1 .. D/2;  pair c of token t rotates by sum_{l<=t} f_lh^c,  f = 1 / (1 + softplus(w_h . x + b_h))

The head's own first frequency takes the place of RoPE's base^(-2/D). w ~ N(0, 0.02^2). The paper says that it starts as RoPE, but
its formula has no b, and f is 0.59 at w = 0 then (`start=paper`, b fixed at 0); here b is learned and starts where f is
10000^(-2/D), RoPE's second frequency. The paper computes f from the token embedding, this from the layer's input. Channels c and
c + D/2 are a pair. The positions are not read. Past the training length the angles keep adding up.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class CARoPE(Encoding):
    title = "CARoPE"
    group = "content"
    paper = "Context-aware Rotary Position Embedding, 2025, arXiv 2507.23083"
    causal_only = True
    extrapolation = "angles keep adding up"

    def __init__(self, shape: Shape, *, start: str = "rope"):
        super().__init__(shape)
        require.even_head(shape)
        require.one_of(("rope", "paper"), start=start)
        self.w_HxM = nn.Parameter(0.02 * torch.randn(shape.n_head, shape.d_model))
        step = 10000 ** (2 / shape.d_head) - 1  # softplus(b) where f = 10000^(-2/D)
        b = step + math.log(-math.expm1(-step))
        self.b_H = nn.Parameter(torch.full((shape.n_head,), b)) if start == "rope" else None

    def features(self, x_BxTxM: Tensor) -> Tensor:
        f_BxTxH = 1 / (1 + F.softplus(F.linear(x_BxTxM, self.w_HxM, self.b_H)))
        return f_BxTxH.transpose(1, 2)[..., None]

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        c_C = torch.arange(1, self.shape.d_head // 2 + 1, device=qk.device)
        return rotary.turn(qk, (qk.k_feat_BxHxSxF**c_C).cumsum(2))
