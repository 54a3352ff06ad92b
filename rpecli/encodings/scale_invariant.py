"""Scale-invariant attention: far scores are spread wider and set lower, so that near and far each keep their share of attention.

logit_ij = a_d s_ij + 1 - a_d^2,  a_d^2 = 2 ln(d / tau + 1) + 1,  d = i-j,  s_ij = RoPE(q_i) . RoPE(k_j) / sqrt(D)

tau = 10. The formula is that of two public transcriptions which agree. RoPE without its slowest pairs, as in `p-rope`, p = 0.75;
the authors normalize queries and keys as well, which is left out here. Past the trained length a goes on growing, slowly.
"""

import torch
from torch import Tensor

from rpecli.encoding import Encoding, Shape
from rpecli.encodings import _rotary as rotary


class ScaleInvariant(Encoding):
    paper = "Scale-invariant Attention, 2025, arXiv 2505.17083"
    shared = True
    causal_only = True
    unseen = "new angles of fewer slow pairs; the spread grows"
    w_C: Tensor

    def __init__(self, shape: Shape, *, tau: float = 10.0, p: float = 0.75, base: float = 10000.0):
        super().__init__(shape)
        if not (tau > 0 and base > 0 and 0 <= p <= 1):
            raise ValueError(f"tau={tau}, p={p}, base={base}: tau and base are above 0, p from 0 (no rotation) to 1")
        if shape.d_head % 2:
            raise ValueError(
                f"head width d_model/n_head = {shape.d_head} is odd, and rotations need pairs: "
                f"write d_model={(shape.d_head + 1) * shape.n_head}"
            )
        self.tau = tau
        w_C = rotary.frequencies(shape.d_head, base)
        kept = torch.arange(len(w_C)) < int(p * len(w_C) + 1e-9)
        self.register_buffer("w_C", torch.where(kept, w_C, 0.0), persistent=False)

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return rotary.turned(q, rotary.turns(q_pos, self.w_C)), rotary.turned(k, rotary.turns(k_pos, self.w_C))

    def score(
        self, logits: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> Tensor:
        distance_Bx1xTxS = (q_pos[:, :, None] - k_pos[:, None, :]).clamp(min=0)[:, None]
        square_Bx1xTxS = (2 * torch.log1p(distance_Bx1xTxS / self.tau) + 1).to(logits.dtype)
        return square_Bx1xTxS.sqrt() * logits + (1 - square_Bx1xTxS)
