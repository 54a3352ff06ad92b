"""Which symbols may come next in a Boolean expression in prefix notation, with operators of up to `arity` operands.

Format       > x1 {...}x2 ... {...}xn {...}.      op2 takes the next two expressions; 0 and 1 are complete ones
             before each token but the first, the set of those that may stand there: all symbols, or the end alone
Input law    uniform over the expressions of the length
Chance       all symbols at every place, right at all places but the last
Why          a sum over all symbols decides whether the expression is complete: operators open places, values fill them
"""

import numpy as np

from rpecli.language import Language, token_set

RATIO = {2: (7, 5), 3: (6, 7), 4: (5, 7), 5: (15, 23)}  # by arity: t = p / q at which symbols drawn by t^operands open as many
# places as they fill, so that most strings of them are nearly complete


class Boolean(Language):
    title = "Boolean"
    family = "formal languages"
    source = "On the Ability and Limitations of Transformers to Recognize Formal Languages, 2020, arXiv 2009.11264"
    variants = {"arity=5": {}}
    expressible = {"": (True, True), "arity=5": (True, True)}
    defaults = {"length": 48, "tokens": 4096, "steps": 1000}
    examples = (
        ([4, 1, 0, 0], "> op3 {0 1 op1 op2 op3}1 {0 1 op1 op2 op3}0 {0 1 op1 op2 op3}0 {.}."),
        ([2, 1], "> op1 {0 1 op1 op2 op3}1 {.}."),
    )

    def __init__(self, *, arity: int = 3):
        if arity not in RATIO:
            raise ValueError(f"arity is 2 to 5, not {arity}")
        self.arity, self.symbols = arity, arity + 2

    def has_length(self, length: int) -> bool:
        return length > 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Symbols that are drawn by t^operands and fill one place more than they open are uniform among such strings.

        Each has one rotation that is an expression: that which begins behind the first of the lowest sums.
        """
        x_BxN = np.empty((0, length), dtype=np.int64)
        while len(x_BxN) < batch:
            trials_KxN = self._symbols(rng, 8 * batch, length)
            x_BxN = np.concatenate([x_BxN, trials_KxN[self._opens(trials_KxN).sum(axis=1) == -1]])
        lowest_Bx1 = self._opens(x_BxN[:batch]).cumsum(axis=1).argmin(axis=1)[:, None]
        return np.take_along_axis(x_BxN[:batch], (lowest_Bx1 + 1 + np.arange(length)) % length, axis=1)

    def _symbols(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        p, q = RATIO[self.arity]
        weights = [p ** max(0, symbol - 1) * q ** (self.arity - max(0, symbol - 1)) for symbol in range(self.symbols)]
        share = np.cumsum(weights)
        return np.searchsorted(share, rng.integers(share[-1], size=(batch, length)), side="right")

    def _opens(self, x_BxN: np.ndarray) -> np.ndarray:
        """The places that each symbol opens, less the one that it fills."""
        return np.maximum(x_BxN - 1, 0) - 1

    def allowed(self, x_BxN: np.ndarray) -> np.ndarray:
        complete_BxN = self._opens(x_BxN).cumsum(axis=1) == -1
        return np.where(complete_BxN, token_set([], end=True), token_set(list(range(self.symbols)), end=False))

    def chance(self, length: int) -> float:
        return max(length - 1, 1) / length

    def word(self, symbol: int) -> str:
        return str(symbol) if symbol < 2 else f"op{symbol - 1}"
