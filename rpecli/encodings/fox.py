"""FoX, the forgetting transformer: each token sets, for each head, how much of all that stands before it is forgotten.

logit_ij = q_i . k_j / sqrt(D) + sum_{l=j+1..i} ln f_l,  f_l = sigmoid(w_h . x_l + b_h)

The sum is c_i - c_j with c the running sum of ln f, so it takes two channels of queries and keys: plain attention, linear memory.
w ~ N(0, 0.02^2), and b starts at 0, which forgets half at every token, as in the authors' code. Some code starts at 5, which
forgets 0.7 %: no better here (600 steps of copy of 16, two seeds: 0.95 exact for 0, 0.92 for 3, 0.87 for 5; recall: 1 for all).
CABLE (2025, arXiv 2503.08067) writes -softplus for ln sigmoid, the same function of -w, and leaves out the scale of q.k.
Positions handed in are not read. Past the trained length the forgetting goes on.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, Shape


class FoX(Encoding):
    group = "content"
    paper = "Forgetting Transformer: Softmax Attention with a Forget Gate, 2025, arXiv 2503.02130"
    causal_only = True
    unseen = "forgetting goes on"

    def __init__(self, shape: Shape, *, bias: float = 0.0):
        super().__init__(shape)
        self.w_HxM = nn.Parameter(0.02 * torch.randn(shape.n_head, shape.d_model))
        self.b_H = nn.Parameter(torch.full((shape.n_head,), bias))

    def features(self, x_BxTxM: Tensor) -> Tensor:
        return F.logsigmoid(F.linear(x_BxTxM, self.w_HxM, self.b_H)).transpose(1, 2)[..., None]

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert kf is not None
        c_BxHxSx1 = kf.cumsum(2) / self.shape.scale  # at 3000 tokens of f = 0.5 off by 4e-4; centred around 0 by no less
        c_BxHxTx1, one = c_BxHxSx1[:, :, k.shape[2] - q.shape[2] :], torch.ones_like(c_BxHxSx1)
        return torch.cat([q, c_BxHxTx1, -one[:, :, : q.shape[2]]], dim=-1), torch.cat([k, one, c_BxHxSx1], dim=-1)
