"""Where heads look: weight by distance, attended distance, entropy, and heads that look by a rule, named.

Rules, for a row whose place in its answer is t = 0, 1, ...:
    distance   the key lies a fixed distance i-j back
    place      the key is always the same token, at place j from the start
    t, 2t      the distance is o+t or o+2t: answers that run on while their source stands, or runs the other way (reversing)
Over problem lengths n the offset stays, or grows with n or 2n: copying looks n back.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FAMILIES = {"distance": 0, "place": 0, "t": 1, "2t": 2}  # and how the distance grows with t
GROWTHS = (0, 1, 2)  # of the offset, by the problem's length
NAMED = 0.5  # share of a head's weight at one distance from which on the head is named


class Looks:
    """What adds up over the rows of one layer at one length; weights count as shares of their row."""

    def __init__(self, n_head: int, T: int):
        self.n_head, self.T, self.rows = n_head, T, 0
        self.hist = {family: torch.zeros(n_head, 4 * T, dtype=torch.float64) for family in FAMILIES}  # `[H, offset + 3T]`
        self.distance_H, self.entropy_H = (torch.zeros(n_head, dtype=torch.float64) for _ in range(2))
        self.uniform = 0.0

    def add(self, w_NxHxT: Tensor, i_N: Tensor, t_N: Tensor, causal: bool) -> None:
        """Rows at places `i_N` whose place in the answer is `t_N`."""
        w = w_NxHxT.detach().cpu().double()
        w = w / w.sum(-1, keepdim=True).clamp(min=1e-12)
        i_N, t_N = i_N.cpu(), t_N.cpu()
        d_NxT = i_N[:, None] - torch.arange(self.T)
        flat_HxNT = w.transpose(0, 1).flatten(1)
        for family, slope in FAMILIES.items():
            place_NxT = torch.arange(self.T).expand_as(d_NxT)
            offset_NxT = place_NxT if family == "place" else d_NxT - slope * t_N[:, None]
            self.hist[family].index_add_(1, (offset_NxT + 3 * self.T).flatten(), flat_HxNT)
        self.distance_H += (w * d_NxT[:, None].abs()).sum((0, 2))
        self.entropy_H += torch.special.entr(w).sum((0, 2))
        self.uniform += float(((i_N + 1) if causal else torch.full_like(i_N, self.T)).double().log().sum())
        self.rows += len(w)

    def share(self, head: int, family: str, offset: int) -> float:
        """Mean weight at an offset of a family."""
        return float(self.hist[family][head, offset + 3 * self.T]) / self.rows if -3 * self.T <= offset < self.T else 0.0

    def best(self, head: int) -> tuple[str, int, float]:
        """Family, offset and share of what holds most weight; of equal ones a plain distance (one answer token)."""
        offset = {family: int(hist[head].argmax()) - 3 * self.T for family, hist in self.hist.items()}
        share = {family: round(self.share(head, family, offset[family]), 9) for family in FAMILIES}
        family = max(FAMILIES, key=lambda each: share[each])
        return family, offset[family], share[family]

    def by_distance(self, causal: bool) -> list[list[float]]:
        """Of each head, the mean weight at every distance: 0..T-1, or -(T-1)..T-1 where attention goes both ways."""
        least = 0 if causal else 1 - self.T
        mean_HxD = self.hist["distance"][:, 3 * self.T + least : 4 * self.T] / self.rows
        return [[round(value, 6) for value in line] for line in mean_HxD.tolist()]

    def facts(self, head: int) -> dict[str, float]:
        """Mean distance looked at and entropy in nats; `uniform` is that of equal weights."""
        sums: dict[str, Any] = {"distance": self.distance_H[head], "entropy": self.entropy_H[head], "uniform": self.uniform}
        return {key: round(float(value) / self.rows, 4) for key, value in sums.items()}


@dataclass(frozen=True)
class Rule:
    """Offset + growth n, in one of the families."""

    family: str
    growth: int
    offset: int

    def at(self, length: int) -> int:
        return self.offset + self.growth * length

    def words(self) -> str:
        """`distance 3`, `distance n+1`, `place 0`, `distance n+2t-1`; n the problem's length, t the place in the answer."""
        grows = ["", "n", "2n"][self.growth], self.family if FAMILIES[self.family] else ""
        text = "+".join(part for part in grows if part)
        number = f"{text}{self.offset:+d}" if text and self.offset else text or str(self.offset)
        return f"{'place' if self.family == 'place' else 'distance'} {number}"


def rule(looks: dict[int, Looks], head: int, length: int, other: int) -> tuple[Rule, float]:
    """The rule of a head's favourite at `length`, its growth as it shows at the length `other`, and its share at `length`."""
    family, offset, share = looks[length].best(head)
    rules = [Rule(family, growth, offset - growth * length) for growth in GROWTHS]
    return max(rules, key=lambda each: looks[other].share(head, family, each.at(other))), share


def named(looks: list[dict[int, Looks]], length: int, other: int) -> list[dict[str, Any]]:
    """The heads that keep at least NAMED of their weight by one rule, layer by layer, with their share at every length."""
    found = []
    for layer, at in enumerate(looks):
        for head in range(at[length].n_head):
            best, share = rule(at, head, length, other)
            if share >= NAMED:
                shares = {str(n): round(each.share(head, best.family, best.at(n)), 4) for n, each in at.items()}
                found.append({"layer": layer + 1, "head": head + 1, "rule": best.words(), "family": best.family,
                              "growth": best.growth, "offset": best.offset, "share": shares})  # fmt: skip
    return found
