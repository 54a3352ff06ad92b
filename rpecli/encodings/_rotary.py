"""Rotations of channel pairs by angles proportional to positions, and frequencies stretched to lengths that were never trained.

With N the trained length, f the factor, r the rotated width and c = 0 .. r/2-1 the pairs, fastest first:

    pi        w_c / f                                            Chen et al. 2023, arXiv 2306.15595
    ntk       the ladder of base f^(r/(r-2))                     bloc97 2023 (no paper)
    dynamic   ntk with f n/N - (f-1) for f, n the evaluated length; unscaled up to N
    yarn      slow pairs w_c / f, quick ones as they are, a ramp between those that turn 1 and 32 times within N;
              cosines and sines times 0.1 ln f + 1               Peng et al. 2023, arXiv 2309.00071
    llama3    w_c / f where the wave is longer than N, w_c where shorter than N/4, a mixture between
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rpecli.encoding import Encoding, Shape

KINDS = ("none", "pi", "ntk", "dynamic", "yarn", "llama3")


def check(shape: Shape, base: float, pairing: str) -> None:
    """Raises ValueError, with the remedy, for what no rotation of a head's channels can work with."""
    if not base > 0:
        raise ValueError(f"base={base}: frequencies need a base above 0, for example base=10000")
    if shape.d_head % 2:
        raise ValueError(
            f"head width d_model/n_head = {shape.d_head} is odd, and rotations need pairs: "
            f"write d_model={(shape.d_head + 1) * shape.n_head}"
        )
    if pairing not in ("interleaved", "half"):
        raise ValueError(f"pairing is interleaved or half, not {pairing!r}")


def frequencies(width: int, base: float, device: torch.device | None = None) -> Tensor:
    """The ladder base^(-2c/width), `[width / 2]`."""
    return base ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)


def turns(positions_BxT: Tensor, w_C: Tensor, size: float | Tensor = 1.0) -> Tensor:
    """Complex numbers `[B, 1, T, C]` of angle position times frequency; `size` is their magnitude, a number or `[B, T, C]`."""
    angle_BxTxC = positions_BxT[..., None] * w_C
    size_BxTxC = size if isinstance(size, Tensor) else torch.full_like(angle_BxTxC, size)
    return torch.polar(size_BxTxC, angle_BxTxC)[:, None]


def turned(x_BxHxTxD: Tensor, turn_Bx1xTxC: Tensor, halves: bool = False) -> Tensor:
    """Channels (2c, 2c+1), or (c, c+C) for `halves`, multiplied as complex numbers; channels past 2C stay as they are."""
    C = turn_Bx1xTxC.shape[-1]
    if x_BxHxTxD.shape[-1] > 2 * C:
        return torch.cat([turned(x_BxHxTxD[..., : 2 * C], turn_Bx1xTxC, halves), x_BxHxTxD[..., 2 * C :]], dim=-1)
    x = x_BxHxTxD.float().unflatten(-1, (2, C) if halves else (C, 2))
    x_BxHxTxCx2 = (x.transpose(-1, -2) if halves else x).contiguous()
    done = torch.view_as_real(torch.view_as_complex(x_BxHxTxCx2) * turn_Bx1xTxC)
    return (done.transpose(-1, -2) if halves else done).flatten(-2).to(x_BxHxTxD.dtype)


@dataclass(frozen=True)
class Scaling:
    """One of KINDS and its factor; 0 is the evaluated length over the trained one, at least 1."""

    kind: str
    factor: float
    base: float
    trained: int

    def stretched(self, w_C: Tensor, positions: Tensor) -> tuple[Tensor, float]:
        """Frequencies for keys at `positions`, and the magnitude of their turns. The evaluated length is the last of them + 1."""
        if self.kind == "none":
            return w_C, 1.0
        grown = 1.0
        if self.kind == "dynamic" or not self.factor:  # else nothing is read back from the device
            grown = max(1.0, (int(positions.max()) + 1) / self.trained)
        f = self.factor or grown
        if self.kind == "yarn":
            return w_C * self._mixed(f, self._ramp(w_C)), 0.1 * math.log(f) + 1
        if self.kind == "llama3":
            kept_C = (self.trained * w_C / (2 * math.pi) - 1) / 3  # low and high frequency factors 1 and 4
            return w_C * self._mixed(f, 1 - kept_C.clamp(0, 1)), 1.0
        if self.kind == "pi":
            return w_C / f, 1.0
        if self.kind == "dynamic" and self.factor:
            f = max(1.0, f * grown - (f - 1))
        width = 2 * len(w_C)
        return frequencies(width, self.base * f ** (width / (width - 2)), w_C.device), 1.0

    def _mixed(self, f: float, stretched_C: Tensor) -> Tensor:
        return stretched_C / f + (1 - stretched_C)

    def _ramp(self, w_C: Tensor) -> Tensor:
        width = 2 * len(w_C)

        def pair(times: float) -> float:
            """The pair, counted in fractions, that turns that many times within the trained length."""
            return width * math.log(self.trained / (2 * math.pi * times)) / (2 * math.log(self.base))

        low, high = max(math.floor(pair(32)), 0), min(math.ceil(pair(1)), width - 1)
        c_C = torch.arange(len(w_C), device=w_C.device, dtype=w_C.dtype)
        return ((c_C - low) / (high - low if high != low else 0.001)).clamp(0, 1)


class NearAndFar(Encoding):
    """Rotary scores by exact distance inside a window, and by other positions, `far`, beyond it."""

    def __init__(self, shape: Shape, window: int, base: float, pairing: str):
        super().__init__(shape)
        check(shape, base, pairing)
        self.window, self.base, self.pairing = window, base, pairing

    def far(self, q_pos: Tensor, k_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of queries and keys for pairs beyond the window."""
        raise NotImplementedError

    def rotate(
        self, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        turns_q, turns_k = (turns(each, frequencies(self.shape.d_head, self.base, q.device)) for each in (q_pos, k_pos))
        return turned(q, turns_q, self.pairing == "half"), turned(k, turns_k, self.pairing == "half")

    def score(
        self, logits: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor, qf: Tensor | None, kf: Tensor | None
    ) -> Tensor:
        q_far, k_far = self.rotate(q, k, *self.far(q_pos, k_pos), qf, kf)
        near_Bx1xTxS = (q_pos[:, :, None] - k_pos[:, None, :] < self.window)[:, None]
        return torch.where(near_Bx1xTxS, logits, q_far @ k_far.transpose(-1, -2) * self.shape.scale)
