"""Name the symbol a fixed number of places back: once, at the end (`format=last`), or all along the string (`running`).

Format       last       > x1 ... xn | [xn-k+1] .                      the symbol k places before the separator
             running    > x1 ... xk xk+1 [x1] xk+2 [x2] ... xn [xn-k]      no end token, since the input ends it
Input law    symbols are uniform and independent
Chance       1 / symbols
Why          position alone finds the source, always at one distance: what a relative encoding has built in
"""

import numpy as np

from rpecli.task import Batch, Task, interleaved, prompt_answer


class OffsetRetrieval(Task):
    title = "Fixed-offset retrieval"
    family = "retrieval"
    variants = {"format=running": {}, "k=16": {"min_length": 16}}
    defaults = {"length": 48, "min_length": 5, "curriculum": 0.5, "tokens": 2048, "steps": 1500}
    examples = (([5, 11, 2, 7, 3, 0], "> 5 11 2 7 3 0 | [2] ."), ([1, 2, 3, 4, 5], "> 1 2 3 4 5 | [2] ."))

    def __init__(self, *, format: str = "last", k: int = 4, symbols: int = 16):
        if format not in ("last", "running"):
            raise ValueError(f"format is last or running, not {format!r}")
        if k < 1:
            raise ValueError(f"k is at least 1, not {k}")
        self.format, self.k, self.symbols = format, k, symbols

    def has_length(self, length: int) -> bool:
        return length >= self.k + (self.format == "running")

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        if self.format == "last":
            return prompt_answer(x_BxN, x_BxN[:, -self.k, None])
        return interleaved(x_BxN, x_BxN[:, : -self.k])

    def chance(self, length: int) -> float:
        return 1 / self.symbols
