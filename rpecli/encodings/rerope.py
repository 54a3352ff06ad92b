"""ReRoPE: rotary embedding whose distances stop growing at a window, so that no angle is new, however long the sequence.

logit_ij = q_i . R_{-r} k_j / sqrt(D), R_{-r} RoPE's rotation by distance r = i-j below the window w, and r = w from there on

leak=k lets distances grow at a slower pace beyond the window, r = w + (i-j-w)/k (Leaky ReRoPE). Two score matrices are computed
and one is picked for each pair. Meant for models trained with RoPE; the author also multiplies queries by a factor that grows
with the logarithm of the number of keys, which is `logit_scale: logn` here. His w is 512, for models trained on that and more;
here it is half of the training length by default. Past the training length all distances are ones that training saw (with a leak,
slower ones).
"""

from torch import Tensor

from rpecli.encoding import Shape
from rpecli.encodings._rotary import NearAndFar, precise


class ReRoPE(NearAndFar):
    title = "ReRoPE"
    paper = "ReRoPE, 2023, kexue.fm 9708"
    shared = True
    causal_only = True
    extrapolation = "distances stop at the window"

    def __init__(self, shape: Shape, *, window: int = 0, leak: float = 0.0, base: float = 10000.0, pairing: str = "interleaved"):
        super().__init__(shape, window or max(1, shape.max_train_length // 2), base, pairing)
        if window < 0 or (leak and leak < 1):
            raise ValueError(
                f"window={window}, leak={leak}: window must be at least 1 (0: half the training length), leak 0 or at least 1"
            )
        self.pace = 1 / leak if leak else 0.0

    def far_positions(self, q_pos_BxT: Tensor, k_pos_BxS: Tensor) -> tuple[Tensor, Tensor]:
        q_exact, k_exact = precise(q_pos_BxT), precise(k_pos_BxS)
        return q_exact * self.pace + self.window * (1 - self.pace), k_exact * self.pace
