"""A layer that sees a part of the keys, a window or a chunk, with the rotations of another encoding."""

import torch
from torch import Tensor

from rpecli.encoding import Encoding
from rpecli.encodings import _require as require
from rpecli.encodings.hard_alibi import MASKED
from rpecli.encodings.window import Window


class Windowed(Window):
    """The nearest `width` tokens, the token itself included: a bias by distance, so that evaluation needs linear memory."""

    def __init__(self, rotary: Encoding, width: int):
        require.at_least(1, window=width)
        super().__init__(rotary.shape, width=width)
        self.rotate, self.fit = rotary.rotate, rotary.fit  # type: ignore[method-assign]  # parameters stay those of `rotary`


class Chunked(Encoding):
    """The tokens at positions of the same multiple of `size`: attention within blocks of positions, as in Llama 4."""

    shift_invariant = False

    def __init__(self, rotary: Encoding, size: int):
        require.at_least(1, chunk=size)
        super().__init__(rotary.shape)
        self.rotate, self.fit, self.size = rotary.rotate, rotary.fit, size  # type: ignore[method-assign]

    def bias(self, q_pos_BxT: Tensor, k_pos_BxS: Tensor) -> Tensor:
        outside_BxTxS = (q_pos_BxT // self.size)[:, :, None] != (k_pos_BxS // self.size)[:, None, :]
        bias_BxTxS = torch.where(outside_BxTxS, MASKED, 0.0)
        return bias_BxTxS[:, None].expand(-1, self.shape.n_head, -1, -1)
