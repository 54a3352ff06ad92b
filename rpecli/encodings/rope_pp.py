"""RoPE++: half of the heads have RoPE's scores, the others the imaginary parts of the same products of queries and keys.

logit_ij = sum_c Re(z_c) / sqrt(D) for a head h < H/2,  sum_c Im(z_c) / sqrt(D) for h + H/2,  z_c = q_ic conj(k_jc) e^(I(i-j)w_c)

I is the imaginary unit, w_c = base^(-2c/D); channels c and c + D/2 are a pair. With a W_q of its own, which can turn queries by a
quarter, an imaginary head would be a RoPE head: sharing makes the difference. The authors also share the values and save the
projections of half of the heads. In rpe an encoding does not reach the values: these heads have their own, and their W_q and W_k
are not used. H must be even. Past the training length the slow pairs meet new angles.
"""

from dataclasses import replace

import torch
from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class RoPEPP(Encoding):
    title = "RoPE++"
    paper = "Beyond Real: Imaginary Extension of Rotary Position Embeddings for Long-Context LLMs, 2025, arXiv 2512.07525"
    shared = True
    extrapolation = "new angles of the slow pairs"

    def __init__(self, shape: Shape, *, base: float = 10000.0):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        if shape.n_head % 2:
            raise ValueError(f"n_head={shape.n_head} is odd, but heads come in pairs: write n_head={shape.n_head + 1}")
        self.base = base

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        w_C, half = rotary.frequencies(self.shape.d_head, self.base, qk.device), self.shape.n_head // 2
        real = replace(qk, q_BxHxTxD=qk.q_BxHxTxD[:, :half], k_BxHxSxD=qk.k_BxHxSxD[:, :half])
        q, k = rotary.rotate(real, w_C, pairing="half")
        a, b = q.chunk(2, dim=-1)
        return torch.cat([q, torch.cat([b, -a], dim=-1)], dim=1), torch.cat([k, k], dim=1)
