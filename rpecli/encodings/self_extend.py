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

from rpecli.encoding import Shape
from rpecli.encodings._rotary import NearAndFar


class SelfExtend(NearAndFar):
    paper = "LLM Maybe LongLM: Self-Extend LLM Context Window Without Tuning, 2024, arXiv 2401.01325"
    shared = True
    causal_only = True
    shift_invariant = False
    unseen = "distances in groups"

    def __init__(self, shape: Shape, *, window: int = 0, group: int = 8, base: float = 10000.0, pairing: str = "interleaved"):
        super().__init__(shape, window or max(1, shape.trained // 4), base, pairing)
        if window < 0 or group < 1:
            raise ValueError(f"window={window}, group={group}: both are at least 1 (window=0: a quarter of the trained length)")
        self.group_size = group

    def far(self, q_pos: Tensor, k_pos: Tensor) -> tuple[Tensor, Tensor]:
        q_group, k_group = (torch.div(each, self.group_size, rounding_mode="floor") for each in (q_pos, k_pos))
        return q_group + self.window - self.window // self.group_size, k_group
