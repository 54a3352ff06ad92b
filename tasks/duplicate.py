"""Write a string of random symbols twice.

Format       > x1 ... xn | [x1 ... xn x1 ... xn] .      (`separator=true`: [x1 ... xn ; x1 ... xn] .)
Input law    every symbol is uniform over the vocabulary and independent
Chance       1 / symbols per token; the separator, if there is one, is known
Level        context-sensitive
Why          behind the first copy every symbol has two sources, at distances n and 2 n; with two symbols, matching the last few
             symbols finds many wrong places
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Duplicate(Task):
    title = "Duplicate"
    family = "copying"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    variants = {"separator=true:symbols=100": {"length": 20, "steps": 3000, "lr": 6e-3}}
    defaults = {"length": 12, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3}
    examples = (([1, 0, 0], "> 1 0 0 | [1] [0] [0] [1] [0] [0] ."), ([1], "> 1 | [1] [1] ."))

    def __init__(self, *, symbols: int = 2, separator: bool = False):
        self.ordinary, self.separator = symbols, separator
        self.symbols = symbols + separator

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.ordinary, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        between_Bx = np.full((len(x_BxN), int(self.separator)), self.ordinary)
        return prompt_answer(x_BxN, np.concatenate([x_BxN, between_Bx, x_BxN], axis=1))

    def chance(self, length: int) -> float:
        return (2 * length / self.ordinary + self.separator) / (2 * length + self.separator)

    def word(self, symbol: int) -> str:
        return ";" if symbol == self.ordinary else str(symbol)
