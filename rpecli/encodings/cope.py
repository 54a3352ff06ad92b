"""CoPE: the distance to a key counts only the tokens that the query's own gates let through.

logit_ij = q_i . k_j / sqrt(D) + q_i . e[p_ij],  p_ij = sum_{l=j..i} sigmoid(q_i . k_l / sqrt(D))

e[p] between whole numbers is interpolated; p is at most npos - 1. One table per layer, shared by its heads, zero at first;
npos = 64 as in the public ports. The positions are not read: the counts come from the content and order of the tokens between j
and i. Past the training length all counts above npos - 1 are the same.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require


class CoPE(Encoding):
    title = "CoPE"
    group = "content"
    paper = "Contextual Position Encoding: Learning to Count What's Important, 2024, arXiv 2405.18719"
    causal_only = True
    extrapolation = "counts stop at npos - 1"
    look = ("#8E5A8E", "D")

    def __init__(self, shape: Shape, *, npos: int = 64):
        super().__init__(shape)
        require.at_least(2, npos=npos)  # rows for the counts 0 and 1
        self.npos = npos
        self.table_NxD = nn.Parameter(torch.zeros(npos, shape.d_head))

    def score_buffers(self, rows: int, keys: int) -> float:
        return 8.0  # gates, counts, their whole parts as indices of 8 bytes, both neighbours in the table

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        T, S = qk.lengths
        gate_BxHxTxS = logits_BxHxTxS.sigmoid().tril(S - T)
        count_BxHxTxS = gate_BxHxTxS.flip(-1).cumsum(-1).flip(-1).clamp(max=self.npos - 1)
        by_count_BxHxTxN = qk.q_BxHxTxD @ self.table_NxD.T
        below_BxHxTxS = by_count_BxHxTxN.gather(-1, count_BxHxTxS.floor().long())
        above_BxHxTxS = by_count_BxHxTxN.gather(-1, count_BxHxTxS.ceil().long())
        return logits_BxHxTxS + below_BxHxTxS.lerp(above_BxHxTxS, count_BxHxTxS.frac())
