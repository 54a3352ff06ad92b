"""Where heads attend: weight by distance, mean distance, entropy, and heads that follow a pattern.

A pattern is one distance i-j, or one place j, that depends on t = 0, 1, ..., the row's place in its answer:
    distance   the key lies a fixed distance i-j back
    place      the key is always the same token, at place j from the start
    t, 2t      the distance is o+t or o+2t: the source stands still as the answer grows, or runs the other way (reversing)
Over problem lengths n the offset stays the same, or grows with n or 2n: copying attends to the token n back.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rpecli.run.records import HeadAttention, PatternedHead

FAMILIES = {"distance": 0, "place": 0, "t": 1, "2t": 2}  # and how the distance grows with t
GROWTHS = (0, 1, 2)  # of the offset, by the problem's length
MIN_SHARE = 0.5  # of a head's attention from which on it follows a pattern


class AttentionSums:
    """Sums over the rows of one layer at one length; the weights of a row count as shares of their sum."""

    def __init__(self, n_head: int, T: int):
        self.n_head, self.T, self.n_rows = n_head, T, 0
        self.weight_by_offset = {  # `[H, offset + 3T]`: offsets are -3T..T-1
            family: torch.zeros(n_head, 4 * T, dtype=torch.float64) for family in FAMILIES
        }
        self.distance_H, self.entropy_H = (torch.zeros(n_head, dtype=torch.float64) for _ in range(2))
        self.uniform_entropy = 0.0

    def add(self, weights_NxHxT: Tensor, i_N: Tensor, t_N: Tensor, causal: bool) -> None:
        """Adds the attention of rows at places `i_N` of their sequence and `t_N` of its answer."""
        w_NxHxT = weights_NxHxT.detach().cpu().double()
        w_NxHxT = w_NxHxT / w_NxHxT.sum(-1, keepdim=True).clamp(min=1e-12)
        i_N, t_N = i_N.cpu(), t_N.cpu()
        distance_NxT = i_N[:, None] - torch.arange(self.T)
        w_HxNT = w_NxHxT.transpose(0, 1).flatten(1)
        for family, slope in FAMILIES.items():
            place_NxT = torch.arange(self.T).expand_as(distance_NxT)
            offset_NxT = place_NxT if family == "place" else distance_NxT - slope * t_N[:, None]
            self.weight_by_offset[family].index_add_(1, (offset_NxT + 3 * self.T).flatten(), w_HxNT)
        self.distance_H += (w_NxHxT * distance_NxT[:, None].abs()).sum((0, 2))
        self.entropy_H += torch.special.entr(w_NxHxT).sum((0, 2))
        n_keys_N = (i_N + 1) if causal else torch.full_like(i_N, self.T)
        self.uniform_entropy += float(n_keys_N.double().log().sum())
        self.n_rows += len(w_NxHxT)

    def is_finite(self) -> bool:
        return bool(torch.isfinite(self.distance_H).all() and torch.isfinite(self.entropy_H).all())

    def share(self, head: int, family: str, offset: int) -> float:
        """Mean weight of a head at an offset of a family."""
        if not -3 * self.T <= offset < self.T:
            return 0.0
        return float(self.weight_by_offset[family][head, offset + 3 * self.T]) / self.n_rows

    def strongest(self, head: int) -> tuple[str, int, float]:
        """Family, offset and share of the offset with most weight; of equal ones a plain distance (as with one answer token)."""
        offsets = {family: int(weight[head].argmax()) - 3 * self.T for family, weight in self.weight_by_offset.items()}
        shares = {family: round(self.share(head, family, offset), 9) for family, offset in offsets.items()}
        family = max(FAMILIES, key=lambda family: shares[family])
        return family, offsets[family], shares[family]

    def heads(self, causal: bool) -> list[HeadAttention]:
        """Where each head attends: means over the rows, and the mean weight at every distance."""
        least = 0 if causal else 1 - self.T  # bidirectional attention reaches distances -(T-1)..T-1
        mean_HxD = self.weight_by_offset["distance"][:, 3 * self.T + least : 4 * self.T] / self.n_rows
        return [
            {
                "head": head + 1,
                "distance": self._mean(self.distance_H[head]),
                "entropy": self._mean(self.entropy_H[head]),
                "uniform": self._mean(self.uniform_entropy),
                "by_distance": [round(weight, 6) for weight in weights],
            }
            for head, weights in enumerate(mean_HxD.tolist())
        ]

    def _mean(self, total: Tensor | float) -> float:
        return round(float(total) / self.n_rows, 4)


@dataclass(frozen=True)
class Pattern:
    """The offset `offset + growth n` of a family, where n is the problem's length."""

    family: str
    growth: int
    offset: int

    def at(self, length: int) -> int:
        return self.offset + self.growth * length

    def __str__(self) -> str:
        """`distance 3`, `distance n+1`, `place 0`, `distance n+2t-1`: n is the problem's length, t the place in the answer."""
        terms = ["", "n", "2n"][self.growth], self.family if FAMILIES[self.family] else ""
        text = "+".join(term for term in terms if term)
        number = f"{text}{self.offset:+d}" if text and self.offset else text or str(self.offset)
        return f"{'place' if self.family == 'place' else 'distance'} {number}"


def pattern(sums: dict[int, AttentionSums], head: int, length: int, other: int) -> tuple[Pattern, float]:
    """The strongest pattern of a head at `length`, with its share there; the length `other` decides how it grows."""
    family, offset, share = sums[length].strongest(head)
    patterns = [Pattern(family, growth, offset - growth * length) for growth in GROWTHS]
    return max(patterns, key=lambda pattern: sums[other].share(head, family, pattern.at(other))), share


def patterned_heads(layers: list[dict[int, AttentionSums]], length: int, other: int) -> list[PatternedHead]:
    """The heads with at least MIN_SHARE of their attention in one pattern, layer by layer, with its share at every length."""
    heads: list[PatternedHead] = []
    for layer, sums in enumerate(layers):
        for head in range(sums[length].n_head):
            best, share = pattern(sums, head, length, other)
            if share >= MIN_SHARE:
                shares = {str(n): round(at_n.share(head, best.family, best.at(n)), 4) for n, at_n in sums.items()}
                heads.append({"layer": layer + 1, "head": head + 1, "pattern": str(best), "family": best.family,
                              "growth": best.growth, "offset": best.offset, "share": shares})  # fmt: skip
    return heads
