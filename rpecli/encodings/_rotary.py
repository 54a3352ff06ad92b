"""Rotations of channel pairs by angles proportional to positions, and frequencies scaled to lengths beyond training.

With N the training length, f the factor, r the rotated width and c = 0 .. r/2-1 the pairs, fastest first:

    pi        w_c / f                                            Chen et al. 2023, arXiv 2306.15595
    ntk       the frequencies of base * f^(r/(r-2))              bloc97 2023 (no paper)
    dynamic   ntk with f n/N - (f-1) for f, n the evaluated length; unscaled up to N
    yarn      slow pairs w_c / f, fast pairs unscaled, a ramp between the pairs that turn once and 32 times within N;
              cosines and sines times 0.1 ln f + 1               Peng et al. 2023, arXiv 2309.00071
    llama3    w_c / f where the wavelength exceeds N, w_c where it is below N/4, a mixture between
    longrope  w_c / e_c beyond N, with a factor e_c for each pair given by hand; cosines and sines times sqrt(1 + ln f / ln N)
                                                                 Ding et al. 2024, arXiv 2402.13753
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rpecli.encoding import Encoding, QueryKey, Shape
from rpecli.encodings import _require as require

PAIRINGS = ("interleaved", "half")  # channels (2c, 2c+1), or (c, c + half of the width)
SCALINGS = ("none", "pi", "ntk", "dynamic", "yarn", "llama3")
LONGROPE = "longrope"  # the scaling that needs factors
BY_PAIR = "by pair"  # what it is at a length beyond training


def precise(x: Tensor) -> Tensor:
    """x in float64; on the CPU if its device has no such numbers (mps)."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def frequencies(width: int, base: float, device: torch.device | None = None) -> Tensor:
    """base^(-2c/width) of every pair, `[width / 2]`, in float64."""
    return base ** (-precise(torch.arange(0, width, 2, device=device)) / width)


def first_frequencies(n: int, width: int, base: float, device: torch.device | None = None) -> Tensor:
    """The same of the n fastest pairs; the others do not turn."""
    return F.pad(frequencies(width, base, device)[:n], (0, width // 2 - n))


def angles(positions: Tensor, w_C: Tensor) -> Tensor:
    """Positions times frequencies, less whole turns, `[*positions.shape, C]` in float32; `w_C` may be `[H, 1, C]`.

    In float32 the product would be off by 0.06 at position 10^6, and differences of positions would no longer be what counts.
    """
    turns = precise(positions)[..., None] * (w_C / (2 * math.pi))
    return ((turns - turns.round()) * (2 * math.pi)).float().to(positions.device)


def rotation(positions_BxT: Tensor, w_C: Tensor, magnitude: float | Tensor = 1.0) -> Tensor:
    """Complex numbers `[B, 1, T, C]` of angle position times frequency; `magnitude` is a number or `[B, T, C]`.

    Frequencies `[H, 1, C]` give each head its own, `[B, H, T, C]`.
    """
    angle_Bx1xTxC = angles(positions_BxT[:, None], w_C)
    size_Bx1xTxC = magnitude[:, None] if isinstance(magnitude, Tensor) else torch.full_like(angle_Bx1xTxC, magnitude)
    return torch.polar(size_Bx1xTxC, angle_Bx1xTxC)


def rotated(x_BxHxTxD: Tensor, rotation_Bx1xTxC: Tensor, pairing: str = "interleaved") -> Tensor:
    """Channel pairs multiplied as complex numbers; channels past 2C stay as they are."""
    C, half = rotation_Bx1xTxC.shape[-1], pairing == "half"
    if x_BxHxTxD.shape[-1] > 2 * C:
        return torch.cat([rotated(x_BxHxTxD[..., : 2 * C], rotation_Bx1xTxC, pairing), x_BxHxTxD[..., 2 * C :]], dim=-1)
    x = x_BxHxTxD.float().unflatten(-1, (2, C) if half else (C, 2))
    x_BxHxTxCx2 = (x.transpose(-1, -2) if half else x).contiguous()
    y_BxHxTxCx2 = torch.view_as_real(torch.view_as_complex(x_BxHxTxCx2) * rotation_Bx1xTxC)
    return (y_BxHxTxCx2.transpose(-1, -2) if half else y_BxHxTxCx2).flatten(-2).to(x_BxHxTxD.dtype)


def rotate(qk: QueryKey, w_C: Tensor, magnitude: float = 1.0, pairing: str = "interleaved") -> tuple[Tensor, Tensor]:
    """Queries and keys rotated by their positions times the frequencies."""
    k_rotation = rotation(qk.k_pos_BxS, w_C, magnitude).to(qk.device)
    same = qk.q_pos_BxT is qk.k_pos_BxS
    q_rotation = k_rotation if same else rotation(qk.q_pos_BxT, w_C, magnitude).to(qk.device)
    return rotated(qk.q_BxHxTxD, q_rotation, pairing), rotated(qk.k_BxHxSxD, k_rotation, pairing)


def turn(qk: QueryKey, angle_BxHxSxC: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys whose pairs (c, c + half of the width) turn by the angles of their tokens."""
    T, S = qk.lengths
    return _turned(qk.q_BxHxTxD, angle_BxHxSxC[:, :, S - T :]), _turned(qk.k_BxHxSxD, angle_BxHxSxC)


def _turned(x_BxHxTxD: Tensor, angle_BxHxTxC: Tensor) -> Tensor:
    (a, b), cos, sin = x_BxHxTxD.chunk(2, dim=-1), angle_BxHxTxC.cos(), angle_BxHxTxC.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


@dataclass(frozen=True)
class Scaling:
    """One of SCALINGS or LONGROPE, and its factor; 0 stands for the evaluated length over the training length, at least 1."""

    kind: str
    factor: float
    base: float
    max_train_length: int
    pair_factors: tuple[float, ...] = ()  # of LONGROPE

    @property
    def by_length(self) -> bool:
        """Whether the frequencies depend on the evaluated length."""
        return self.kind in ("dynamic", LONGROPE) or (self.kind != "none" and not self.factor)

    def fixed(self, n_positions: int) -> "Scaling":
        """The same with the factor that it has at an evaluated length."""
        growth = max(1.0, n_positions / self.max_train_length)
        if self.kind == "dynamic":  # NTK with a factor of its own for each length
            return replace(self, kind="ntk", factor=max(1.0, self.factor * growth - (self.factor - 1)) if self.factor else growth)
        if self.kind == LONGROPE:
            beyond = replace(self, kind=BY_PAIR, factor=self.factor or growth)
            return beyond if growth > 1 else replace(self, kind="none", factor=1.0)
        return replace(self, factor=self.factor or growth)

    def scaled(self, w_C: Tensor, positions: Tensor) -> tuple[Tensor, float]:
        """Frequencies for keys at `positions`, and the magnitude of the rotations. The evaluated length is last position + 1."""
        if self.kind == "none":
            return w_C, 1.0
        if self.by_length:
            return self.fixed(int(positions.max()) + 1).scaled(w_C, positions)
        f = self.factor
        if self.kind == "yarn":
            return w_C * self._mixed(f, self._ramp(w_C)), 0.1 * math.log(f) + 1
        if self.kind == "llama3":
            fast_C = (self.max_train_length * w_C / (2 * math.pi) - 1) / 3  # low and high frequency factors 1 and 4
            return w_C * self._mixed(f, 1 - fast_C.clamp(0, 1)), 1.0
        if self.kind == BY_PAIR:
            return w_C / w_C.new_tensor(self.pair_factors), math.sqrt(1 + math.log(f) / math.log(self.max_train_length))
        if self.kind == "pi":
            return w_C / f, 1.0
        width = 2 * len(w_C)
        return frequencies(width, self.base * f ** (width / (width - 2)), w_C.device), 1.0

    def _mixed(self, f: float, slow_C: Tensor) -> Tensor:
        return slow_C / f + (1 - slow_C)

    def _ramp(self, w_C: Tensor) -> Tensor:
        """0 for pairs that turn at least 32 times within the training length, 1 for those that turn at most once."""
        width = 2 * len(w_C)

        def pair(turns: float) -> float:
            """The pair, as a fraction, that turns so many times within the training length."""
            return width * math.log(self.max_train_length / (2 * math.pi * turns)) / (2 * math.log(self.base))

        low, high = max(math.floor(pair(32)), 0), min(math.ceil(pair(1)), width - 1)
        c_C = torch.arange(len(w_C), device=w_C.device, dtype=w_C.dtype)
        return ((c_C - low) / (high - low if high != low else 0.001)).clamp(0, 1)


class NearAndFar(Encoding):
    """Rotary scores by exact distance inside a window, and by other positions, `far_positions`, beyond it."""

    def __init__(self, shape: Shape, window: int, base: float, pairing: str):
        super().__init__(shape)
        require.even_head(shape)
        require.positive(base=base)
        require.one_of(PAIRINGS, pairing=pairing)
        self.window, self.base, self.pairing = window, base, pairing

    def far_positions(self, q_pos_BxT: Tensor, k_pos_BxS: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of queries and keys for pairs beyond the window."""
        raise NotImplementedError

    def rotate(self, qk: QueryKey) -> tuple[Tensor, Tensor]:
        return rotate(qk, frequencies(self.shape.d_head, self.base, qk.device), pairing=self.pairing)

    def score(self, logits_BxHxTxS: Tensor, qk: QueryKey) -> Tensor:
        q_pos_BxT, k_pos_BxS = self.far_positions(qk.q_pos_BxT, qk.k_pos_BxS)
        q_far, k_far = self.rotate(replace(qk, q_pos_BxT=q_pos_BxT, k_pos_BxS=k_pos_BxS))
        near_Bx1xTxS = (qk.distance_BxTxS < self.window)[:, None]
        return torch.where(near_Bx1xTxS, logits_BxHxTxS, q_far @ k_far.transpose(-1, -2) * self.shape.scale)
