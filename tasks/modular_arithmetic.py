"""Evaluate an expression of digits with +, - and * modulo 5, where * binds tighter.

Format       > d1 o1 d2 o2 ... dk | [value] .      n symbols; an even n is cut to n - 1
Input law    the digits 0..4 and the three operators are equally likely and independent
Chance       a little more than 1/5: a product with a zero is zero
Level        regular
Why          a finite automaton keeps the sum and the present product modulo 5; a transformer has to find a shortcut
"""

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer

OPERATORS = "+-*"
PLUS, MINUS, TIMES = range(3)  # added to the modulus


class ModularArithmetic(Task):
    title = "Modular arithmetic"
    family = "state tracking"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    defaults = {"length": 5, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3}
    examples = (([1, 5, 2, 7, 3], "> 1 + 2 * 3 | [2] ."), ([1, 6, 1, 6, 1], "> 1 - 1 - 1 | [4] ."))

    def __init__(self, *, modulus: int = 5):
        if not 2 <= modulus <= 10:
            raise ValueError(f"modulus={modulus}: digits allow 2 to 10")
        self.modulus, self.symbols = modulus, modulus + len(OPERATORS)

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        n = length - (length + 1) % 2
        x_BxN = rng.integers(self.modulus, size=(batch, n))
        x_BxN[:, 1::2] = rng.integers(self.modulus, self.symbols, size=(batch, n // 2))
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        digits_BxK, operators_BxK = x_BxN[:, ::2], x_BxN[:, 1::2] - self.modulus
        first_Bx1 = np.zeros((len(x_BxN), 1), dtype=bool)
        factor_BxK = np.concatenate([first_Bx1, operators_BxK == TIMES], axis=1)  # whether a digit multiplies the one before
        negative_BxK = np.concatenate([first_Bx1, operators_BxK == MINUS], axis=1)
        product_BxK = self._products(np.where(negative_BxK, -digits_BxK, digits_BxK), factor_BxK)
        ends_term_BxK = np.concatenate([~factor_BxK[:, 1:], ~first_Bx1], axis=1)
        return prompt_answer(x_BxN, (product_BxK * ends_term_BxK).sum(axis=1, keepdims=True) % self.modulus)

    def _products(self, product_BxK: np.ndarray, linked_BxK: np.ndarray) -> np.ndarray:
        """Of every factor with those before it in its term, in steps that double: a place is done when it is not linked."""
        step = 1
        while linked_BxK.any():
            before_BxK, before_linked_BxK = (np.roll(array, step, axis=1) for array in (product_BxK, linked_BxK))
            product_BxK = np.where(linked_BxK, product_BxK * before_BxK % self.modulus, product_BxK)
            linked_BxK, step = linked_BxK & before_linked_BxK, 2 * step
        return product_BxK

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return str(symbol) if symbol < self.modulus else OPERATORS[symbol - self.modulus]
