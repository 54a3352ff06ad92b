"""Dynamic position bias: a small network maps the signed distance to one bias per head.

logit_ij = q_i . k_j / sqrt(D) + MLP(i-j)_h,  with `log=true` MLP(sign(i-j) ln(1 + |i-j|))_h

Linear 1 -> `hidden` (0: a quarter of d_model), SiLU, `depth`-1 more such layers, Linear -> H, one network for all layers;
`norm=true` puts a layer norm before each SiLU. Known from x-transformers, whose defaults these are. Past the training length the
network extrapolates to distances it never saw: without norm or logarithm about linearly.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape


class MLPBias(DistanceBias):
    title = "MLP bias"
    paper = "x-transformers, DynamicPositionBias (no paper)"
    shared = True
    extrapolation = "the network extrapolates to new distances"

    def __init__(self, shape: Shape, *, hidden: int = 0, depth: int = 2, log: bool = False, norm: bool = False):
        super().__init__(shape)
        if hidden < 0 or not 1 <= depth <= 100:
            raise ValueError(f"hidden={hidden} and depth={depth}: the network has 1 to 100 layers of at least one unit")
        self.log = log
        widths = [1, *[hidden or max(1, shape.d_model // 4)] * depth]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), *([nn.LayerNorm(n_out)] if norm else []), nn.SiLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(widths[-1], shape.n_head))

    def by_distance(self, distance: Tensor) -> Tensor:
        d = distance.to(next(self.parameters()).dtype)
        x = d.sign() * torch.log1p(d.abs()) if self.log else d
        return self.mlp(x[..., None]).movedim(-1, 0)
