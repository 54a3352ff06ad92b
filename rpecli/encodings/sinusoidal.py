"""Fixed sine and cosine waves of the position, added to the token embeddings.

x_i = token_i + p_i,  p_i[2c] = sin(i w_c),  p_i[2c+1] = cos(i w_c),  w_c = base^(-2c/M)          (paper, section 3.5)

tensor2tensor and fairseq divide c by M/2-1 instead of M/2 and put the sines before the cosines; this is the paper's form.
Past the training length every position is defined, and new to the model.
"""

import torch
from torch import Tensor

from rpecli.encoding import Encoding, Shape
from rpecli.encodings import _require as require


class Sinusoidal(Encoding):
    title = "Sinusoidal"
    group = "APE"
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
        pair_C = torch.arange(0, self.shape.d_model, 2, device=x_BxTxM.device, dtype=torch.float32)
        angle_BxTxC = positions_BxT[..., None] * self.base ** (-pair_C / self.shape.d_model)
        wave_BxTxM = torch.stack([angle_BxTxC.sin(), angle_BxTxC.cos()], dim=-1).flatten(-2)
        return x_BxTxM + wave_BxTxM.to(x_BxTxM.dtype)
