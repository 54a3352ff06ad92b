"""Sandwich: the dot product of two sinusoidal encodings as a bias, which decays with the distance and oscillates.

logit_ij = q_i . k_j / sqrt(D) + sum_c cos((i-j) 10000^(-2c/W)) / (8h/H),  c = 0 .. W/2-1,  h = 1..H,  W = 128    (appendix E)

Nothing is learned. One library has a "sandwich" bias without the cosine, which is linear. Past the training length the sum of
cosines is defined, and keeps decaying as long as the slowest wave does.
"""

import torch
from torch import Tensor

from rpecli.encoding import DistanceBias, Shape
from rpecli.encodings import _rotary as rotary

WIDEST = 65_536


class Sandwich(DistanceBias):
    title = "Sandwich"
    paper = "Dissecting Transformer Length Extrapolation via the Lens of Receptive Field Analysis, 2022, arXiv 2212.10356"
    shared = True
    extrapolation = "keeps decaying, with oscillations"
    gain_H: Tensor

    def __init__(self, shape: Shape, *, width: int = 128):
        super().__init__(shape)
        if not 2 <= width <= WIDEST or width % 2:
            example = min(WIDEST, max(2, width + width % 2))
            raise ValueError(f"width={width}: must be even, from 2 to {WIDEST:,}, for example width={example}")
        self.width = width
        self.register_buffer("gain_H", shape.n_head / (8 * torch.arange(1, shape.n_head + 1)), persistent=False)

    def by_distance(self, distance: Tensor) -> Tensor:
        total = torch.zeros_like(distance, dtype=self.gain_H.dtype)
        for w in self._frequencies(distance).split(1):  # one wave at a time: all at once would take 64 times the memory
            total = total + rotary.angles(distance, w)[..., 0].cos()
        return self.gain_H.view(-1, *[1] * distance.dim()) * total

    def bias(self, q_pos_BxT: Tensor, k_pos_BxS: Tensor) -> Tensor:
        """The same as one product: cos((i-j) w) = cos(iw) cos(jw) + sin(iw) sin(jw), both counted from the first key."""
        from_first = (positions - k_pos_BxS[:, :1] for positions in (q_pos_BxT, k_pos_BxS))
        angle_q, angle_k = (rotary.angles(positions, self._frequencies(positions)) for positions in from_first)
        q_BxTxW, k_BxSxW = (rotary.precise(torch.cat([angle.cos(), angle.sin()], dim=-1)) for angle in (angle_q, angle_k))
        total_BxTxS = (q_BxTxW @ k_BxSxW.mT).to(self.gain_H)  # of up to 64 waves in phase: a sum in float32 is off by 2e-5
        return self.gain_H[:, None, None] * total_BxTxS[:, None]

    def _frequencies(self, positions: Tensor) -> Tensor:
        return rotary.frequencies(self.width, 10000.0, positions.device)
