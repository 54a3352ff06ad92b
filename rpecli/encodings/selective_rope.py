"""Selective RoPE: queries and keys rotate by angles that the tokens themselves add up, instead of one step per token.

q_i, k_j split into pairs c of channels; pair c of token t rotates by w_c sum_{l<=t} phi_lc,  w_c = base^(-2c/D)
phi = conv4(W u),  u_t = x_t with each head's part normalized to length 1

W has rank 16 and base is 500000, as in the authors' code, which also normalizes queries and keys after the rotation; that is left
out here. W starts as nn.Linear does, so angles are about 0.05 per token. Channels c and c + D/2 are a pair.
The positions are not read. Past the training length the angles keep adding up.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary
from rpecli.encodings._short_conv import ShortConv


class SelectiveRoPE(Encoding):
    title = "Selective RoPE"
    group = "content"
    paper = "Selective Rotary Position Embedding, 2025, arXiv 2511.17388"
    causal_only = True
    extrapolation = "angles keep adding up"
    w_C: Tensor

    def __init__(self, shape: Shape, *, rank: int = 16, width: int = 4, base: float = 500000.0):
        super().__init__(shape)
        require.even_head(shape)
        require.at_least(1, rank=rank, width=width)
        require.positive(base=base)
        channels = shape.n_head * shape.d_head // 2
        self.down, self.up = nn.Linear(shape.d_model, rank, bias=False), nn.Linear(rank, channels, bias=False)
        self.conv = ShortConv(channels, width)
        self.register_buffer("w_C", base ** (-torch.arange(0, shape.d_head, 2) / shape.d_head), persistent=False)

    def features(self, x_BxTxM: Tensor) -> Tensor:
        u_BxTxM = F.normalize(x_BxTxM.unflatten(-1, (self.shape.n_head, -1)), dim=-1).flatten(-2)
        return self.up(self.down(u_BxTxM)).unflatten(-1, (self.shape.n_head, -1)).transpose(1, 2)

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        return rotary.turn(qk, self.conv(qk.k_feat_BxHxSxF).cumsum(2) * self.w_C)
