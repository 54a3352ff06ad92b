"""Self-Extend: rotary embedding with exact distances near by and, beyond a window, distances counted in groups of positions.

logit_ij = q_i . R_{-r} k_j / sqrt(D), R_{-r} RoPE's turn by r = i-j below the window w, and from there on
r = floor(i/G) - floor(j/G) + w - floor(w/G)

G = 8. Two score matrices, one picked for each pair. Meant for models trained with RoPE: lengths up to (N - w) G + w need no angle
that training with N did not see. The authors' window is 1024 of 4096; here it is a quarter of the longest trained sequence unless
given. Groups begin at multiples of G, so it is shift invariant for shifts by such multiples only.
Past the trained length far distances grow at a G-th of the pace.
"""

import torch
from torch import Tensor

from rpecli import rotary
from rpecli.encoding import Encoding, Shape


class SelfExtend(Encoding):
    paper = "LLM Maybe LongLM: Self-Extend LLM Context Window Without Tuning, 2024, arXiv 2401.01325"
    shared = True
    causal_only = True
    shift_invariant = False
    unseen = "distances in groups"

    def __init__(self, shape: Shape, *, window: int = 0, group: int = 8, base: float = 10000.0, pairing: str = "interleaved"):
        super().__init__(shape)
        if window < 0 or group < 1:
            raise ValueError(
                f"window={window} and group={group}: both are at least 1 (window=0: a quarter of the trained length)"
            )
        if shape.d_head % 2:
            raise ValueError(
                f"head width d_model/n_head = {shape.d_head} is odd, and rotations need pairs: "
                f"write d_model={(shape.d_head + 1) * shape.n_head}"
            )
        if pairing not in ("interleaved", "half") or not base > 0:
            raise ValueError(f"pairing is interleaved or half, base above 0, not {pairing!r} and {base}")
        self.window, self.group_size = window or max(1, shape.trained // 4), group
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
        q_group, k_group = (torch.div(each, self.group_size, rounding_mode="floor") for each in (q_pos, k_pos))
        q_far = self._turned(q, q_group + self.window - self.window // self.group_size)
        far_BxHxTxS = q_far @ self._turned(k, k_group).transpose(-1, -2) * self.shape.scale
        near_Bx1xTxS = (q_pos[:, :, None] - k_pos[:, None, :] < self.window)[:, None]
        return torch.where(near_Bx1xTxS, logits, far_BxHxTxS)
