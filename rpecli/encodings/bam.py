"""BAM: a prior over distances of the shape of a generalized Gaussian, with a scale and a shape that each head learns.

logit_ij = q_i . k_j / sqrt(D) - exp(a_h) (|i-j + mu_h| + 0.00001)^b_h,  mu = e^l - e^(-l)

a starts at the logarithm of ALiBi's slope and b at 1 (`shape=linear`: 0 to 1 over the heads), so it starts as ALiBi; l = 0 is
fixed unless `location=true`. One prior for all layers. b has no bounds, unlike KERPLE's power: below 0 the penalty is largest at
distance 0 and fades, a head that looks away from what is near. The paper's SSMax is `logit_scale: ssmax` here, for any encoding.
Past the training length the power keeps growing.
"""

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape
from rpecli.encodings import _require as require
from rpecli.encodings.alibi import slopes

SMALL = 1e-5  # a negative power of distance 0 is finite


class BAM(DistanceBias):
    title = "BAM"
    paper = (
        "Bayesian Attention Mechanism: A Probabilistic Framework for Positional Encoding and Context Length Extrapolation, "
        "2025, arXiv 2505.22842"
    )
    shared = True
    extrapolation = "the power keeps growing"

    def __init__(self, shape_of_model: Shape, *, shape: str = "one", location: bool = False):
        super().__init__(shape_of_model)
        require.one_of(("one", "linear"), shape=shape)
        H = shape_of_model.n_head
        self.log_scale_H = nn.Parameter(torch.tensor(slopes(H)).log())
        self.power_H = nn.Parameter(torch.linspace(0, 1, H) if shape == "linear" else torch.ones(H))
        self.location_H = nn.Parameter(torch.zeros(H)) if location else None

    def by_distance(self, distance: Tensor) -> Tensor:
        sizes = [1] * distance.dim()
        a, b = self.log_scale_H.view(-1, *sizes), self.power_H.view(-1, *sizes)
        if self.location_H is not None:
            distance = distance + 2 * self.location_H.sinh().view(-1, *sizes)
        return -a.exp() * (distance.abs().to(a.dtype) + SMALL) ** b
