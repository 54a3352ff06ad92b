"""Mixing of each token with those just before it, beside attention: Canon layers and token shift.

Both tell a model the order of neighbours, whatever the encoding is; `none` with a Canon layer is the cheap control for the
question whether the encoding matters at all.

    canon        x_t + sum_k w_k x_{t-k}, k = 0..3: a depthwise causal convolution with a residual, no bias, no activation
                 Allen-Zhu 2025, "Physics of Language Models: Part 4.1, Architecture Design and the Magic of Canon Layers",
                 arXiv 2512.17351. w ~ U(-1/2, 1/2), the default of a convolution of width 4. Its places in a layer: A before
                 attention, B on queries, keys and values, C before the MLP, D inside it.
    token_shift  k_t <- a_t k_{t-1} + (1 - a_t) k_t, a_t = sigmoid(w . h_t) per head; for keys, or keys and values
                 Lin et al. 2025, "Forgetting Transformer", arXiv 2503.02130. The token before the first is 0.

`past` holds all tokens so far, the last of which are those that are mixed; padding among them is 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 4  # tokens that a Canon layer sees
PLACES = {"A": ("attention",), "B": ("q", "k", "v"), "C": ("mlp",), "D": ("up", "gate")}  # by letter, the inputs that are mixed


class Canon(nn.Module):
    """One convolution of `width` channels."""

    def __init__(self, width: int):
        super().__init__()
        self.weight_KxM = nn.Parameter(torch.empty(WIDTH, width))

    def init(self, generator: torch.Generator) -> None:
        bound = WIDTH**-0.5
        nn.init.uniform_(self.weight_KxM, -bound, bound, generator=generator)

    def forward(self, x_BxTxM: Tensor, past_BxSxM: Tensor) -> Tensor:
        T, S, y_BxTxM = x_BxTxM.shape[1], past_BxSxM.shape[1], x_BxTxM.float()
        padded_BxPxM = F.pad(past_BxSxM.float(), (0, 0, WIDTH - 1, 0))  # 3.2 ms at 16x130x256; a convolution takes 5.3
        for k, w_M in enumerate(self.weight_KxM):
            start = WIDTH - 1 - k + S - T
            y_BxTxM = torch.addcmul(y_BxTxM, w_M, padded_BxPxM[:, start : start + T])
        return y_BxTxM.to(x_BxTxM.dtype)


class TokenShift(nn.Module):
    """The shares `a` by which every head takes the key, or the value, of the token before."""

    def __init__(self, d_model: int, n_head: int):
        super().__init__()
        self.weight_HxM = nn.Parameter(torch.empty(n_head, d_model))

    def init(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.weight_HxM, std=self.weight_HxM.shape[1] ** -0.5, generator=generator)

    def forward(self, h_BxTxM: Tensor, k_BxHxTxD: Tensor, past_BxHxSxD: Tensor) -> Tensor:
        S, T = past_BxHxSxD.shape[2], k_BxHxTxD.shape[2]
        previous_BxHxTxD = F.pad(past_BxHxSxD, (0, 0, 1, 0))[:, :, S - T : S]
        share_BxHxTx1 = (h_BxTxM @ self.weight_HxM.T).sigmoid().transpose(1, 2)[..., None]
        return (share_BxHxTx1 * previous_BxHxTxD + (1 - share_BxHxTx1) * k_BxHxTxD).to(k_BxHxTxD.dtype)
