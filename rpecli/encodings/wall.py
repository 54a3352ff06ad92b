"""Wall attention: every channel of a head forgets at its own rate, which each token sets.

logit_ij = sum_n q_in k_jn exp(sum_{l=j+1..i} g_ln) / sqrt(D),  g = ln sigmoid(W x + b)

W ~ N(0, 0.02^2), one gate per channel, and b = 8, which forgets 0.03 % at every token: at first no encoding at all. On short
inputs such gates hardly move in 1000 steps; `bias=2` forgets 12 %. From the layer of flash-linear-attention, without its options
(a gate per head as in FoX, norms, an output gate); there is no paper. The queries are carried back over 16 keys at a time, so
that no factor exceeds 1: e to the running sum, on queries and keys, would overflow. The positions are not read. Past the training
length the forgetting continues.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape

CHUNK = 16  # keys served at once; within them every pair has its own factors


class Wall(Encoding):
    title = "Wall"
    group = "content"
    paper = "flash-linear-attention (wall attention, Tilde Research), 2026, github.com/fla-org/flash-linear-attention"
    causal_only = True
    extrapolation = "forgetting continues"

    def __init__(self, shape: Shape, *, bias: float = 8.0):
        super().__init__(shape)
        channels = shape.n_head * shape.d_head
        self.w_HDxM = nn.Parameter(0.02 * torch.randn(channels, shape.d_model))
        self.b_HD = nn.Parameter(torch.full((channels,), bias))

    def features(self, x_BxTxM: Tensor) -> Tensor:
        gate_BxTxHD = F.logsigmoid(F.linear(x_BxTxM, self.w_HDxM, self.b_HD))  # 0 for padding, which then forgets nothing
        return gate_BxTxHD.unflatten(-1, (self.shape.n_head, -1)).transpose(1, 2)

    def score_buffers(self, rows: int, keys: int) -> float:
        return 5.0

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        """From the last keys to the first. `carried`: the queries of rows after the chunk, times what they forgot on the way."""
        (T, S), q_BxHxTxD = qk.lengths, qk.q_BxHxTxD
        carried, parts = q_BxHxTxD[:, :, T:], []
        for stop in range(S, 0, -CHUNK):
            start = max(0, stop - CHUNK)
            first, last = max(0, start - (S - T)), max(0, stop - (S - T))  # the chunk's own rows
            k, sum_BxHxNxD = qk.k_BxHxSxD[:, :, start:stop], qk.k_feat_BxHxSxF[:, :, start:stop].cumsum(2)
            own = q_BxHxTxD[:, :, first:last]
            own_sum = sum_BxHxNxD[:, :, stop - start - (last - first) :]
            kept = (own_sum[:, :, :, None] - sum_BxHxNxD[:, :, None]).clamp(max=0).exp()  # above 0 are keys ahead
            among = (kept * own[:, :, :, None] * k[:, :, None]).sum(-1)
            after = carried @ (k * (sum_BxHxNxD[:, :, -1:] - sum_BxHxNxD).exp()).mT
            before = logits_BxHxTxS.new_zeros(*logits_BxHxTxS.shape[:2], first, stop - start)
            parts.append(torch.cat([before, among, after], dim=2))
            carried = torch.cat([own * own_sum.exp(), carried * sum_BxHxNxD[:, :, -1:].exp()], dim=2)
        return torch.cat(parts[::-1], dim=-1) * self.shape.scale
