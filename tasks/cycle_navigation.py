"""Walk on a cycle of five places, one step back, none or one forth at a time, and say where the walk ends.

Format       > m1 ... mn | [p] .      every m is -1, +0 or +1; the walk begins at place 0
Input law    the three moves are equally likely and independent
Chance       1/5 for long walks; a short walk ends near its beginning
Level        regular
Why          a running sum modulo 5: the order of the moves does not matter, but no move may be missed
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer

MOVES = ["-1", "+0", "+1"]


class CycleNavigation(Task):
    title = "Cycle navigation"
    family = "state tracking"
    order_matters = False
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    defaults = {"length": 40, "curriculum": 0.5, "tokens": 2048, "steps": 2000}
    examples = (([2, 2, 0, 1], "> +1 +1 -1 +0 | [1] ."), ([0], "> -1 | [4] ."))

    def __init__(self, *, places: int = 5):
        if places < 2:
            raise ValueError(f"places={places}: a cycle has at least two")
        self.places, self.symbols = places, places + len(MOVES)

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(len(MOVES), size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """`x_BxN` holds 0, 1, 2 for the moves -1, 0, +1."""
        place_Bx1 = (x_BxN - 1).sum(axis=1, keepdims=True) % self.places
        return prompt_answer(x_BxN + self.places, place_Bx1)

    def chance(self, length: int) -> float:
        probability_P = np.eye(self.places)[0]
        for _ in range(length):
            probability_P = (np.roll(probability_P, -1) + probability_P + np.roll(probability_P, 1)) / 3
        return float(probability_P.max())

    def word(self, symbol: int) -> str:
        return str(symbol) if symbol < self.places else MOVES[symbol - self.places]
