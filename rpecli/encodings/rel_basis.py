"""Relative basis (Inkling): every token computes weights of learned functions of the distance, whose sum is its bias.

logit_ij = q_i . k_j / sqrt(D) + (W x_i)_h . bank[:, i-j] for i-j < extent, else without the second term

Inkling, 2026, as in Hugging Face transformers 5.23 (there is no paper); there width = 16, extent = 1024 and q.k is scaled by 1/D
after a norm. It is Shaw's table with its own projection for the query and nothing beyond the extent. `extent` is the training
length by default, since functions beyond it would keep their initial values. W ~ N(0, 1/M), bank ~ N(0, 0.02^2), one per layer.
Past the extent there is no bias.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import DistanceCurve, QueryKey, Shape


class RelBasis(DistanceCurve):
    title = "Relative basis"
    paper = "Inkling, 2026 (no paper; Hugging Face transformers 5.23)"
    causal_only = True
    extrapolation = "no bias beyond the extent"

    def __init__(self, shape: Shape, *, width: int = 16, extent: int = 0):
        super().__init__(shape)
        if width < 1 or extent < 0:
            raise ValueError(f"width={width} and extent={extent}: both must be at least 1 (extent=0: the training length)")
        self.max_distance = extent or shape.max_train_length
        self.w_HRxM = nn.Parameter(torch.randn(shape.n_head * width, shape.d_model) * shape.d_model**-0.5)
        self.bank_RxN = nn.Parameter(0.02 * torch.randn(width, self.max_distance))

    def features(self, x_BxTxM: Tensor) -> Tensor:
        return (x_BxTxM @ self.w_HRxM.T).unflatten(-1, (self.shape.n_head, -1)).transpose(1, 2)

    def query_weights(self, qk: QueryKey) -> Tensor:
        return qk.q_feat_BxHxTxF

    def distance_basis(self, distance_N: Tensor) -> Tensor:
        return F.pad(self.bank_RxN, (0, 1))[None, :, distance_N.clamp(0, self.max_distance)]
