"""ReRoPE: rotary embedding whose distances stop growing at a window, so no angle is new however long the sequence.

logit_ij = q_i . R_{-r} k_j / sqrt(D), R_{-r} RoPE's turn by distance r = i-j below the window w, and r = w from there on

leak=k lets distances go on at a slower pace, r = w + (i-j-w)/k (Leaky ReRoPE). Two score matrices, one picked for each pair.
Meant for models trained with RoPE; the author multiplies queries by a factor that grows with the logarithm of the keys seen as
well, which is `logit_scale: logn` here. His w is 512, for models trained on that and more; here it is half of the longest trained
sequence unless given. Past the trained length distances are ones that training saw (with a leak, slower ones).
"""

import torch
from torch import Tensor

from rpecli import rotary
from rpecli.encoding import Encoding, Shape


class ReRoPE(Encoding):
    paper = "ReRoPE, Su 2023 (kexue.fm 9708, no paper)"
    shared = True
    causal_only = True
    unseen = "distances stop at the window"

    def __init__(self, shape: Shape, *, window: int = 0, leak: float = 0.0, base: float = 10000.0, pairing: str = "interleaved"):
        super().__init__(shape)
        if window < 0 or (leak and leak < 1):
            raise ValueError(
                f"window={window} and leak={leak}: window is at least 1 (0: half the trained length), leak 0 or at least 1"
            )
        if shape.d_head % 2:
            raise ValueError(
                f"head width d_model/n_head = {shape.d_head} is odd, and rotations need pairs: "
                f"write d_model={(shape.d_head + 1) * shape.n_head}"
            )
        if pairing not in ("interleaved", "half") or not base > 0:
            raise ValueError(f"pairing is interleaved or half, base above 0, not {pairing!r} and {base}")
        self.window, self.pace = window or max(1, shape.trained // 2), 1 / leak if leak else 0.0
        self.base, self.pairing = base, pairing

    def _turned(self, x: Tensor, positions_BxT: Tensor) -> Tensor:
        w_C = rotary.frequencies(self.shape.d_head, self.base, x.device)
        return rotary.turned(x, rotary.turns(positions_BxT, w_C), self.pairing == "half")

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return self._turned(q, q_pos), self._turned(k, k_pos)

    def score(
        self, logits: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> Tensor:
        q_far = self._turned(q, q_pos * self.pace + self.window * (1 - self.pace))
        far_BxHxTxS = q_far @ self._turned(k, k_pos * self.pace).transpose(-1, -2) * self.shape.scale
        near_Bx1xTxS = (q_pos[:, :, None] - k_pos[:, None, :] < self.window)[:, None]
        return torch.where(near_Bx1xTxS, logits, far_BxHxTxS)
