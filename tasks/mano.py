"""Evaluate an arithmetic expression in prefix notation, modulo 23 (Mano).

Format       > * - 3 14 5 | [14] .      n operators and n+1 numbers
Input law    operators +, -, * are uniform, and so is the number of them in the first operand of each, from none to all that are
             left; numbers are uniform
Chance       about 1/23; more for long expressions, since products make 0 likelier
Why          a tree without brackets: every operator has to find its two operands, which are as long as they are
"""

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer

OPERATORS = "+-*"


class Mano(Task):
    title = "Mano"
    family = "arithmetic"
    source = "Physics of Language Models: Part 4.1, Architecture Design and the Magic of Canon Layers, 2025, arXiv 2512.17351"
    defaults = {"length": 4, "curriculum": 0.5, "tokens": 2048, "steps": 4000}
    examples = (([25, 24, 3, 14, 5], "> * - 3 14 5 | [14] ."), ([23, 20, 4], "> + 20 4 | [1] ."))

    def __init__(self, *, modulus: int = 23):
        if modulus < 2:
            raise ValueError(f"modulus is at least 2, not {modulus}")
        self.modulus, self.symbols = modulus, modulus + len(OPERATORS)

    def has_length(self, length: int) -> bool:
        return length > 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """From left to right, with the sizes of the operands that are still to come on a stack."""
        rows = np.arange(batch)
        size_BxD, depth_B = np.zeros((batch, length + 2), dtype=np.int64), np.zeros(batch, dtype=np.int64)
        size_BxD[:, 0] = length
        x_BxN = np.empty((batch, 2 * length + 1), dtype=np.int64)
        for place in range(2 * length + 1):
            size_B = size_BxD[rows, depth_B]
            first_B = rng.integers(np.maximum(size_B, 1))
            is_number_B = size_B == 0
            operator_B = rng.integers(self.modulus, self.symbols, size=batch)
            x_BxN[:, place] = np.where(is_number_B, rng.integers(self.modulus, size=batch), operator_B)
            size_BxD[rows, depth_B] = size_B - 1 - first_B  # the second operand, below the first
            depth_B += np.where(is_number_B, -1, 1)
            size_BxD[rows[~is_number_B], depth_B[~is_number_B]] = first_B[~is_number_B]
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """From right to left, with the values of operands on a stack."""
        batch, n = x_BxN.shape
        rows = np.arange(batch)
        value_BxD, depth_B = np.zeros((batch, n + 2), dtype=np.int64), np.zeros(batch, dtype=np.int64)
        for place in range(n - 1, -1, -1):
            symbol_B = x_BxN[:, place]
            is_number_B = symbol_B < self.modulus
            a_B, b_B = value_BxD[rows, depth_B - 1], value_BxD[rows, depth_B - 2]
            results = [symbol_B, a_B + b_B, a_B - b_B, a_B * b_B]
            result_B = np.choose(np.where(is_number_B, 0, symbol_B - self.modulus + 1), results) % self.modulus
            depth_B += np.where(is_number_B, 1, -1)
            value_BxD[rows, depth_B - 1] = result_B
        return prompt_answer(x_BxN, value_BxD[:, :1])

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return str(symbol) if symbol < self.modulus else OPERATORS[symbol - self.modulus]
