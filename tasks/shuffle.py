"""Which brackets may come next where round and square ones balance without regard to each other (Shuffle-2).

Format       > x1 {...}x2 ... {...}xn {...}.      before each token but the first, the set of those that may stand there
Input law    uniform over the words of the length, which is even: most cross, ( [ ) ]
Chance       the most frequent set at every place
Why          two counts at once, where Dyck words of two kinds need a stack
"""

from functools import lru_cache
from math import comb

import numpy as np

from rpecli.language import UNIT, Language, closes, token_set
from rpecli.task import measured_chance

BRACKETS = "()[]"


class Shuffle(Language):
    title = "Shuffle-2"
    family = "formal languages"
    symbols = 4
    source = "On the Ability and Limitations of Transformers to Recognize Formal Languages, 2020, arXiv 2009.11264"
    expressible = {"": (True, True)}
    defaults = {"length": 48, "tokens": 4096, "steps": 2000}
    examples = (([0, 2, 1, 3], "> ( {( ) [}[ {( ) [ ]}) {( [ ]}] {. ( [}."), ([2, 3], "> [ {( [ ]}] {. ( [}."))

    def has_length(self, length: int) -> bool:
        return length > 0 and length % 2 == 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        pairs_B = np.searchsorted(_shares(length // 2), rng.integers(UNIT, size=batch), side="right")  # of round brackets
        left_2xB = np.stack([2 * pairs_B, length - 2 * pairs_B])
        open_2xB, row_B, x_NxB = np.zeros_like(left_2xB), np.arange(batch), np.empty((length, batch), dtype=np.int64)
        for place in range(length):
            kind_B = (rng.integers(length - place, size=batch) >= left_2xB[0]).astype(np.int64)
            closes_B = closes(rng, open_2xB[kind_B, row_B], left_2xB[kind_B, row_B])
            left_2xB[kind_B, row_B] -= 1
            open_2xB[kind_B, row_B] += 1 - 2 * closes_B
            x_NxB[place] = 2 * kind_B + closes_B
        return np.ascontiguousarray(x_NxB.T)

    def allowed(self, x_BxN: np.ndarray) -> np.ndarray:
        step_BxN = 1 - 2 * (x_BxN % 2)
        round_BxN, square_BxN = ((step_BxN * (x_BxN // 2 == kind)).cumsum(axis=1) > 0 for kind in range(2))
        sets = [[token_set([0, 2, *[1] * r, *[3] * s], end=not (r or s)) for s in range(2)] for r in range(2)]
        return np.array(sets)[round_BxN.astype(int), square_BxN.astype(int)]

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return BRACKETS[symbol]


@lru_cache(maxsize=256)
def _shares(pairs: int) -> np.ndarray:
    """The share of words with at most 0, 1, ... pairs of round brackets among those of a number of pairs, of UNIT."""
    catalan = [comb(2 * n, n) // (n + 1) for n in range(pairs + 1)]
    words = [comb(2 * pairs, 2 * n) * catalan[n] * catalan[pairs - n] for n in range(pairs + 1)]
    total, below, shares = sum(words), 0, []
    for count in words[:-1]:
        below += count
        shares.append(below * UNIT // total)
    return np.array(shares, dtype=np.int64)
