"""A short causal convolution along the tokens, with one filter per channel, on the features that the cache keeps.

Features are cached per token, before the filter, and filtered over all keys each time. Decoding, blocks of rows and left padding
(whose features are 0, like those before the first token) then see what the full pass sees.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ShortConv(nn.Module):
    """Filters over `width` tokens, the current token last, without bias; weights ~ U(-1, 1) / sqrt(width), as in nn.Conv1d."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.weight_CxW = nn.Parameter((2 * torch.rand(channels, width) - 1) * width**-0.5)

    def forward(self, f_BxHxSxC: Tensor) -> Tensor:
        heads, width = f_BxHxSxC.shape[1], self.weight_CxW.shape[1]
        padded_BxHCxS = F.pad(f_BxHxSxC.transpose(2, 3).flatten(1, 2), (width - 1, 0))
        y_BxHCxS = F.conv1d(padded_BxHCxS, self.weight_CxW[:, None], groups=len(self.weight_CxW))
        return y_BxHCxS.unflatten(1, (heads, -1)).transpose(2, 3)
