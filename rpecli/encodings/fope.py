"""FoPE: every rotated pair turns by a fixed mixture of RoPE's frequencies, without those that never complete a turn.

pair p of q_i (k_j) becomes (a C - b S, b C + a S),  C = sum_k A_hkp cos(i w_k),  S = sum_k B_hkp sin(i w_k),  w_k = base^(-2k/D)

The K frequencies are those with w_k >= 2 pi/N, N the training length. A and B are the identity (at every ceil(K/P)-th frequency
if K is not P) plus N(0, 2 g^2 / (P (K + H))), g = 0.3, drawn once for each layer and head and not trained; `learned=true` trains
them. That variance is what PyTorch's xavier_normal_ gives for a tensor of three dimensions; it falls with the number of heads.
At least one frequency is kept. P = min(K, D/4) pairs turn so, as in the authors' code half of a head's width at most. The others
are fixed: C = S = 1 in that code, where C = 1, S = 0 would leave them as they are. Channels c and c + D/2 are a pair.
Products of unlike frequencies remain, cos(i w) cos(j w'), so scores depend on i and j: not shift invariant. Past the training
length all waves have turned before, in other combinations.
"""

import math

import torch
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class FoPE(Encoding):
    title = "FoPE"
    paper = (
        "Fourier Position Embedding: Enhancing Attention's Periodic Extension for Length Generalization, 2024, arXiv 2412.17739"
    )
    shift_invariant = False
    extrapolation = "known waves in new combinations"
    cosine_HxKxP: Tensor
    sine_HxKxP: Tensor

    def __init__(self, shape: Shape, *, base: float = 10000.0, gain: float = 0.3, learned: bool = False):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        require.at_least(0, gain=gain)
        self.base, N = base, shape.max_train_length
        K = max(1, int((rotary.frequencies(shape.d_head, base) >= 2 * math.pi / N).sum()))
        P = max(1, min(K, shape.d_head // 4))
        for name in ("cosine_HxKxP", "sine_HxKxP"):
            mixture_HxKxP = nn.init.xavier_normal_(torch.empty(shape.n_head, K, P), gain) + _steps(K, P)
            if learned:
                self.register_parameter(name, nn.Parameter(mixture_HxKxP))
            else:
                self.register_buffer(name, mixture_HxKxP)

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        k_waves = self._waves(qk.k_pos_BxS)
        q_waves = k_waves if qk.q_pos_BxT is qk.k_pos_BxS else self._waves(qk.q_pos_BxT)
        return _mixed(qk.q_BxHxTxD, *q_waves), _mixed(qk.k_BxHxSxD, *k_waves)

    def _waves(self, positions_BxT: Tensor) -> tuple[Tensor, Tensor]:
        """C and S of every pair, `[B, H, T, D/2]`."""
        w_K = rotary.frequencies(self.shape.d_head, self.base, positions_BxT.device)[: self.cosine_HxKxP.shape[1]]
        angle_Bx1xTxK = rotary.angles(positions_BxT[:, None], w_K)
        fixed = (0, self.shape.d_head // 2 - self.cosine_HxKxP.shape[2])
        C, S = angle_Bx1xTxK.cos() @ self.cosine_HxKxP, angle_Bx1xTxK.sin() @ self.sine_HxKxP
        return nn.functional.pad(C, fixed, value=1.0), nn.functional.pad(S, fixed, value=1.0)


def _steps(K: int, P: int) -> Tensor:
    """1 at every ceil(K/P)-th frequency of each pair in turn, as far as there are some: `[K, P]`."""
    step = -(-K // P)
    return torch.tensor([[float(k == p * step) for p in range(P)] for k in range(K)])


def _mixed(x_BxHxTxD: Tensor, C: Tensor, S: Tensor) -> Tensor:
    a, b = x_BxHxTxD.chunk(2, dim=-1)
    return torch.cat([a * C - b * S, b * C + a * S], dim=-1)
