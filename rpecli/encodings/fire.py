"""FIRE: a small network maps the distance to a bias, after a normalization that keeps its inputs between 0 and 1.

bias_ij = MLP(psi(i-j) / psi(max(i, L))),  psi(x) = ln(|c x| + 1)                                        (paper, equation 17)

MLP 1 -> 32 -> H with ReLU, one network per layer; c and L are learned (L = threshold times a learned factor). The authors'
threshold is 512; the default here is the training length, since a threshold far above it would never adapt. Some public code has
min(i, L) where the paper has max. In bidirectional attention the distance is |i-j|, and max(i, j, L) keeps the inputs between 0
and 1. The bias depends on i as well as on i-j, so it is not shift invariant. Past the training length the inputs stay in range.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rpecli.encoding import Encoding, Shape, inside_functorch
from rpecli.encodings import _require as require


class FIRE(Encoding):
    title = "FIRE"
    baseline = True
    paper = "Functional Interpolation for Relative Positions Improves Long Context Transformers, 2023, arXiv 2310.04418"
    shift_invariant = False
    extrapolation = "normalized into [0, 1]"
    look = ("#332288", "^")

    def __init__(self, shape: Shape, *, hidden: int = 32, threshold: float = 0.0, c: float = 0.1):
        super().__init__(shape)
        require.at_least(1, hidden=hidden)
        self.threshold = threshold or float(shape.max_train_length)
        self.c = nn.Parameter(torch.tensor(c))
        self.factor = nn.Parameter(torch.tensor(1.0))
        self.mlp = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, shape.n_head))

    def _psi(self, x: Tensor) -> Tensor:
        return torch.log((self.c * x).abs() + 1)

    def bias(self, q_pos_BxT: Tensor, k_pos_BxS: Tensor) -> Tensor:
        i_BxTx1, j_Bx1xS = q_pos_BxT[:, :, None], k_pos_BxS[:, None, :]
        distance_BxTxS = (i_BxTx1 - j_Bx1xS).clamp(min=0) if self.shape.causal else (i_BxTx1 - j_Bx1xS).abs()
        last = i_BxTx1 if self.shape.causal else torch.maximum(i_BxTx1, j_Bx1xS)
        longest = torch.maximum(last.to(self.c.dtype), (self.threshold * self.factor).abs())
        x_BxTxS = self._psi(distance_BxTxS.to(self.c.dtype)) / (self._psi(longest) + 1e-6)
        return self.network(x_BxTxS.flatten()).unflatten(1, x_BxTxS.shape).transpose(0, 1)

    def network(self, x_N: Tensor, chunk: int = 8192) -> Tensor:
        """The MLP's output `[H, N]` for inputs in [0, 1], in chunks whose hidden units stay in the CPU's cache.

        A unit whose sign does not change between 0 and 1 is linear there, or zero, and all of these add up to one linear
        function; about a quarter of the 32 units change sign at initialization. So evaluation takes 2.4 to 2.6 times as long as
        plain attention; with the MLP as it stands it takes 12 to 14 times as long.
        """
        if inside_functorch():  # the number of units that change sign depends on values
            return self.mlp(x_N[:, None]).T
        first, second = self.mlp[0], self.mlp[2]
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        w_U, b_U = first.weight[:, 0], first.bias
        bends_U = (b_U > 0) != (b_U + w_U > 0)
        linear_U = ~bends_U & (b_U > 0)
        line_Ux2 = torch.stack([b_U, w_U], dim=1)
        line_Hx2 = second.weight[:, linear_U] @ line_Ux2[linear_U] + F.pad(second.bias[:, None], (0, 1))
        weight_HxP, line_Px2 = second.weight[:, bends_U], line_Ux2[bends_U]
        outputs = []
        for part_N in x_N.split(chunk):
            one_x_2xN = torch.stack([torch.ones_like(part_N), part_N])
            outputs.append(torch.addmm(line_Hx2 @ one_x_2xN, weight_HxP, (line_Px2 @ one_x_2xN).relu()))
        return torch.cat(outputs, dim=1)
