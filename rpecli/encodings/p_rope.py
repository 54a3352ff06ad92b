"""Rotary embedding without its slowest pairs: these channels carry content alone, whatever the distance.

RoPE for q_i and k_j with w_c = base^(-2c/D) for the first floor(p D/2) pairs c, and w_c = 0 for the others

The full ladder is kept, unlike `rope:fraction=...`, which squeezes a whole ladder into fewer channels. Here p = 0.75 and
neighbouring channels are pairs (`pairing=half` for the other convention). Past the trained length fewer pairs are left that
could meet new angles.
"""

import torch
from torch import Tensor

from rpecli.encoding import Encoding, Shape
from rpecli.encodings import _rotary as rotary


class PRoPE(Encoding):
    paper = "Round and Round We Go! What makes Rotary Positional Encodings useful?, 2024, arXiv 2410.06205"
    shared = True
    unseen = "new angles, of fewer slow pairs"
    w_C: Tensor

    def __init__(self, shape: Shape, *, p: float = 0.75, base: float = 10000.0, pairing: str = "interleaved"):
        super().__init__(shape)
        rotary.check(shape, base, pairing)
        kept = int(p * shape.d_head / 2 + 1e-9)
        if not 1 <= kept <= shape.d_head // 2:
            raise ValueError(f"p={p} turns {kept} of {shape.d_head // 2} pairs: write a share from {2 / shape.d_head:g} to 1")
        self.pairing = pairing
        w_C = rotary.frequencies(shape.d_head, base)
        self.register_buffer("w_C", torch.where(torch.arange(len(w_C)) < kept, w_C, 0.0), persistent=False)

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        q_turn, k_turn, halves = rotary.turns(q_pos, self.w_C), rotary.turns(k_pos, self.w_C), self.pairing == "half"
        return rotary.turned(q, q_turn, halves), rotary.turned(k, k_turn, halves)
