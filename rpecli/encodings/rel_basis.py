"""Relative basis (Inkling): every token writes a small vector that weighs learned curves of the distance, its bias for the past.

logit_ij = q_i . k_j / sqrt(D) + (W x_i)_h . bank[:, i-j] for i-j < extent, else without the second term

Inkling, 2026, as Hugging Face transformers 5.23 has it (there is no paper); there width = 16, extent = 1024 and q.k is scaled by
1/D after a norm. Like Shaw's table with a projection of its own for the query and nothing beyond the extent. `extent` here is the
longest trained sequence unless given, since curves beyond it would stay as drawn. W ~ N(0, 1/M), bank ~ N(0, 0.02^2), a layer.
Past the extent there is no bias.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import DistanceCurve, Shape


class RelBasis(DistanceCurve):
    paper = "Inkling, 2026 (no paper; Hugging Face transformers 5.23)"
    causal_only = True
    unseen = "no bias beyond the extent"

    def __init__(self, shape: Shape, *, width: int = 16, extent: int = 0):
        super().__init__(shape)
        if width < 1 or extent < 0:
            raise ValueError(
                f"width={width} and extent={extent}: width is at least 1, extent too (0: the longest trained sequence)"
            )
        self.reach = extent or shape.trained
        self.w_HRxM = nn.Parameter(torch.randn(shape.n_head * width, shape.d_model) * shape.d_model**-0.5)
        self.bank_RxN = nn.Parameter(0.02 * torch.randn(width, self.reach))

    def features(self, x_BxTxM: Tensor) -> Tensor:
        return (x_BxTxM @ self.w_HRxM.T).unflatten(-1, (self.shape.n_head, -1)).transpose(1, 2)

    def asks(self, q: Tensor, qf: Tensor | None) -> Tensor:
        assert qf is not None
        return qf

    def vectors(self, distance_N: Tensor) -> Tensor:
        return F.pad(self.bank_RxN, (0, 1))[None, :, distance_N.clamp(0, self.reach)]
