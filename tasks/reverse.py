"""Reverse a string of random symbols; once, twice, or with the string as it is behind it.

Format       once   > x1 ... xn | [xn ... x1] .
             twice  > x1 ... xn | [xn ... x1 ; xn ... x1] .
             both   > x1 ... xn | [xn ... x1 ; x1 ... xn] .
Input law    every symbol is uniform over the vocabulary and independent
Chance       1 / symbols per token; the separator, if there is one, is known
Level        deterministic context-free (once, with two symbols: the form of Deletang et al.)
Why          the distance from an answer token to its source grows by two with every token, so no fixed distance is enough
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Reverse(Task):
    title = "Reverse"
    family = "copying"
    source = "The Impact of Positional Encoding on Length Generalization in Transformers, 2023, arXiv 2305.19466"
    variants = {
        "format=both:symbols=100": {"length": 16, "steps": 5000},
        "format=twice:symbols=100": {"length": 16, "steps": 3000},
        "symbols=100": {"length": 16, "steps": 2000},
        "symbols=2": {"length": 12, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3},
    }
    defaults = {"length": 16, "steps": 1200}
    examples = (([3, 1, 2], "> 3 1 2 | [2] [1] [3] ."), ([7], "> 7 | [7] ."))

    def __init__(self, *, symbols: int = 16, format: str = "once"):
        if format not in ("once", "twice", "both"):
            raise ValueError(f"format is once, twice or both, not {format!r}")
        self.ordinary, self.format = symbols, format
        self.symbols = symbols + (format != "once")

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.ordinary, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        reversed_BxN, separator_Bx1 = x_BxN[:, ::-1], np.full((len(x_BxN), 1), self.ordinary)
        if self.format == "once":
            return prompt_answer(x_BxN, reversed_BxN)
        second_BxN = reversed_BxN if self.format == "twice" else x_BxN
        return prompt_answer(x_BxN, np.concatenate([reversed_BxN, separator_Bx1, second_BxN], axis=1))

    def chance(self, length: int) -> float:
        if self.format == "once":
            return 1 / self.ordinary
        return (2 * length / self.ordinary + 1) / (2 * length + 1)

    def word(self, symbol: int) -> str:
        return ";" if symbol == self.ordinary else str(symbol)
