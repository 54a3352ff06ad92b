"""Rotary embedding without its slowest pairs: their channels carry content alone, whatever the distance.

RoPE for q_i and k_j with w_c = base^(-2c/D) for the first floor(p D/2) pairs c, and w_c = 0 for the others

The fast pairs keep their frequencies, unlike with `rope:fraction=...`, which spreads the whole range of frequencies over fewer
channels. Here p = 0.75 and neighbouring channels are pairs (`pairing=half` for the other convention). Past the training length
fewer slow pairs meet angles they never saw.

`cut=trained` rotates the pairs that complete a turn within the training length N, w_c >= 2 pi/N, and does not read p: then no
pair meets a new angle. This is the floor of FoPE (2024, arXiv 2412.17739) and the natural reading of high-frequency HoPE (2024,
arXiv 2410.21216). With few channels or a short N few pairs are left: a lower base keeps more.
`taper=cos` slows the others down and does not stop them: w_c (1 + cos(pi t))/2, t = 0 .. 1 over the K others, of which the last
stops. The authors of clipped RoPE (2026, arXiv 2602.05258, there called CoPE) do so with K = 20 of 64 pairs (p=0.6875). A slower
pair still turns: it meets new angles, later.
"""

import math

import torch
from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require
from rpecli.encodings import _rotary as rotary


class PRoPE(Encoding):
    title = "p-RoPE"
    paper = "Round and Round We Go! What makes Rotary Positional Encodings useful?, 2024, arXiv 2410.06205"
    shared = True
    extrapolation = "new angles of fewer slow pairs"

    def __init__(
        self,
        shape: Shape,
        *,
        p: float = 0.75,
        base: float = 10000.0,
        pairing: str = "interleaved",
        cut: str = "share",
        taper: str = "none",
    ):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        require.one_of(rotary.PAIRINGS, pairing=pairing)
        require.one_of(("share", "trained"), cut=cut)
        require.one_of(("none", "cos"), taper=taper)
        pairs, N = shape.d_head // 2, shape.max_train_length
        if cut == "trained":
            self.n_rotated = int((rotary.frequencies(shape.d_head, base) >= 2 * math.pi / N).sum())
            if not self.n_rotated:
                raise ValueError(f"cut=trained: no pair completes a turn within {N} trained tokens: write cut=share")
        else:
            self.n_rotated = int(p * shape.d_head / 2 + 1e-9)
            if not 1 <= self.n_rotated <= pairs:
                larger = "a larger p, up to 1" if p < 1 else "p=1"
                raise ValueError(f"p={p:g} rotates {self.n_rotated} of {pairs} pairs: write {larger}")
        self.base, self.pairing, self.taper = base, pairing, taper

    def frequencies(self, device: torch.device) -> Tensor:
        """`[C]`, in float64."""
        w_C = rotary.frequencies(self.shape.d_head, self.base, device)
        if self.taper == "none":
            return rotary.first_frequencies(self.n_rotated, self.shape.d_head, self.base, device)
        t_K = torch.linspace(0, math.pi, len(w_C) - self.n_rotated, dtype=w_C.dtype, device=w_C.device)
        return torch.cat([w_C[: self.n_rotated], w_C[self.n_rotated :] * (1 + t_K.cos()) / 2])

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        return rotary.rotate(qk, self.frequencies(qk.device), pairing=self.pairing)
