"""Sort symbols with a scratchpad: at each step the smallest symbol that is left and the rest, then the sorted list.

Format       > x1 ... xn | [m1 : rest ; m2 : rest ; ... ; mn : = m1 ... mn] .
             the smallest changes places with the first of what is left, which is then left out: 3 1 2 gives 1 : 3 2 ; 2 : 3 ; 3 :
Input law    every symbol is uniform and independent
Chance       measured; the marks : ; = stand where the length puts them
Why          every step is one search and one copy, but the scratchpad grows with the square of the length
"""

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer


class SelectionSort(Task):
    title = "Selection sort"
    family = "ordering"
    source = "The Impact of Positional Encoding on Length Generalization in Transformers, 2023, arXiv 2305.19466"
    defaults = {"length": 8, "curriculum": 0.5, "tokens": 2048, "steps": 3000}
    examples = (
        ([3, 1, 2], "> 3 1 2 | [1] [:] [3] [2] [;] [2] [:] [3] [;] [3] [:] [=] [1] [2] [3] ."),
        ([7], "> 7 | [7] [:] [=] [7] ."),
    )

    def __init__(self, *, symbols: int = 50):
        self.colon, self.semicolon, self.equals = symbols, symbols + 1, symbols + 2
        self.symbols = symbols + 3

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.colon, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        rest_BxN, parts = x_BxN.copy(), []
        row_B, mark_Bx1 = np.arange(len(x_BxN)), np.ones((len(x_BxN), 1), dtype=np.int64)
        while rest_BxN.shape[1]:
            smallest_B = rest_BxN.argmin(axis=1)
            minimum_Bx1 = rest_BxN[row_B, smallest_B][:, None]
            rest_BxN[row_B, smallest_B] = rest_BxN[:, 0]
            rest_BxN = rest_BxN[:, 1:]
            parts += [minimum_Bx1, self.colon * mark_Bx1, rest_BxN.copy(), self.semicolon * mark_Bx1]
        parts[-1] = self.equals * mark_Bx1
        return prompt_answer(x_BxN, np.concatenate([*parts, np.sort(x_BxN, axis=1)], axis=1))

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return str(symbol) if symbol < self.colon else ":;="[symbol - self.colon]
