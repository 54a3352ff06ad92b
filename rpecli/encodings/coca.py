"""CoCA: every key is a stretched copy of the query's pairs, so that a pair's score is highest at distance 0.

logit_ij = sum_c t_jc |q_ic|^2 cos((i-j) w_c) / sqrt(D),  t_jc = relu((k_jc + k_j,c+D/2) / 2),  w_c = base^(-2c/D)

q_i is split into pairs of channels (c, c + D/2). Queries and keys have no angles of their own between them, so the score of every
pair is highest at distance 0; where it is not, the paper says, RoPE fails past the training length. The score is quadratic in q.
The authors' code computes another one, q_i . (R_i q_i * R_j t_j), which is the same only where the two channels of a pair are
equal, and which depends on i and j (`form=code`). A pair whose relu is 0 for all tokens learns nothing. Past the training length
the slow pairs meet new angles.
"""

import torch
from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class CoCA(Encoding):
    title = "CoCA"
    paper = (
        "CoCA: Fusing Position Embedding with Collinear Constrained Attention in Transformers for Long Context Window Extending, "
        "2023, arXiv 2309.08646"
    )
    shared = True
    extrapolation = "new angles of the slow pairs"

    def __init__(self, shape: Shape, *, base: float = 10000.0, form: str = "paper"):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        require.one_of(("paper", "code"), form=form)
        self.base, self.form, self.shift_invariant = base, form, form == "paper"

    def _waves(self, positions_BxT: Tensor) -> tuple[Tensor, Tensor]:
        w_C = rotary.frequencies(self.shape.d_head, self.base, positions_BxT.device)
        angle_Bx1xTxC = rotary.angles(positions_BxT[:, None], w_C)
        return angle_Bx1xTxC.cos(), angle_Bx1xTxC.sin()

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        (a, b), (k_a, k_b) = qk.q_BxHxTxD.chunk(2, dim=-1), qk.k_BxHxSxD.chunk(2, dim=-1)
        t_BxHxSxC, square_BxHxTxC = ((k_a + k_b) / 2).relu(), a**2 + b**2
        (cos_i, sin_i), (cos_j, sin_j) = self._waves(qk.q_pos_BxT), self._waves(qk.k_pos_BxS)
        sine = square_BxHxTxC * sin_i if self.form == "paper" else 2 * a * b * sin_i + (b**2 - a**2) * cos_i
        return torch.cat([square_BxHxTxC * cos_i, sine], dim=-1), torch.cat([t_BxHxSxC * cos_j, t_BxHxSxC * sin_j], dim=-1)
