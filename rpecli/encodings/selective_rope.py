"""Selective RoPE: queries and keys turn by angles that the tokens themselves add up, instead of one step a token.

q_i, k_j split into pairs c of channels; pair c of token t turns by w_c sum_{l<=t} phi_lc,  w_c = base^(-2c/D)
phi = conv4(W u),  u_t = x_t with each head's part normalized to length 1

W has rank 16 and base is 500000, as in the authors' code, which also normalizes queries and keys after the turn; that is left
out here. W starts as torch's linear layers do, so angles of about 0.05 a token. Channels c and c + D/2 are a pair.
Positions handed in are not read. Past the trained length the angles go on adding up.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, Shape
from rpecli.encodings._short_conv import ShortConv


class SelectiveRoPE(Encoding):
    group = "content"
    paper = "Selective Rotary Position Embedding, 2025, arXiv 2511.17388"
    causal_only = True
    unseen = "angles go on adding up"
    w_C: Tensor

    def __init__(self, shape: Shape, *, rank: int = 16, width: int = 4, base: float = 500000.0):
        super().__init__(shape)
        if min(rank, width) < 1 or not base > 0:
            raise ValueError(f"rank={rank}, width={width}, base={base}: rank and width are at least 1, base is above 0")
        if shape.d_head % 2:
            raise ValueError(
                f"head width d_model/n_head = {shape.d_head} is odd, and rotations need pairs: "
                f"write d_model={(shape.d_head + 1) * shape.n_head}"
            )
        channels = shape.n_head * shape.d_head // 2
        self.down, self.up = nn.Linear(shape.d_model, rank, bias=False), nn.Linear(rank, channels, bias=False)
        self.conv = ShortConv(channels, width)
        self.register_buffer("w_C", base ** (-torch.arange(0, shape.d_head, 2) / shape.d_head), persistent=False)

    def features(self, x_BxTxM: Tensor) -> Tensor:
        u_BxTxM = F.normalize(x_BxTxM.unflatten(-1, (self.shape.n_head, -1)), dim=-1).flatten(-2)
        return self.up(self.down(u_BxTxM)).unflatten(-1, (self.shape.n_head, -1)).transpose(1, 2)

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert kf is not None
        angle_BxHxSxC = self.conv(kf).cumsum(2) * self.w_C
        return _turn(q, angle_BxHxSxC[:, :, k.shape[2] - q.shape[2] :]), _turn(k, angle_BxHxSxC)


def _turn(x_BxHxTxD: Tensor, angle_BxHxTxC: Tensor) -> Tensor:
    (one, two), cos, sin = x_BxHxTxD.chunk(2, dim=-1), angle_BxHxTxC.cos(), angle_BxHxTxC.sin()
    return torch.cat([one * cos - two * sin, one * sin + two * cos], dim=-1)
