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
    defaults = {"length": 40, "curriculum": 0.5, "tokens": 2048, "steps": 2000}
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
        sum_B, term_B = np.zeros(len(x_BxN), dtype=np.int64), x_BxN[:, 0]
        for operator_B, digit_B in zip(x_BxN[:, 1::2].T - self.modulus, x_BxN[:, 2::2].T, strict=True):
            times_B = operator_B == TIMES
            sum_B = np.where(times_B, sum_B, sum_B + term_B)
            term_B = np.where(times_B, term_B * digit_B, np.where(operator_B == MINUS, -digit_B, digit_B)) % self.modulus
        return prompt_answer(x_BxN, (sum_B + term_B)[:, None] % self.modulus)

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return str(symbol) if symbol < self.modulus else OPERATORS[symbol - self.modulus]
