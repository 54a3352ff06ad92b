"""Name the symbol at the place, counted from the end, that the last number in the string tells.

Format       > m5 #8 m1 #3 m2 m7 | [#3] .      #1 is the last symbol, #2 the one before it; only the last number counts
Input law    symbols are uniform and independent over numbers and others; a string without a number, or whose last number is
             greater than its length, is drawn again
Chance       about 1 / symbols; more in short strings
Why          content names a relative position: the clearest case for relative encodings, while absolute ones have to subtract
"""

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer


class RelativeAddress(Task):
    title = "Relative addressing"
    family = "retrieval"
    source = "github.com/Fluffel/length_generalization at f941723"
    defaults = {"length": 50, "curriculum": 0.5, "tokens": 2048, "steps": 3000}
    examples = (
        ([21, 7, 17, 2, 18, 23], "> m5 #8 m1 #3 m2 m7 | [#3] ."),
        ([31, 3, 16, 20], "> m15 #4 m0 m4 | [m15] ."),
    )

    def __init__(self, *, numbers: int = 16, others: int = 16):
        if numbers < 1 or others < 0:
            raise ValueError(f"numbers={numbers}:others={others}: at least one number and no fewer than zero others are needed")
        self.numbers, self.symbols = numbers, numbers + others

    def has_length(self, length: int) -> bool:
        return length > 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        x_BxN = rng.integers(self.symbols, size=(batch, length))
        while len(again := np.flatnonzero(self._last_number(x_BxN) >= length)):
            x_BxN[again] = rng.integers(self.symbols, size=(len(again), length))
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        place_B = x_BxN.shape[1] - 1 - self._last_number(x_BxN)
        return prompt_answer(x_BxN, x_BxN[np.arange(len(x_BxN)), place_B][:, None])

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return f"#{symbol + 1}" if symbol < self.numbers else f"m{symbol - self.numbers}"

    def _last_number(self, x_BxN: np.ndarray) -> np.ndarray:
        """The last number of every string, counted from 0; the length where there is none."""
        n = x_BxN.shape[1]
        is_number_BxN = x_BxN < self.numbers
        last_B = n - 1 - is_number_BxN[:, ::-1].argmax(axis=1)
        return np.where(is_number_BxN.any(axis=1), x_BxN[np.arange(len(x_BxN)), last_B], n)
