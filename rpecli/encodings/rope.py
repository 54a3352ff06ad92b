"""Rotary position embedding: queries and keys turn by angles proportional to their positions, so dot products see i-j.

q_i, k_j split into pairs c of channels; pair c turns by i w_c (j w_c),  w_c = base^(-2c/D)             (paper, equation 34)

`pairing=interleaved` pairs channels (2c, 2c+1) as the paper and GPT-J do, `half` pairs (c, c+D/2) as Llama and GPT-NeoX do; the
two are the same model up to the order of channels. `fraction` turns only the first share r of the channels, with D = r in the
ladder: a quarter in GPT-NeoX and in Kazemnejad et al. 2023, whose "RoPE" is that. Past the trained length the slow pairs meet
angles they never saw; `scaling=pi|ntk|dynamic|yarn|llama3` and `factor` (0: as much as is needed) stretch the ladder there
(formulas in rpecli/rotary.py). With factor=0 or dynamic the ladder depends on the last position, so earlier rows change as a
sequence grows.
"""

from torch import Tensor

from rpecli.encoding import Encoding, Shape
from rpecli.encodings import _rotary as rotary


class RoPE(Encoding):
    paper = "RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021, arXiv 2104.09864"
    shared = True
    unseen = "new angles of the slow pairs"

    def __init__(
        self,
        shape: Shape,
        *,
        base: float = 10000.0,
        pairing: str = "interleaved",
        fraction: float = 1.0,
        scaling: str = "none",
        factor: float = 0.0,
    ):
        super().__init__(shape)
        rotary.check(shape, base, pairing)
        if scaling != "none" and not base > 1:
            raise ValueError(f"base={base}: frequencies need a base above 1 to be scaled, for example base=10000")
        if scaling not in rotary.KINDS:
            raise ValueError(f"scaling is {', '.join(rotary.KINDS[:-1])} or {rotary.KINDS[-1]}, not {scaling!r}")
        if factor and factor < 1:
            raise ValueError(f"factor={factor}: at least 1, or 0 for evaluated length / trained length")
        self.width = 2 * int(fraction * shape.d_head / 2 + 1e-9)
        least = 2 if scaling == "none" else 4
        if not least <= self.width <= shape.d_head:
            raise ValueError(
                f"fraction={fraction} turns {self.width} of {shape.d_head} channels: "
                f"write a fraction from {least / shape.d_head:g} to 1"
            )
        self.base, self.pairing = base, pairing
        self.scaling = rotary.Scaling(scaling, factor, base, shape.trained)
        self.shift_invariant = scaling == "none" or (factor > 0 and scaling != "dynamic")

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        ladder_C = rotary.frequencies(self.width, self.base, q.device)
        w_C, size = self.scaling.stretched(ladder_C, k_pos)
        q_turn, k_turn, halves = rotary.turns(q_pos, w_C, size), rotary.turns(k_pos, w_C, size), self.pairing == "half"
        return rotary.turned(q, q_turn, halves), rotary.turned(k, k_turn, halves)
