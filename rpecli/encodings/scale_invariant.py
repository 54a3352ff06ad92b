"""Scale-invariant attention: scores of distant keys are spread wider and set lower, so near and far keys keep their shares.

logit_ij = a_d s_ij + 1 - a_d^2,  a_d^2 = 2 ln(d / tau + 1) + 1,  d = i-j,  s_ij = RoPE(q_i) . RoPE(k_j) / sqrt(D)

tau = 10. The formula is that of two public transcriptions, which agree. RoPE is without its slowest pairs, as in `p-rope`,
p = 0.75 (0: no rotation); the authors also normalize queries and keys, which is left out here. Past the training length a keeps
growing, slowly.
"""

import torch
from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class ScaleInvariant(Encoding):
    title = "Scale-invariant"
    paper = "Scale-invariant Attention, 2025, arXiv 2505.17083"
    shared = True
    causal_only = True
    extrapolation = "new angles of fewer slow pairs; the spread grows"

    def __init__(self, shape: Shape, *, tau: float = 10.0, p: float = 0.75, base: float = 10000.0):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(tau=tau, base=base)
        if not 0 <= p <= 1:
            raise ValueError(f"p={p}: must be from 0 (no rotation) to 1")
        self.tau, self.base, self.n_rotated = tau, base, int(p * shape.d_head / 2 + 1e-9)

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        w_C = rotary.first_frequencies(self.n_rotated, self.shape.d_head, self.base, qk.device)
        return rotary.rotate(qk, w_C)

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        distance_Bx1xTxS = qk.distance_BxTxS.clamp(min=0)[:, None]
        square_Bx1xTxS = (2 * torch.log1p(distance_Bx1xTxS / self.tau) + 1).to(logits_BxHxTxS.dtype)
        return square_Bx1xTxS.sqrt() * logits_BxHxTxS + (1 - square_Bx1xTxS)
