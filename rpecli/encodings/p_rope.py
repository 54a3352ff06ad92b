"""Rotary embedding without its slowest pairs: their channels carry content alone, whatever the distance.

RoPE for q_i and k_j with w_c = base^(-2c/D) for the first floor(p D/2) pairs c, and w_c = 0 for the others

The fast pairs keep their frequencies, unlike with `rope:fraction=...`, which spreads the whole range of frequencies over fewer
channels. Here p = 0.75 and neighbouring channels are pairs (`pairing=half` for the other convention). Past the training length
fewer slow pairs meet angles they never saw.
"""

from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class PRoPE(Encoding):
    title = "p-RoPE"
    paper = "Round and Round We Go! What makes Rotary Positional Encodings useful?, 2024, arXiv 2410.06205"
    shared = True
    extrapolation = "new angles of fewer slow pairs"

    def __init__(self, shape: Shape, *, p: float = 0.75, base: float = 10000.0, pairing: str = "interleaved"):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        require.one_of(rotary.PAIRINGS, pairing=pairing)
        pairs, n_rotated = shape.d_head // 2, int(p * shape.d_head / 2 + 1e-9)
        if not 1 <= n_rotated <= pairs:
            larger = "a larger p, up to 1" if p < 1 else "p=1"
            raise ValueError(f"p={p:g} rotates {n_rotated} of {pairs} pairs: write {larger}")
        self.base, self.n_rotated, self.pairing = base, n_rotated, pairing

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        w_C = rotary.first_frequencies(self.n_rotated, self.shape.d_head, self.base, qk.device)
        return rotary.rotate(qk, w_C, pairing=self.pairing)
