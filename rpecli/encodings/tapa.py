"""TAPA: the phase of a pair's score grows with a low power of the distance, at a rate that query and key set.

logit_ij = (qA_i . kA_j / sqrt(D theta)) cos(2 pi |i-j|^alpha (qP_i . kP_j) / sqrt(D (1-theta)))

The first theta D channels of a head are the amplitude, the others the phase; theta = 0.5, alpha = 0.1. Distance acts weakly: its
power is 1 at distance 1, 1.41 at 32 and 2 at 1024; at distance 0 the cosine is 1. The authors train it with a fifth of RoPE's
learning rate. Past the training length the phase grows slowly on.
"""

import math

from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require


class TAPA(Encoding):
    title = "TAPA"
    paper = "Positional Encoding via Token-Aware Phase Attention, 2025, arXiv 2509.12635"
    shared = True
    extrapolation = "the phase grows slowly on"

    def __init__(self, shape: Shape, *, theta: float = 0.5, alpha: float = 0.1):
        super().__init__(shape)
        require.positive(alpha=alpha)
        self.amplitude = int(theta * shape.d_head + 1e-9)
        if not 1 <= self.amplitude < shape.d_head:
            raise ValueError(f"theta={theta:g}: {self.amplitude} of {shape.d_head} channels for the amplitude: write theta=0.5")
        self.alpha = alpha

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        """The channels of the amplitude, scaled to their own width."""
        stretch = (self.shape.d_head / self.amplitude) ** 0.5
        return qk.q_BxHxTxD[..., : self.amplitude] * stretch, qk.k_BxHxSxD[..., : self.amplitude]

    def score_buffers(self, rows: int, keys: int) -> float:
        return 5.0

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        q, k = qk.q_BxHxTxD[..., self.amplitude :], qk.k_BxHxSxD[..., self.amplitude :]
        power_Bx1xTxS = qk.distance_BxTxS[:, None].abs().to(q.dtype) ** self.alpha
        return logits_BxHxTxS * (q @ k.mT * power_Bx1xTxS * (2 * math.pi * q.shape[-1] ** -0.5)).cos()
