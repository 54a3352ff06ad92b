"""Which brackets may come next in a balanced word, of several `kinds` or nested at most `depth` deep.

Format       > x1 {...}x2 ... {...}xn {...}.      before each token but the first, the set of those that may stand there
Input law    uniform over the words of the length, which is even; kinds=1 is Dyck-1, depth=n is the language D_n of one kind
Chance       the most frequent set at every place
Why          one kind needs a count of open brackets; several need to know which of them is the innermost, at any distance
"""

import numpy as np

from rpecli.language import Automaton, Language, closes, token_set

BRACKETS = ("()", "[]")  # further kinds are (3 )3, (4 )4, ...


class Dyck(Language):
    title = "Dyck"
    family = "formal languages"
    source = "On the Ability and Limitations of Transformers to Recognize Formal Languages, 2020, arXiv 2009.11264"
    variants = {"depth=12": {}, "depth=2": {}, "depth=3": {}, "depth=4": {}, "kinds=2": {"length": 24, "steps": 2400}}
    expressible = {
        "": (True, True),
        "depth=12": (True, True),
        "depth=2": (True, True),
        "depth=3": (True, True),
        "depth=4": (True, True),
    }
    defaults = {"length": 48, "tokens": 4096, "steps": 1000}
    examples = (([0, 1, 0, 1], "> ( {( )}) {. (}( {( )}) {. (}."), ([0, 0, 1, 1], "> ( {( )}( {( )}) {( )}) {. (}."))

    def __init__(self, *, depth: int = 0, kinds: int = 1):
        if not 0 <= depth <= 10_000:
            raise ValueError(f"depth is the greatest, at most 10,000, or 0 for any, not {depth}")
        if not 1 <= kinds <= 29:
            raise ValueError(f"kinds is 1 to 29, not {kinds}")
        self.depth, self.kinds, self.symbols = depth, kinds, 2 * kinds
        levels = [(level + 1 if level < depth else -1, level - 1) for level in range(depth + 1)]
        self.levels = Automaton(tuple(levels), frozenset({0}))  # the number of open brackets

    def has_length(self, length: int) -> bool:
        return length > 0 and length % 2 == 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        shape_BxN = self.levels.draw(rng, batch, length) if self.depth else _balanced(rng, batch, length)
        kind_BxN = rng.integers(self.kinds, size=(batch, length))
        inner_BxN = self._innermost(shape_BxN, kind_BxN)
        before_BxN = np.concatenate([inner_BxN[:, :1], inner_BxN[:, :-1]], axis=1)
        return 2 * np.where(shape_BxN == 0, kind_BxN, before_BxN) + shape_BxN

    def allowed(self, x_BxN: np.ndarray) -> np.ndarray:
        level_BxN = (1 - 2 * (x_BxN % 2)).cumsum(axis=1)
        opening = token_set([2 * kind for kind in range(self.kinds)], end=False)
        closing_K = np.array([token_set([2 * kind + 1], end=False) for kind in range(self.kinds)])
        opening_BxN = np.where((level_BxN < self.depth) | (self.depth == 0), opening, 0)
        closing_BxN = np.where(level_BxN > 0, closing_K[self._innermost(x_BxN % 2, x_BxN // 2)], token_set([], end=True))
        return opening_BxN | closing_BxN

    def _innermost(self, shape_BxN: np.ndarray, kind_BxN: np.ndarray) -> np.ndarray:
        """The kind of the innermost open bracket after each place; 0 where none is open."""
        if self.kinds == 1:
            return np.zeros_like(shape_BxN)
        batch, length = shape_BxN.shape
        level_BxN, row_B = (1 - 2 * shape_BxN).cumsum(axis=1), np.arange(batch)
        stack_BxL, inner_NxB = np.zeros((batch, level_BxN.max() + 1), dtype=np.int64), np.empty((length, batch), dtype=np.int64)
        for place in range(length):
            level_B = level_BxN[:, place]
            kind_B = np.where(shape_BxN[:, place] == 0, kind_BxN[:, place], stack_BxL[row_B, level_B])
            inner_NxB[place] = stack_BxL[row_B, level_B] = kind_B
        return inner_NxB.T

    def chance(self, length: int) -> float:
        if self.depth:
            outside, *between, deepest = self.levels.occupancy(length)
        else:
            outside, deepest = 3 / (length + 4), 0.0  # Dyck paths of length 2m return to 0 at 3m/(m+2) places on average
            between = [1 - outside]
        return max(outside, sum(between) / self.kinds, deepest / self.kinds)

    def word(self, symbol: int) -> str:
        kind, closes = divmod(symbol, 2)
        return BRACKETS[kind][closes] if kind < len(BRACKETS) else f"{'()'[closes]}{kind + 1}"


def _balanced(rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
    """Balanced words of one kind, 0 opens and 1 closes, uniformly."""
    x_NxB, level_B = np.empty((length, batch), dtype=np.int64), np.zeros(batch, dtype=np.int64)
    for place in range(length):
        x_NxB[place] = closes(rng, level_B, np.full(batch, length - place))
        level_B += 1 - 2 * x_NxB[place]
    return x_NxB.T
