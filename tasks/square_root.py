"""Write the whole part of the square root of a binary number, the most significant bit first.

Format       > b1 ... bn | [c1 ... cm] .      m = n / 2, rounded up; leading zeros are written
Input law    uniform over 1 .. 2^n - 1
Chance       a little more than 1/2: the first bit of the root is mostly 1
Level        context-sensitive
Why          every bit of the answer depends on all bits of at least its weight
"""

from math import isqrt

import numpy as np

from rpecli import bits
from rpecli.task import Batch, Task, measured_chance, prompt_answer


class SquareRoot(Task):
    title = "Square root"
    symbols = 2
    family = "arithmetic"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    defaults = {"length": 6, "min_length": 3, "curriculum": 0.3, "tokens": 2048, "steps": 2200}
    examples = (([1, 0, 0, 1, 0, 1], "> 1 0 0 1 0 1 | [1] [1] [0] ."), ([1, 1, 1], "> 1 1 1 | [1] [0] ."))

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        x_BxN = np.zeros((batch, length), dtype=np.int64)
        while (zero_B := ~x_BxN.any(axis=1)).any():
            x_BxN[zero_B] = rng.integers(2, size=(int(zero_B.sum()), length))
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        roots = [isqrt(number) for number in bits.numbers(x_BxN[:, ::-1])]
        return prompt_answer(x_BxN, bits.bits(roots, (x_BxN.shape[1] + 1) // 2)[:, ::-1])

    def chance(self, length: int) -> float:
        return measured_chance(self, length)
