"""Add n digits modulo 10 (`modulus=0`: the whole sum).

Format       answer      > d1 + d2 + ... + dn | [sum] .
             scratchpad  > d1 + d2 + ... + dn | [c1 c2 ... cn] .          ci = d1 + ... + di modulo 10
             steps       > d1 + d2 + ... + dn | [d1 c1 d2 c2 ... dn cn] .
             a whole sum is written in decimal, most significant digit first, without leading zeros
Input law    the digits 1..9 are equally likely and independent
Chance       a little more than 1/10; sums of two digits that are whole begin alike
Why          a running sum: the order does not matter, but nothing may be missed; a scratchpad makes it local
"""

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer, prompt_answer_rows

PLUS = 10
FORMATS = {"answer": 0, "scratchpad": 1, "steps": 2}  # answer symbols per digit


class Summation(Task):
    title = "Summation"
    symbols = 11
    family = "state tracking"
    source = "The Impact of Positional Encoding on Length Generalization in Transformers, 2023, arXiv 2305.19466"
    variants = {
        "format=scratchpad": {"length": 8, "tokens": 2048, "steps": 2500, "lr": 4e-3, "curriculum": 0.5},
        "format=steps": {"length": 8, "curriculum": 0.0, "steps": 1000, "lr": 6e-3},
        "modulus=0": {"length": 8, "curriculum": 0.0, "steps": 2000, "lr": 6e-3},
    }
    defaults = {"length": 4, "curriculum": 0.5, "steps": 8000, "lr": 2e-3}
    examples = (([8, 1, 3], "> 8 + 1 + 3 | [2] ."), ([4], "> 4 | [4] ."))

    def __init__(self, *, modulus: int = 10, format: str = "answer"):
        if format not in FORMATS:
            raise ValueError(f"format is answer, scratchpad or steps, not {format!r}")
        if modulus not in (0, *range(2, 11)):
            raise ValueError(f"modulus={modulus}: digits allow 2 to 10, and 0 stands for none")
        if format != "answer" and not modulus:
            raise ValueError(f"format={format} is for sums modulo a number: modulus=0 has none")
        self.modulus, self.format, self.order_matters = modulus, format, format != "answer"

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(1, 10, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        prompt_BxP = np.full((len(x_BxN), 2 * x_BxN.shape[1] - 1), PLUS)
        prompt_BxP[:, ::2] = x_BxN
        if not self.modulus:
            sums = [[int(digit) for digit in str(number)] for number in x_BxN.sum(axis=1).tolist()]
            return prompt_answer_rows(prompt_BxP.tolist(), sums)
        running_BxN = x_BxN.cumsum(axis=1) % self.modulus
        if self.format == "answer":
            return prompt_answer(prompt_BxP, running_BxN[:, -1:])
        if self.format == "scratchpad":
            return prompt_answer(prompt_BxP, running_BxN)
        return prompt_answer(prompt_BxP, np.stack([x_BxN, running_BxN], axis=2).reshape(len(x_BxN), -1))

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 2 * length + 2 + (length * FORMATS[self.format] or len(str(9 * length)))

    def chance(self, length: int) -> float:
        if not self.modulus:
            return measured_chance(self, length)
        probability_M, guesses = np.eye(self.modulus)[0], []
        for _ in range(length):
            probability_M = sum(np.roll(probability_M, digit) for digit in range(1, 10)) / 9
            guesses.append(float(probability_M.max()))
        if self.format == "answer":
            return guesses[-1]
        running = sum(guesses) / length
        return running if self.format == "scratchpad" else (1 / 9 + running) / 2

    def word(self, symbol: int) -> str:
        return "+" if symbol == PLUS else str(symbol)
