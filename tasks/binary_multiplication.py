"""Multiply two binary numbers, the least significant bit first, whose lengths differ.

Format       > a1 ... ak * b1 ... bm | [c1 ... cj end 0 ... 0] .      n = k + 1 + m; the product without leading zeros, then end
             and zeros up to n symbols (`padded=false`: [c1 ... cj end] ., as the paper counts its accuracy)
Input law    k uniform on 1..n-2; each number uniform over those of its length but zero, leading zeros allowed
Chance       about 1/2 per symbol; the zeros behind `end` are known
Level        context-sensitive
Why          every bit of the answer depends on many pairs of bits: no encoding is known to make it general in length
"""

import numpy as np

from rpecli import bits
from rpecli.task import Batch, Task, measured_chance, prompt_answer

TIMES, STOP = 2, 3
WORDS = ["0", "1", "*", "end"]


class BinaryMultiplication(Task):
    title = "Binary multiplication"
    symbols = 4
    family = "arithmetic"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    variants = {"padded=false": {}}
    defaults = {"length": 40, "min_length": 3, "curriculum": 0.5, "tokens": 2048, "steps": 3000}
    examples = (
        ([0, 0, 1, 2, 0, 1, 1, 0, 1], "> 0 0 1 * 0 1 1 0 1 | [0] [0] [0] [1] [1] [0] [1] [end] [0] ."),
        ([1, 2, 1], "> 1 * 1 | [1] [end] [0] ."),
    )

    def __init__(self, *, padded: bool = True):
        self.padded = padded

    def has_length(self, length: int) -> bool:
        return length >= 3

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return bits.draw_operands(rng, batch, length, TIMES)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        products, length = [a * b for a, b in bits.operands(x_BxN, TIMES)], x_BxN.shape[1]
        n_bits_B = np.array([number.bit_length() for number in products])
        answer_BxA = bits.bits(products, length)
        answer_BxA[np.arange(len(products)), n_bits_B] = STOP
        return prompt_answer(x_BxN, answer_BxA, None if self.padded else n_bits_B + 1)

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 2 * length + 3

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return WORDS[symbol]
