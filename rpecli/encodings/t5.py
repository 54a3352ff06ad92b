"""T5's relative bias: a learned number per head and bucket of distances; buckets grow with the distance.

logit_ij = q_i . k_j / sqrt(D) + table[bucket(i-j), h]
bucket(d) = d for d < B/2, else B/2 + floor(ln(d/(B/2)) / ln(max_distance/(B/2)) * B/2), at most B-1      (paper, section 2.1)

B = 32 buckets, max_distance = 128, one table for all layers, drawn from N(0, 1/M) as in Hugging Face. In bidirectional attention
each side has half of the buckets, the keys ahead the second half. T5 itself leaves out the scale of q.k; here every encoding has
it. `shared=false` gives each layer a table of its own, as x-transformers does. Past max_distance all distances share the last
bucket.
"""

import math

import torch
from torch import Tensor, nn

from rpecli.encoding import DistanceBias, Shape


class T5(DistanceBias):
    title = "T5 bias"
    baseline = True
    paper = "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer, 2019, arXiv 1910.10683"
    shared = True
    extrapolation = "all far distances share one bucket"
    look = ("#7A7A1F", "D")

    def __init__(self, shape: Shape, *, buckets: int = 32, max_distance: int = 128, shared: bool = True):
        super().__init__(shape)
        self.side = buckets if shape.causal else buckets // 2
        if self.side < 2 or max_distance <= self.side // 2:
            raise ValueError(
                f"buckets={buckets} and max_distance={max_distance}: "
                "at least 2 buckets per side are needed, and max_distance above half of them"
            )
        self.buckets, self.max_distance, self.shared = buckets, max_distance, shared
        self.table_NxH = nn.Parameter(torch.randn(buckets, shape.n_head) * shape.d_model**-0.5)

    def bucket(self, distance: Tensor) -> Tensor:
        """Bucket index of distances i-j. In causal attention the future counts as distance 0."""
        exact = self.side // 2
        d = distance.float().clamp(min=0) if self.shape.causal else distance.float().abs()
        steps = self.side - exact
        far = exact + (torch.log(d.clamp(min=1) / exact) / math.log(self.max_distance / exact) * steps).floor()
        index = torch.where(d < exact, d.floor(), far.clamp(max=self.side - 1)).long()
        return index if self.shape.causal else index + self.side * (distance < 0)

    def by_distance(self, distance: Tensor) -> Tensor:
        return self.table_NxH[self.bucket(distance)].movedim(-1, 0)
