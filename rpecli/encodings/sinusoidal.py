"""Fixed sine and cosine waves of the position, added to the token embeddings.

x_i = token_i + p_i,  p_i[2c] = sin(i w_c),  p_i[2c+1] = cos(i w_c),  w_c = base^(-2c/M)          (paper, section 3.5)

tensor2tensor and fairseq divide c by M/2-1 instead of M/2 and put the sines before the cosines; this is the paper's form.
Past the training length every position is defined, and new to the model.
"""

import torch
from torch import Tensor

from rpecli.encoding import Encoding, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class Sinusoidal(Encoding):
    title = "Sinusoidal"
    group = "APE"
    baseline = True
    paper = "Attention Is All You Need, 2017, arXiv 1706.03762"
    shared = True
    shift_invariant = False
    extrapolation = "defined, new to the model"
    look = ("#882255", "s")

    def __init__(self, shape: Shape, *, base: float = 10000.0):
        super().__init__(shape)
        require.even_width(shape)
        require.positive(base=base)
        self.base = base

    def embed(self, x_BxTxM: Tensor, positions_BxT: Tensor, ids_BxS: Tensor) -> Tensor:
        angle_BxTxC = rotary.angles(positions_BxT, rotary.frequencies(self.shape.d_model, self.base, x_BxTxM.device))
        wave_BxTxM = torch.stack([angle_BxTxC.sin(), angle_BxTxC.cos()], dim=-1).flatten(-2)
        return x_BxTxM + wave_BxTxM.to(x_BxTxM.dtype)
