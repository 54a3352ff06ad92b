"""Copy the symbols of a string that are not blanks.

Format       > x x 8 x 2 x x 5 | [8 2 5] .      length n = symbols and blanks before the separator, the mark of it, and the copies
Input law    symbols are uniform and independent; every blank x stands before a symbol that is uniform over them all, none after
             the last; the number of symbols is the option `copies`, so longer strings hold more blanks
Chance       1 / number of symbols
Why          the reach varies with the blanks in between, so that no fixed distance helps: content has to choose the source
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class SelectiveCopy(Task):
    title = "Selective copying"
    family = "copying"
    source = "Mechanistic Design and Scaling of Hybrid Architectures, 2024, arXiv 2403.17844"
    variants = {"copies=16": {"length": 256, "min_length": 34, "tokens": 4096, "steps": 2400}}
    defaults = {"length": 64, "min_length": 10, "curriculum": 0.5, "tokens": 2048, "steps": 3000}
    examples = (
        ([14, 3, 14, 14, 9, 0, 14, 13], "> x 3 x x 9 0 x 13 | [3] [9] [0] [13] ."),
        ([1, 1, 2, 14, 3], "> 1 1 2 x 3 | [1] [1] [2] [3] ."),
    )

    def __init__(self, *, copies: int = 4, symbols: int = 15):
        if copies < 1:
            raise ValueError(f"copies is at least 1, not {copies}")
        if symbols < 2:
            raise ValueError(f"symbols, of which one is the blank, is at least 2, not {symbols}")
        self.copies, self.symbols, self.blank = copies, symbols, symbols - 1

    def has_length(self, length: int) -> bool:
        return length > 2 * self.copies + 1

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        before_BxM = rng.integers(
            self.copies, size=(batch, length - 2 * self.copies - 1)
        )  # the symbol that a blank stands before
        n_before_BxC = (before_BxM[:, :, None] <= np.arange(self.copies)).sum(axis=1)
        x_BxN = np.full((batch, length - self.copies - 1), self.blank)
        symbol_BxC = rng.integers(self.blank, size=(batch, self.copies))
        np.put_along_axis(x_BxN, n_before_BxC + np.arange(self.copies), symbol_BxC, axis=1)
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, x_BxN[x_BxN != self.blank].reshape(len(x_BxN), -1))

    def chance(self, length: int) -> float:
        return 1 / self.blank

    def word(self, symbol: int) -> str:
        return "x" if symbol == self.blank else str(symbol)
