"""Solve an equation of digits with brackets, + and - modulo 5 for the one x in it.

Format       > expression = value | [x] .      n symbols; the expression is n - 2 of them
Input law    an expression as in modular-arithmetic-brackets without *, then one digit becomes x: the first at or after a
             uniform random place
Chance       1/5
Level        deterministic context-free
Why          every other digit has to be carried over to the other side of the equation; there are no problems below length 3
"""

import numpy as np

from rpecli import brackets
from rpecli.task import Batch, Task, prompt_answer


class SolveEquation(Task):
    title = "Solve equation"
    family = "nested structure"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    defaults = {"length": 9, "min_length": 3, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3}
    examples = (([8, 1, 6, 10, 9, 11, 0], "> ( 1 - x ) = 0 | [1] ."), ([6, 10, 11, 1], "> - x = 1 | [4] ."))

    def __init__(self, *, modulus: int = 5):
        if not 2 <= modulus <= 10:
            raise ValueError(f"modulus={modulus}: digits allow 2 to 10")
        self.modulus = modulus
        self.unknown, self.equals = modulus + len(brackets.SIGNS), modulus + len(brackets.SIGNS) + 1
        self.symbols = self.equals + 1

    def has_length(self, length: int) -> bool:
        return length >= 3

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        expression_BxN = brackets.draw(rng, batch, length - 2, self.modulus, 2)
        values = [brackets.value(row, self.modulus) for row in expression_BxN.tolist()]
        start_Bx1, place_N = rng.integers(length - 2, size=(batch, 1)), np.arange(length - 2)
        steps_BxN = np.where(expression_BxN < self.modulus, (place_N - start_Bx1) % (length - 2), length)
        expression_BxN[np.arange(batch), steps_BxN.argmin(axis=1)] = self.unknown
        return np.concatenate([expression_BxN, np.full((batch, 1), self.equals), np.array(values)[:, None]], axis=1)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """The left side is at + b with t = 1 or -1: its values for x = 0 and x = 1 give both."""
        zero_B, one_B = (self._left_side(x_BxN, guess) for guess in (0, 1))
        return prompt_answer(x_BxN, ((x_BxN[:, -1] - zero_B) * (one_B - zero_B) % self.modulus)[:, None])

    def _left_side(self, x_BxN: np.ndarray, guess: int) -> np.ndarray:
        expression_BxN = np.where(x_BxN == self.unknown, guess, x_BxN)[:, :-2]
        return np.array([brackets.value(row, self.modulus) for row in expression_BxN.tolist()])

    def chance(self, length: int) -> float:
        return 1 / self.modulus

    def word(self, symbol: int) -> str:
        return {self.unknown: "x", self.equals: "="}.get(symbol) or brackets.word(symbol, self.modulus)
