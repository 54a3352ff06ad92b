"""Rotary position embedding: queries and keys rotate by angles proportional to their positions, so dot products depend on i-j.

q_i, k_j split into pairs c of channels; pair c rotates by i w_c (j w_c),  w_c = base^(-2c/D)           (paper, equation 34)

`pairing=interleaved` pairs channels (2c, 2c+1) as in the paper and GPT-J, `half` pairs (c, c+D/2) as in Llama and GPT-NeoX; the
two are the same model up to the order of the channels. `fraction` rotates only the first share r of the channels, with D = r in
the frequencies: a quarter in GPT-NeoX and in Kazemnejad et al. 2023, whose "RoPE" this is. Past the training length the slow
pairs meet angles they never saw; `scaling=pi|ntk|dynamic|yarn|llama3` and `factor` (0: as much as needed) scale the frequencies
there (formulas in rpecli/encodings/_rotary.py). With factor=0 or dynamic the frequencies depend on the evaluated length. `rpe
eval` fixes them once for each length and records the factor; without `fit` they go by the last position of each pass, so that
earlier rows change as a sequence grows.
"""

from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class RoPE(Encoding):
    title = "RoPE"
    baseline = True
    paper = "RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021, arXiv 2104.09864"
    shared = True
    extrapolation = "new angles of the slow pairs"
    look = ("#0072B2", "o")

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
        require.even_head(shape)
        require.positive(base=base)
        require.one_of(rotary.PAIRINGS, pairing=pairing)
        require.one_of(rotary.SCALINGS, scaling=scaling)
        if scaling != "none" and not base > 1:
            raise ValueError(f"base={base}: must be above 1 to be scaled, for example base=10000")
        if factor and factor < 1:
            raise ValueError(f"factor={factor}: must be at least 1, or 0 for evaluated length / training length")
        self.width, least = 2 * int(fraction * shape.d_head / 2 + 1e-9), 2 if scaling == "none" else 4
        if not least <= self.width <= shape.d_head:
            raise ValueError(
                f"fraction={fraction} rotates {self.width} of {shape.d_head} channels: "
                f"write a fraction from {least / shape.d_head:g} to 1"
            )
        self.base, self.pairing = base, pairing
        self.scaling = rotary.Scaling(scaling, factor, base, shape.max_train_length)
        self.fitted: rotary.Scaling | None = None
        self.shift_invariant = not self.scaling.by_length

    def fit(self, n_positions: int) -> float | None:
        self.fitted = self.scaling.fixed(n_positions) if self.scaling.kind != "none" else None
        return self.fitted.factor if self.fitted else None

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        w_C, magnitude = (self.fitted or self.scaling).scaled(rotary.frequencies(self.width, self.base, qk.device), qk.k_pos_BxS)
        return rotary.rotate(qk, w_C, magnitude, self.pairing)
