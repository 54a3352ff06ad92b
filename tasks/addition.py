"""Add two numbers of n digits, written from the least significant digit (`reverse=false`: from the most significant).

Format       > a1 ... an + b1 ... bn | [c1 ... cn+1] .
Input law    every digit of both operands is uniform on 0..9 and independent; leading zeros are written
Chance       about 1/10 per token; the last digit is a carry, 0 or 1, and a guess of it is right about half of the time
Why          a digit of the answer needs two digits far apart and a carry; with `positions: coupled` the three share an id
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer

PLUS = 10  # the symbol after the ten digits


class Addition(Task):
    title = "Addition"
    symbols = 11
    family = "arithmetic"
    defaults = {"length": 8, "steps": 2000}
    examples = (([5, 1, 7, 0], "> 5 1 + 7 0 | [2] [2] [0] ."), ([9, 9], "> 9 + 9 | [8] [1] ."))

    def __init__(self, *, reverse: bool = True):
        self.reverse = reverse

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(10, size=(batch, 2 * length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """`x_BxN` holds the digits of a, then of b, least significant first."""
        a_BxN, b_BxN = np.split(x_BxN, 2, axis=1)
        sum_BxA = self._add(a_BxN, b_BxN)
        order = slice(None) if self.reverse else slice(None, None, -1)
        plus_Bx1 = np.full((len(x_BxN), 1), PLUS)
        return prompt_answer(np.concatenate([a_BxN[:, order], plus_Bx1, b_BxN[:, order]], axis=1), sum_BxA[:, order])

    def _add(self, a_BxN: np.ndarray, b_BxN: np.ndarray) -> np.ndarray:
        digits, carry_B = [], np.zeros(len(a_BxN), dtype=np.int64)
        for a_B, b_B in zip(a_BxN.T, b_BxN.T, strict=True):
            total_B = a_B + b_B + carry_B
            digits.append(total_B % 10)
            carry_B = total_B // 10
        return np.stack([*digits, carry_B], axis=1)

    def coupled(self, batch: Batch) -> np.ndarray:
        """Digits of the same significance share an id (the least has 1); + and the separator of a reversed sum have 0.

        Cho et al. 2024, "Position Coupling", arXiv 2405.20671.
        """
        length = (batch.tokens_BxT.shape[1] - 5) // 3
        operand, answer = np.arange(1, length + 1), np.arange(1, length + 2)
        order, separator = (slice(None), 0) if self.reverse else (slice(None, None, -1), length + 2)
        ids_T = np.concatenate([[0], operand[order], [0], operand[order], [separator], answer[order], [length + 2]])
        return np.broadcast_to(ids_T, batch.tokens_BxT.shape)

    def chance(self, length: int) -> float:
        carry = 0.0  # probability of a carry out of a place
        for _ in range(length):
            carry = 0.45 + 0.1 * carry
        return (0.1 * length + max(carry, 1 - carry)) / (length + 1)

    def word(self, symbol: int) -> str:
        return "+" if symbol == PLUS else str(symbol)
