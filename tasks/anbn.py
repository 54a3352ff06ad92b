"""Which letters may come next in blocks of equal length: a...ab...b, or with more `letters` a...ab...bc...c.

Format       > a {...}a ... {...}b {...}b {...}.      before each token but the first, the set of those that may stand there
Input law    there is one word of a length, a multiple of the number of letters; it is evaluated once
Chance       the most frequent set at every place
Why          the end of the second and every later block needs a count of the letters before
"""

import numpy as np

from rpecli.language import Language, token_set
from rpecli.task import Batch


class Anbn(Language):
    title = "a^n b^n"
    family = "formal languages"
    source = "On the Ability and Limitations of Transformers to Recognize Formal Languages, 2020, arXiv 2009.11264"
    variants = {"letters=3": {}, "letters=4": {}}
    expressible = {"": (True, True), "letters=3": (True, True), "letters=4": (True, True)}
    defaults = {"length": 48, "tokens": 4096, "steps": 1000}
    examples = (([0, 0, 1, 1], "> a {a b}a {a b}b {b}b {.}."), ([0, 1], "> a {a b}b {.}."))

    def __init__(self, *, letters: int = 2):
        if not 2 <= letters <= 26:
            raise ValueError(f"letters is 2 to 26, not {letters}")
        self.letters = self.symbols = letters

    def has_length(self, length: int) -> bool:
        return length > 0 and length % self.letters == 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return np.tile(np.repeat(np.arange(self.letters), length // self.letters), (batch, 1))

    def fixed_set(self, length: int, sequences: int) -> Batch | None:
        return self.sample(np.random.default_rng(0), 1, length)

    def allowed(self, x_BxN: np.ndarray) -> np.ndarray:
        n = x_BxN.shape[1] // self.letters
        within = [token_set([letter], end=False) for letter in range(self.letters)]
        behind = [*within[1:], token_set([], end=True)]  # after the last of a block
        sets_N = np.where(np.arange(1, x_BxN.shape[1] + 1) % n > 0, np.repeat(within, n), np.repeat(behind, n))
        sets_N[:n] = within[0] | within[1]
        return np.broadcast_to(sets_N, x_BxN.shape)

    def chance(self, length: int) -> float:
        return 1 / self.letters

    def word(self, symbol: int) -> str:
        return chr(ord("a") + symbol)
