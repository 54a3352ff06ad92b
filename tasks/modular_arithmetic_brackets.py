"""Evaluate an expression of digits with brackets, +, - and * modulo 5.

Format       > expression | [value] .      n symbols
Input law    n >= 5: (left o right), the length of left uniform on 1..n-4; shorter: d, -d, (d), (-d); all digits and operators
             equally likely (`mult=false`: only + and -)
Chance       a little more than 1/5: a product with a zero is zero
Level        deterministic context-free
Why          a stack machine reads it once; the depth of the brackets grows with the length
"""

import numpy as np

from rpecli import brackets
from rpecli.task import Batch, Task, measured_chance, prompt_answer


class ModularArithmeticBrackets(Task):
    title = "Modular arithmetic with brackets"
    family = "nested structure"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    defaults = {"length": 7, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3}
    examples = (([8, 2, 7, 8, 6, 4, 9, 9], "> ( 2 * ( - 4 ) ) | [2] ."), ([8, 0, 6, 3, 9], "> ( 0 - 3 ) | [2] ."))

    def __init__(self, *, modulus: int = 5, mult: bool = True):
        if not 2 <= modulus <= 10:
            raise ValueError(f"modulus={modulus}: digits allow 2 to 10")
        self.modulus, self.mult, self.symbols = modulus, mult, modulus + len(brackets.SIGNS)

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return brackets.draw(rng, batch, length, self.modulus, 3 if self.mult else 2)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        values = [brackets.value(row, self.modulus) for row in x_BxN.tolist()]
        return prompt_answer(x_BxN, np.array(values)[:, None])

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return brackets.word(symbol, self.modulus)
