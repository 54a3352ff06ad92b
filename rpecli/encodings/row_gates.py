"""Forget gates of each row: a product of two small vectors, of the query and of a key, says how much the query passes on at it.

logit_ij = q_i . k_j / sqrt(D) + sum_{l=j..i-1} ln sigmoid(a_i . b_l / sqrt(G)),  a = W_a x,  b = W_b x

G = 8 channels per head; weights ~ U(-1, 1)/sqrt(M), as nn.Linear has, so that gates start near 1/2: -0.69 per token in all heads.
The key's own gate counts and the query's does not; in FoX and GRAPE-AP it is the reverse. From x-transformers
(PerRowDataDependentAlibi); there is no paper. The positions are not read. Past the training length the forgetting continues.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _gates as gates
from rpecli.encodings import _require as require


class RowGates(Encoding):
    title = "Row gates"
    group = "content"
    paper = "x-transformers (PerRowDataDependentAlibi), 2025, github.com/lucidrains/x-transformers"
    causal_only = True
    extrapolation = "forgetting continues"

    def __init__(self, shape: Shape, *, width: int = 8):
        super().__init__(shape)
        require.at_least(1, width=width)
        self.gates = nn.Linear(shape.d_model, 2 * shape.n_head * width, bias=False)

    def features(self, x_BxTxM: Tensor) -> Tensor:
        ab_BxTx2xHxG = self.gates(x_BxTxM).unflatten(-1, (2, self.shape.n_head, -1))
        ab_BxHxTx2G = ab_BxTx2xHxG.transpose(2, 3).flatten(3).transpose(1, 2)
        return torch.cat([ab_BxHxTx2G, torch.ones_like(ab_BxHxTx2G[..., :1])], dim=-1)  # the engine makes it 0 for padding

    def score_buffers(self, rows: int, keys: int) -> float:
        return 6.0  # products, gates, and the copies of a sum from the right

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        (T, S), G = qk.lengths, qk.k_feat_BxHxSxF.shape[-1] // 2
        a_BxHxTxG, b_BxHxSxG, token_BxHx1xS = (
            qk.q_feat_BxHxTxF[..., :G],
            qk.k_feat_BxHxSxF[..., G : 2 * G],
            qk.k_feat_BxHxSxF[..., -1:].mT,
        )
        gate_BxHxTxS = F.logsigmoid(a_BxHxTxG @ b_BxHxSxG.mT * G**-0.5) * token_BxHx1xS
        return logits_BxHxTxS + gates.from_key(gate_BxHxTxS.tril(S - T - 1))
