"""CoPE: positions counted in tokens that the query's own gates let through, so a token can be told by how many of a kind ago.

logit_ij = q_i . k_j / sqrt(D) + q_i . e[p_ij],  p_ij = sum_{l=j..i} sigmoid(q_i . k_l / sqrt(D))

e[p] between whole numbers is interpolated; p is at most npos - 1. A table a layer, shared by its heads, zero at first; npos = 64
as in the public ports. Positions handed in are not read: what counts is the content between j and i, and the order of tokens.
Past the trained length counts above npos - 1 are one.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import Encoding, Shape


class CoPE(Encoding):
    group = "content"
    paper = "Contextual Position Encoding: Learning to Count What's Important, 2024, arXiv 2405.18719"
    causal_only = True
    unseen = "counts stop at npos - 1"

    def __init__(self, shape: Shape, *, npos: int = 64):
        super().__init__(shape)
        if npos < 2:
            raise ValueError(f"npos={npos}: the table needs at least 2 rows, for counts 0 and 1")
        self.npos = npos
        self.table_NxD = nn.Parameter(torch.zeros(npos, shape.d_head))

    def held(self, rows: int, keys: int) -> float:
        return 8.0  # gates, counts, their whole parts as indices of 8 bytes, both neighbours in the table

    def score(
        self, logits: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> Tensor:
        T, S = logits.shape[-2:]
        gate_BxHxTxS = logits.sigmoid().tril(S - T)
        count_BxHxTxS = gate_BxHxTxS.flip(-1).cumsum(-1).flip(-1).clamp(max=self.npos - 1)
        by_row_BxHxTxN = q @ self.table_NxD.T
        below = by_row_BxHxTxN.gather(-1, count_BxHxTxS.floor().long())
        above = by_row_BxHxTxN.gather(-1, count_BxHxTxS.ceil().long())
        return logits + below.lerp(above, count_BxHxTxS.frac())
