"""Rotary embedding whose pairs also fade with the distance, the quick ones first.

q_i, k_j in pairs c:  logit_ij = sum_c z_c^((i-j)/512) Re(q_ic conj(k_jc) e^(i(i-j)w_c)) / sqrt(D),
w_c = 10000^(-2c/D),  z_c = (2c/D + 0.4) / 1.4

Queries are multiplied by z^(i/512) and keys by z^(-j/512); both count from the middle of the keys, which cancels, since from 0
a key overflows near position 36,000. (Two different centres, as in one library's cache, do not cancel.) What lies ahead would
grow with the distance, so there is no form for attention in both directions. Past the trained length it fades on.
"""

import torch
from torch import Tensor

from rpecli.encoding import Encoding, Shape
from rpecli.encodings import _rotary as rotary

LIMIT = 80.0  # of the exponents: e^80 is finite in float32; the middle is 65,000 tokens away before it binds


class XPos(Encoding):
    paper = "A Length-Extrapolatable Transformer, 2022, arXiv 2212.10554"
    shared = True
    causal_only = True
    unseen = "fades on"

    def __init__(self, shape: Shape, *, base: float = 10000.0, scale_base: float = 512.0, gamma: float = 0.4):
        super().__init__(shape)
        if not (base > 0 and scale_base > 0 and gamma > 0):
            raise ValueError(f"base={base}, scale_base={scale_base}, gamma={gamma}: each is above 0")
        if shape.d_head % 2:
            raise ValueError(
                f"head width d_model/n_head = {shape.d_head} is odd, and rotations need pairs: "
                f"write d_model={(shape.d_head + 1) * shape.n_head}"
            )
        self.base, self.scale_base, self.gamma = base, scale_base, gamma

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        w_C = rotary.frequencies(self.shape.d_head, self.base, q.device)
        share_C = torch.arange(len(w_C), device=q.device) * 2 / self.shape.d_head
        fade_C = ((share_C + self.gamma) / (1 + self.gamma)).log() / self.scale_base
        middle_Bx1 = (k_pos.amin(1, keepdim=True) + k_pos.amax(1, keepdim=True)) / 2
        q_size, k_size = (
            (sign * (at - middle_Bx1)[..., None] * fade_C).clamp(-LIMIT, LIMIT).exp() for sign, at in ((1, q_pos), (-1, k_pos))
        )
        return rotary.turned(q, rotary.turns(q_pos, w_C, q_size)), rotary.turned(k, rotary.turns(k_pos, w_C, k_size))
