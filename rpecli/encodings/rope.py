"""Rotary position embedding: queries and keys rotate by angles proportional to their positions, so dot products depend on i-j.

q_i, k_j split into pairs c of channels; pair c rotates by i w_c (j w_c),  w_c = base^(-2c/D)           (paper, equation 34)

`pairing=interleaved` pairs channels (2c, 2c+1) as in the paper and GPT-J, `half` pairs (c, c+D/2) as in Llama and GPT-NeoX; the
two are the same model up to the order of the channels. `fraction` rotates only the first share r of the channels, with D = r in
the frequencies: a quarter in GPT-NeoX and in Kazemnejad et al. 2023, whose "RoPE" this is. Past the training length the slow
pairs meet angles they never saw; `scaling=pi|ntk|dynamic|yarn|llama3` and `factor` (0: as much as needed) scale the frequencies
there (formulas in rpecli/encodings/_rotary.py), and `scaling=longrope:factors=1/1.5/2/4` by a factor for each pair, the fastest
first, beyond the training length alone; a search for factors would choose by lengths that are tested. With factor=0, dynamic or
longrope the frequencies depend on the evaluated length. `rpe eval` fixes them once for each length and records the factor;
without `fit` they go by the last position of each pass, so that earlier rows change as a sequence grows.

`window=W` also hides all but the W nearest tokens, the token itself included: position i sees i-W+1 .. i, and also the W-1
tokens ahead in bidirectional attention. (A limit on the distance, |i-j| <= W, would see one more; several libraries confuse the
two.) `chunk=W` hides all keys outside the query's block of positions, kW .. kW+W-1, as in Llama 4; it is not shift invariant.
Both are a part of the layer: `rope:window=16+none` alternates layers with a window and layers that see all keys, unrotated.

`learned=true` gives each layer frequencies of its own, w_c exp(l_c/16) with l = 0 at first (the 16 slows learning down, as in
GRAPE's code); `per_head=true` gives them to each head. In one dimension the rotations exp(iA) with a learned skew-symmetric A
that GRAPE-M (2025, arXiv 2512.07805), LieRE (2024, arXiv 2406.10322), ComRoPE (2025, arXiv 2506.03737, A in blocks) and algebraic
encodings (2023, arXiv 2312.16045) use are this in another basis, which W_q and W_k of the head absorb; they differ in initial
values.
"""

import math

import torch
from torch import Tensor, nn

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _local as local
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary

SLOWER = 16  # the logarithms of learned frequencies move by a 16th of an optimizer's steps


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
        factors: str = "",
        learned: bool = False,
        per_head: bool = False,
        window: int = 0,
        chunk: int = 0,
    ):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        require.one_of(rotary.PAIRINGS, pairing=pairing)
        require.one_of((*rotary.SCALINGS, rotary.LONGROPE), scaling=scaling)
        if scaling != "none" and not base > 1:
            raise ValueError(f"base={base}: must be above 1 to be scaled, for example base=10000")
        if factor and factor < 1:
            raise ValueError(f"factor={factor}: must be at least 1, or 0 for evaluated length / training length")
        if per_head and not learned:
            raise ValueError("per_head=true gives each head learned frequencies: write learned=true:per_head=true")
        if window and chunk:
            raise ValueError(f"window={window} and chunk={chunk}: keep one of them")
        self.width, least = 2 * int(fraction * shape.d_head / 2 + 1e-9), 2 if scaling == "none" else 4
        if not least <= self.width <= shape.d_head:
            raise ValueError(
                f"fraction={fraction} rotates {self.width} of {shape.d_head} channels: "
                f"write a fraction from {least / shape.d_head:g} to 1"
            )
        self.base, self.pairing, self.shared = base, pairing, not learned
        self.scaling = rotary.Scaling(scaling, factor, base, shape.max_train_length, self._pair_factors(scaling, factors))
        self.fitted: rotary.Scaling | None = None
        self.log_w_HxC = nn.Parameter(torch.zeros(shape.n_head if per_head else 1, self.width // 2)) if learned else None
        self.local = local.Windowed(self, window) if window else local.Chunked(self, chunk) if chunk else None
        self.shift_invariant = not self.scaling.by_length and not chunk

    def _pair_factors(self, scaling: str, factors: str) -> tuple[float, ...]:
        """The factors of longrope, one for each pair. Raises ValueError where they do not fit."""
        if (scaling == rotary.LONGROPE) != bool(factors):
            raise ValueError("scaling=longrope and factors go together: write scaling=longrope:factors=1/1.5/2/4")
        try:
            values = tuple(float(text) for text in factors.split("/") if factors)
        except ValueError:
            raise ValueError(f"factors={factors}: write numbers with / between, such as factors=1/1.5/2/4") from None
        if factors and (len(values) != self.width // 2 or not all(1 <= value < math.inf for value in values)):
            raise ValueError(
                f"factors={factors}: write one for each of {self.width // 2} pairs, each at least 1, the fastest first"
            )
        return values

    @property
    def on_scores(self) -> Encoding:
        return self.local or self

    def fit(self, n_positions: int) -> float | None:
        self.fitted = self.scaling.fixed(n_positions) if self.scaling.kind != "none" else None
        return self.fitted.factor if self.fitted else None

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        w_C, magnitude = (self.fitted or self.scaling).scaled(rotary.frequencies(self.width, self.base, qk.device), qk.k_pos_BxS)
        if self.log_w_HxC is not None:
            w_C = w_C * (rotary.precise(self.log_w_HxC) / SLOWER).exp()[:, None]  # [H or 1, 1, C]
        return rotary.rotate(qk, w_C, magnitude, self.pairing)
