"""Self-Extend: rotary embedding with exact distances inside a window and distances between groups of positions beyond it.

logit_ij = q_i . R_{-r} k_j / sqrt(D), R_{-r} RoPE's rotation by r = i-j below the window w, and from there on
r = floor(i/G) - floor(j/G) + w - floor(w/G)

G = 8. Two score matrices are computed and one is picked for each pair. Meant for models trained with RoPE: lengths up to
(N - w) G + w need no angle that training with N did not see. The authors' window is 1024 of 4096; here it is a quarter of the
training length by default. Groups begin at multiples of G, so it is shift invariant for shifts by such multiples only.
Past the training length far distances grow G times as slowly.
"""

import torch
from torch import Tensor

from rpecli.encoding import Shape
from rpecli.encodings._rotary import NearAndFar


class SelfExtend(NearAndFar):
    title = "Self-Extend"
    paper = "LLM Maybe LongLM: Self-Extend LLM Context Window Without Tuning, 2024, arXiv 2401.01325"
    shared = True
    causal_only = True
    shift_invariant = False
    extrapolation = "distances in groups"

    def __init__(self, shape: Shape, *, window: int = 0, group: int = 8, base: float = 10000.0, pairing: str = "interleaved"):
        super().__init__(shape, window or max(1, shape.max_train_length // 4), base, pairing)
        if window < 0 or group < 1:
            raise ValueError(
                f"window={window}, group={group}: both must be at least 1 (window=0: a quarter of the training length)"
            )
        self.group_size = group

    def far_positions(self, q_pos_BxT: Tensor, k_pos_BxS: Tensor) -> tuple[Tensor, Tensor]:
        q_group, k_group = (torch.div(pos, self.group_size, rounding_mode="floor") for pos in (q_pos_BxT, k_pos_BxS))
        return q_group + self.window - self.window // self.group_size, k_group
