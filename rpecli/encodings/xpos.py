"""Rotary embedding whose pairs also decay with the distance, the fast pairs first.

q_i, k_j in pairs c:  logit_ij = sum_c z_c^((i-j)/512) Re(q_ic conj(k_jc) e^(i(i-j)w_c)) / sqrt(D),
w_c = 10000^(-2c/D),  z_c = (2c/D + 0.4) / 1.4

Queries are multiplied by z^(i/512) and keys by z^(-j/512). Both positions count from the middle of the keys, which cancels; if
they counted from 0, a key would overflow near position 36,000. (Two different centers, as in one library's cache, do not cancel.)
Keys ahead would grow with the distance, so it is not defined for bidirectional attention. Past the training length the decay
continues.
"""

import math

import torch
from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape, TooLongError
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary

LIMIT = 80.0  # of the exponents: e^80 is finite in float32; it binds only 65,000 tokens away from the middle


class XPos(Encoding):
    title = "xPos"
    paper = "A Length-Extrapolatable Transformer, 2022, arXiv 2212.10554"
    shared = True
    causal_only = True
    extrapolation = "the decay continues"

    def __init__(self, shape: Shape, *, base: float = 10000.0, scale_base: float = 512.0, gamma: float = 0.4):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base, scale_base=scale_base, gamma=gamma)
        self.base, self.scale_base, self.gamma = base, scale_base, gamma
        self.fit(shape.max_train_length)

    def fit(self, n_positions: int) -> None:
        """Raises TooLongError where the exponents of a visible pair would be cut at LIMIT."""
        longest = int(2 * LIMIT * self.scale_base / math.log((1 + self.gamma) / self.gamma))
        if n_positions > longest:
            words = f"{n_positions} positions: xPos overflows past {longest}"
            raise TooLongError(f"{words}: evaluate shorter sequences or raise scale_base")

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        w_C = rotary.frequencies(self.shape.d_head, self.base, qk.device)
        share_C = torch.arange(self.shape.d_head // 2, device=qk.device) * 2 / self.shape.d_head
        decay_C = ((share_C + self.gamma) / (1 + self.gamma)).log() / self.scale_base
        middle_Bx1 = (qk.k_pos_BxS.amin(1, keepdim=True) + qk.k_pos_BxS.amax(1, keepdim=True)) // 2  # whole, so exact
        q_size = ((qk.q_pos_BxT - middle_Bx1)[..., None] * decay_C).clamp(-LIMIT, LIMIT).exp()
        k_size = (-(qk.k_pos_BxS - middle_Bx1)[..., None] * decay_C).clamp(-LIMIT, LIMIT).exp()
        q_rotation, k_rotation = rotary.rotation(qk.q_pos_BxT, w_C, q_size), rotary.rotation(qk.k_pos_BxS, w_C, k_size)
        return rotary.rotated(qk.q_BxHxTxD, q_rotation), rotary.rotated(qk.k_BxHxSxD, k_rotation)
