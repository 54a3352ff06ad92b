"""Read a string to its last symbol, the same in all strings, and write the whole string from there (auto-encoding).

Format       > x1 ... xn-1 c | [x1 ... xn-1 c] .      n symbols, of which c is the last
Input law    every symbol before c is uniform and independent
Chance       1 / number of symbols for each but c, which is known
Why          the data of a published test of compression. There another network writes the string from the state of c alone; a
             language model may look back at the string, so that this is copying, with a cue where to begin: compare with copy
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Compression(Task):
    title = "Compression"
    family = "copying"
    source = "Mechanistic Design and Scaling of Hybrid Architectures, 2024, arXiv 2403.17844"
    defaults = {"length": 32, "min_length": 2, "curriculum": 0.5, "tokens": 2048, "steps": 3000}
    examples = (([3, 0, 11], "> 3 0 11 c | [3] [0] [11] [c] ."), ([5], "> 5 c | [5] [c] ."))

    def __init__(self, *, symbols: int = 16):
        if symbols < 3:
            raise ValueError(f"symbols, of which one is the last of every string, is at least 3, not {symbols}")
        self.symbols = symbols

    def has_length(self, length: int) -> bool:
        return length >= 2

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.symbols - 1, size=(batch, length - 1))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        x_BxN = np.concatenate([x_BxN, np.full((len(x_BxN), 1), self.symbols - 1)], axis=1)
        return prompt_answer(x_BxN, x_BxN)

    def chance(self, length: int) -> float:
        return ((length - 1) / (self.symbols - 1) + 1) / length

    def word(self, symbol: int) -> str:
        return "c" if symbol == self.symbols - 1 else str(symbol)
