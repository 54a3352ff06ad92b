"""PaTH: keys are transformed by a product of data-dependent Householder reflections, one per token between key and query.

logit_ij = q_i . (H_i H_{i-1} ... H_{j+1} k_j) / sqrt(D),  H_t = I - beta_t w_t w_t^T
w_t = normalize(conv3(W x)_t),  beta_t = 2 sigmoid(b . x_t + b_0)

W has rank 32, N(0, 1/fan in); b ~ N(0, 0.02^2), b_0 = 0. The authors' code has a SiLU after the convolution, which the paper does
not mention: activation=silu.
The queries are carried back from key to key, 64 keys at a time: within these the products unroll into a triangular system (the UT
transform), (I + L) a = beta (W k), L_tl = beta_t w_t . w_l for l < t. So n rows cost n^2 (D + 64), and a decoded row n (D + 64).
The positions are not read. Past the training length the products grow longer.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings._short_conv import ShortConv

CHUNK = 64  # keys unrolled at once


class PaTH(Encoding):
    title = "PaTH"
    group = "content"
    paper = "PaTH Attention: Position Encoding via Accumulating Householder Transformations, 2025, arXiv 2505.16381"
    causal_only = True
    extrapolation = "longer products"

    def __init__(self, shape: Shape, *, rank: int = 32, width: int = 3, activation: str = "none"):
        super().__init__(shape)
        require.at_least(1, rank=rank, width=width)
        require.one_of(("none", "silu"), activation=activation)
        M, H, self.activation = shape.d_model, shape.n_head, activation
        self.down_RxM = nn.Parameter(torch.randn(rank, M) * M**-0.5)
        self.up_MxR = nn.Parameter(torch.randn(H * shape.d_head, rank) * rank**-0.5)
        self.conv = ShortConv(H * shape.d_head, width)
        self.b_HxM, self.b0_H = nn.Parameter(0.02 * torch.randn(H, M)), nn.Parameter(torch.zeros(H))

    def features(self, x_BxTxM: Tensor) -> Tensor:
        w_BxHxTxD = (x_BxTxM @ self.down_RxM.T @ self.up_MxR.T).unflatten(-1, (self.shape.n_head, -1)).transpose(1, 2)
        beta_BxHxT = 2 * F.linear(x_BxTxM, self.b_HxM, self.b0_H).sigmoid().transpose(1, 2)
        return torch.cat([w_BxHxTxD, beta_BxHxT[..., None]], dim=-1)  # both are 0 for padding, which then reflects nothing

    def reflections(self, k_feat_BxHxSxF: Tensor) -> tuple[Tensor, Tensor]:
        """w_BxHxSxD and beta_BxHxSx1 of each key."""
        w_BxHxSxD = self.conv(k_feat_BxHxSxF[..., :-1])
        return F.normalize(F.silu(w_BxHxSxD) if self.activation == "silu" else w_BxHxSxD, dim=-1), k_feat_BxHxSxF[..., -1:]

    def score_buffers(self, rows: int, keys: int) -> float:
        return 6.0  # 4 by count; the pieces of CHUNK keys leave gaps in the heap: 76 MB at 8,193 tokens, 37 MB by count

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        w_BxHxSxD, beta_BxHxSx1 = self.reflections(qk.k_feat_BxHxSxF)
        (T, S), carried_BxHxTxD, parts = qk.lengths, qk.q_BxHxTxD, []
        for stop in range(S, 0, -CHUNK):
            start = max(0, stop - CHUNK)
            w, beta, k = (x[:, :, start:stop] for x in (w_BxHxSxD, beta_BxHxSx1, qk.k_BxHxSxD))
            behind = (carried_BxHxTxD @ w.mT).tril(S - T - start)  # tokens after the row reflect nothing
            system = (beta * (w @ w.mT)).tril(-1)
            a = torch.linalg.solve_triangular(system, behind, upper=False, left=False, unitriangular=True) * beta.mT
            parts.append(carried_BxHxTxD @ k.mT - a @ (w @ k.mT).tril(-1))
            carried_BxHxTxD = carried_BxHxTxD - a @ w
        return torch.cat(parts[::-1], dim=-1) * self.shape.scale
