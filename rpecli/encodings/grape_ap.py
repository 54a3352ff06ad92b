"""GRAPE-AP: every query sets its own forget gates for the keys, and a key is down-weighted by those between it and the query.

logit_ij = q_i . k_j / sqrt(D) + sum_{l=j+1..i} psi_il,  psi_il = m_h ln sigmoid(p_i . R_l n(p_l) / P),  p = W_p x

m_h are ALiBi's slopes, n divides by the root of the mean square, and R_l turns every pair (c, c + P/2) by -l radians. P = 8 per
head. W_p ~ N(0, 1/(4M)), as in the authors' code, so psi starts near m_h ln(1/2): ALiBi with 0.69 of the slope. That code
normalizes the key's p alone, the paper both; here as the code. R stands on the key's side alone in both, so scores depend on
where the keys stand: not shift invariant. The authors also normalize queries and keys (QK-norm), which is a setting of its own.
Past the training length the decay continues, and R_l meets the same angles again.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _gates as gates
from rpecli.encodings import _rotary as rotary
from rpecli.encodings.alibi import slopes


class GrapeAP(Encoding):
    title = "GRAPE-AP"
    group = "content"
    paper = "Group Representational Position Encoding, 2025, arXiv 2512.07805"
    shift_invariant = False
    causal_only = True
    extrapolation = "the decay continues"
    look = ("#661100", "X")
    slope_H: Tensor

    def __init__(self, shape: Shape, *, width: int = 8):
        super().__init__(shape)
        if width < 2 or width % 2:
            raise ValueError(f"width={width}: rotations pair channels: write an even width, such as width=8")
        self.w_HPxM = nn.Parameter(torch.randn(shape.n_head * width, shape.d_model) * 0.5 * shape.d_model**-0.5)
        self.register_buffer("slope_H", torch.tensor(slopes(shape.n_head)), persistent=False)

    def features(self, x_BxTxM: Tensor) -> Tensor:
        p_BxHxTxP = F.linear(x_BxTxM, self.w_HPxM).unflatten(-1, (self.shape.n_head, -1)).transpose(1, 2)
        return torch.cat([p_BxHxTxP, torch.ones_like(p_BxHxTxP[..., :1])], dim=-1)  # the engine makes it 0 for padding

    def score_buffers(self, rows: int, keys: int) -> float:
        return 6.0  # products, potentials, and the copies of a sum from the right

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        (T, S), p_q, p_k = qk.lengths, qk.q_feat_BxHxTxF[..., :-1], qk.k_feat_BxHxSxF[..., :-1]
        w_C = torch.full((p_k.shape[-1] // 2,), -1.0, dtype=torch.float64, device=qk.device)
        turned = rotary.rotated(F.rms_norm(p_k, p_k.shape[-1:]), rotary.rotation(qk.k_pos_BxS, w_C), "half")
        psi_BxHxTxS = F.logsigmoid(p_q @ turned.mT / p_k.shape[-1]) * (
            self.slope_H[:, None, None] * qk.k_feat_BxHxSxF[..., -1:].mT
        )
        return logits_BxHxTxS + gates.after(psi_BxHxTxS.tril(S - T))
