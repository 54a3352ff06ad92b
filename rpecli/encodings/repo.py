"""RePo: every head reads the positions of tokens off their content, and rotates by these, whatever their order is.

q_i, k_j rotate as in RoPE at positions z_i, z_j,  z = W_z (silu(W_g x) * W_c x),  w_c = base^(-2c/D)

z has one real number per head, from M/8 hidden units; weights ~ N(0, 0.02^2) cut at 3 standard deviations, base 500000, as in the
authors' code, so z starts near 0 and the model as one without encoding. There layers 0 to 4 of 16 keep RoPE (`rope+repo` takes
turns), and x is the raw residual stream, which no norm precedes; here it is the normalized input. Order is known from the causal
mask alone. Channels c and c + D/2 are a pair. The positions are not read, and past the training length nothing is new as such.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class RePo(Encoding):
    title = "RePo"
    group = "content"
    paper = "RePo: Language Models with Context Re-Positioning, 2025, arXiv 2512.14391"
    extrapolation = "defined; positions come from the content"
    w_C: Tensor

    def __init__(self, shape: Shape, *, base: float = 500000.0, hidden: int = 0):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        require.at_least(0, hidden=hidden)
        M, hidden = shape.d_model, hidden or max(1, shape.d_model // 8)
        self.gate, self.content = (nn.Linear(M, hidden, bias=False) for _ in range(2))
        self.place = nn.Linear(hidden, shape.n_head, bias=False)
        for layer in (self.gate, self.content, self.place):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.06, b=0.06)
        self.register_buffer("w_C", rotary.frequencies(shape.d_head, base).float(), persistent=False)

    def features(self, x_BxTxM: Tensor) -> Tensor:
        z_BxTxH: Tensor = self.place(F.silu(self.gate(x_BxTxM)) * self.content(x_BxTxM))
        return z_BxTxH.transpose(1, 2)[..., None]

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        return rotary.turn(qk, qk.k_feat_BxHxSxF * self.w_C)
