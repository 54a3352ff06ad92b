"""DeBERTa's disentangled attention: the query's content and the key's content each have a score with the distance.

logit_ij = (q_i . k_j + q_i . K[delta(i,j)] + k_j . Q[delta(i,j)]) / sqrt(3D),  delta(i,j) = clip(i-j+n, 0, 2n-1)
K = P W_k, Q = P W_q                                                                                     (paper, equation 4)

The paper writes delta(j,i) in the last term; its code has delta(i,j), as here. P, one vector per delta, serves all layers; W_k
and W_q belong to a layer and to the encoding alone. n = `reach`, 512 in the paper, here the training length by default.
buckets=256 is version 2's: distances above half of the buckets fall into buckets that grow with the distance, up to `reach`.
Causal attention keeps the half of P that it can use. P ~ N(0, 0.02^2) as in the authors' code (from N(0, 1), token accuracy of
copying at twice the training length fell from 0.99 to 0.41), W ~ N(0, 1/M). Past `reach` all distances share one vector.
"""

import math
from typing import Self

import torch
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape


def log_buckets(buckets: int, reach: int) -> list[int]:
    """The bucket of each distance below reach: the distance itself up to half of the buckets, then ceilings of its logarithm."""
    half = buckets // 2
    pace = (half - 1) / math.log((reach - 1) / half) if buckets else 0.0
    return [d if d <= half else half + math.ceil(math.log(d / half) * pace - 1e-9) for d in range(reach if buckets else 0)]


class DeBERTa(Encoding):
    title = "DeBERTa"
    paper = "DeBERTa: Decoding-enhanced BERT with Disentangled Attention, 2020, arXiv 2006.03654"
    extrapolation = "all far distances share one vector"
    bucket_R: Tensor

    def __init__(self, shape: Shape, *, reach: int = 0, buckets: int = 0):
        super().__init__(shape)
        self.reach, self.buckets = reach or shape.max_train_length, buckets
        if reach < 0 or (buckets and (buckets % 2 or not 4 <= buckets < 2 * (self.reach - 1))):
            raise ValueError(
                f"reach={self.reach} and buckets={buckets}: reach must be at least 1 (or 0 for the training length); "
                "buckets 0 for none, or even, at least 4, and half of them below reach - 1"
            )
        self.n = buckets or self.reach
        M = shape.d_model
        self.p_NxM = nn.Parameter(0.02 * torch.randn(self.n if shape.causal else 2 * self.n, M))
        self.register_buffer("bucket_R", torch.tensor(log_buckets(buckets, self.reach)), persistent=False)
        self.key_MxM, self.query_MxM = (nn.Parameter(torch.randn(M, M) * M**-0.5) for _ in range(2))

    def share_with(self, first: Self) -> None:
        self.p_NxM = first.p_NxM

    def row(self, distance: Tensor) -> Tensor:
        """The row of P for distances i-j."""
        d = distance.long()
        if self.buckets:
            d = d.sign() * self.bucket_R[d.abs().clamp(max=self.reach - 1)]
        return d.clamp(0 if self.shape.causal else -self.n, self.n - 1) + (0 if self.shape.causal else self.n)

    def score_buffers(self, rows: int, keys: int) -> float:
        return 6.0 + self.n / rows + self.n / keys  # the scores of every key with all distances, again for each block

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        heads = (-1, self.shape.n_head, self.shape.d_head)
        key_HxDxN, query_HxDxN = ((self.p_NxM @ w).view(heads).permute(1, 2, 0) for w in (self.key_MxM, self.query_MxM))
        row_BxHxTxS = self.row(qk.distance_BxTxS)[:, None].expand_as(logits_BxHxTxS)
        content_to_position = (qk.q_BxHxTxD @ key_HxDxN).gather(-1, row_BxHxTxS)
        position_to_content = (qk.k_BxHxSxD @ query_HxDxN).gather(-1, row_BxHxTxS.transpose(2, 3)).transpose(2, 3)
        return (logits_BxHxTxS + (content_to_position + position_to_content) * self.shape.scale) * 3**-0.5
