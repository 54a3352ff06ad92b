"""FoX, the forgetting transformer: each token sets a forget gate per head that down-weights everything before it.

logit_ij = q_i . k_j / sqrt(D) + sum_{l=j+1..i} ln f_l,  f_l = sigmoid(w_h . x_l + b_h)

The sum is c_i - c_j with c the running sum of ln f, so it takes two channels of queries and keys: plain attention, linear memory.
w ~ N(0, 0.02^2), and b starts at 0, which forgets half at every token, as in the authors' code. Some code starts at 5, which
forgets 0.7 %: no better here (600 steps of copying 16 symbols, two seeds: exact match 0.95 for 0, 0.92 for 3, 0.87 for 5; recall:
1 for all). CABLE (2025, arXiv 2503.08067) writes -softplus for ln sigmoid, the same function of -w, and leaves out the scale of
q.k. The positions are not read. Past the training length the forgetting continues.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings._parts import in_parts


class FoX(Encoding):
    title = "FoX"
    group = "content"
    paper = "Forgetting Transformer: Softmax Attention with a Forget Gate, 2025, arXiv 2503.02130"
    causal_only = True
    extrapolation = "forgetting continues"
    look = ("#661100", "v")

    def __init__(self, shape: Shape, *, bias: float = 0.0):
        super().__init__(shape)
        self.w_HxM = nn.Parameter(0.02 * torch.randn(shape.n_head, shape.d_model))
        self.b_H = nn.Parameter(torch.full((shape.n_head,), bias))

    def features(self, x_BxTxM: Tensor) -> Tensor:
        return F.logsigmoid(F.linear(x_BxTxM, self.w_HxM, self.b_H)).transpose(1, 2)[..., None]

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        T, S = qk.lengths
        c_BxHxSx1 = qk.k_feat_BxHxSxF.cumsum(2) / self.shape.scale  # off by 4e-4 at 3000 tokens of f = 0.5, centered or not
        c_BxHxSxN = in_parts(c_BxHxSx1, qk.product_dtype)  # 8 bits would be off by 3 at 512 tokens
        one = torch.ones_like(c_BxHxSxN)
        wide_q = torch.cat([qk.q_BxHxTxD, c_BxHxSxN[:, :, S - T :], -one[:, :, :T]], dim=-1)
        return wide_q, torch.cat([qk.k_BxHxSxD, one, c_BxHxSxN], dim=-1)
