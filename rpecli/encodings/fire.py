"""FIRE: a small network maps the distance, divided by a log-scaled reach, to a bias; inputs never leave [0, 1].

bias_ij = MLP(psi(i-j) / psi(max(i, L))),  psi(x) = ln(|c x| + 1)                                        (paper, equation 17)

MLP 1 -> 32 -> H with ReLU, a network a layer; c and L learned (L = threshold times a learned factor). The authors' threshold is
512; the default here is the longest trained sequence, since a threshold far above it would never adapt. Some public code has
min(i, L) where the paper has max. In both directions the distance is |i-j|, and max(i, j, L) keeps the inputs where they are.
Depends on i as well as on i-j, so it is not shift invariant.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import Encoding, Shape


class FIRE(Encoding):
    paper = "Functional Interpolation for Relative Positions Improves Long Context Transformers, 2023, arXiv 2310.04418"
    shift_invariant = False
    unseen = "normalised into [0, 1]"

    def __init__(self, shape: Shape, *, hidden: int = 32, threshold: float = 0.0, c: float = 0.1):
        super().__init__(shape)
        if hidden < 1:
            raise ValueError(f"hidden={hidden}: the network needs at least one unit")
        self.threshold = threshold or float(shape.trained)
        self.c = nn.Parameter(torch.tensor(c))
        self.factor = nn.Parameter(torch.tensor(1.0))
        self.mlp = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, shape.n_head))

    def _psi(self, x: Tensor) -> Tensor:
        return torch.log((self.c * x).abs() + 1)

    def bias(self, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        i_BxTx1, j_Bx1xS = q_pos[:, :, None], k_pos[:, None, :]
        distance_BxTxS = (i_BxTx1 - j_Bx1xS).clamp(min=0) if self.shape.causal else (i_BxTx1 - j_Bx1xS).abs()
        last = i_BxTx1 if self.shape.causal else torch.maximum(i_BxTx1, j_Bx1xS)
        reach = torch.maximum(last.to(self.c.dtype), (self.threshold * self.factor).abs())
        share_BxTxS = self._psi(distance_BxTxS.to(self.c.dtype)) / (self._psi(reach) + 1e-6)
        return self.mlp(share_BxTxS[..., None]).movedim(-1, 1)
