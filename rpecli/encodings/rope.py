"""Rotary position embedding: queries and keys turn by angles proportional to their positions, so dot products see i-j.

q_i, k_j split into pairs c of channels; pair c turns by i w_c (j w_c),  w_c = base^(-2c/D)             (paper, equation 34)

`pairing=interleaved` pairs channels (2c, 2c+1) as the paper and GPT-J do, `half` pairs (c, c+D/2) as Llama and GPT-NeoX do; the
two are the same model up to the order of channels. Past the trained length the slow pairs meet angles they never saw.
"""

import torch
from torch import Tensor

from rpecli.encoding import Encoding, Shape


class RoPE(Encoding):
    paper = "RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021, arXiv 2104.09864"
    shared = True
    unseen = "new angles of the slow pairs"

    def __init__(self, shape: Shape, *, base: float = 10000.0, pairing: str = "interleaved"):
        super().__init__(shape)
        if not base > 0:
            raise ValueError(f"base={base}: frequencies need a base above 0, for example base=10000")
        if shape.d_head % 2:
            raise ValueError(
                f"head width d_model/n_head = {shape.d_head} is odd, and rotations need pairs: "
                f"write d_model={(shape.d_head + 1) * shape.n_head}"
            )
        if pairing not in ("interleaved", "half"):
            raise ValueError(f"pairing is interleaved or half, not {pairing!r}")
        self.base, self.pairing = base, pairing

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return self._turn(q, q_pos), self._turn(k, k_pos)

    def _turn(self, x_BxHxTxD: Tensor, positions_BxT: Tensor) -> Tensor:
        D = self.shape.d_head
        w_C = self.base ** (-torch.arange(0, D, 2, device=x_BxHxTxD.device, dtype=torch.float32) / D)
        angle_Bx1xTxC = (positions_BxT[..., None] * w_C)[:, None]
        turn_Bx1xTxC = torch.polar(torch.ones_like(angle_Bx1xTxC), angle_Bx1xTxC)
        halves = self.pairing == "half"
        pairs = (2, D // 2) if halves else (D // 2, 2)
        x = x_BxHxTxD.float().unflatten(-1, pairs)
        x_BxHxTxCx2 = (x.transpose(-1, -2) if halves else x).contiguous()
        turned = torch.view_as_real(torch.view_as_complex(x_BxHxTxCx2) * turn_Bx1xTxC)
        return (turned.transpose(-1, -2) if halves else turned).flatten(-2).to(x_BxHxTxD.dtype)
