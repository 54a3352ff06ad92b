"""A short causal convolution along the tokens, a filter of its own for each channel, on the features that the cache keeps.

Features are cached token by token, before the filter, and filtered over all keys each time: then decoding, row blocks and left
padding (whose features are zero, like what stands before the first token) all see what the full pass sees.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ShortConv(nn.Module):
    """Filters of `width` tokens, the token itself last, without bias; weights ~ U(-1, 1) / sqrt(width), as torch draws them."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.weight_CxW = nn.Parameter((2 * torch.rand(channels, width) - 1) * width**-0.5)

    def forward(self, f_BxHxSxC: Tensor) -> Tensor:
        heads, width = f_BxHxSxC.shape[1], self.weight_CxW.shape[1]
        before_BxHCxS = F.pad(f_BxHxSxC.transpose(2, 3).flatten(1, 2), (width - 1, 0))
        after_BxHCxS = F.conv1d(before_BxHCxS, self.weight_CxW[:, None], groups=len(self.weight_CxW))
        return after_BxHCxS.unflatten(1, (heads, -1)).transpose(2, 3)
