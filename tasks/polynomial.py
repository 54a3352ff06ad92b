"""Evaluate a sum of n terms c * x ** d at a small x, modulo 10.

Format       answer      > x = x0 : c1 * x ** d1 + ... + cn * x ** dn | [value] .
             scratchpad  ... | [s1 s2 ... sn] .              si: the first i terms, modulo 10
             steps       ... | [t1 s1 t2 s2 ... tn sn] .     ti: term i, modulo 10
             a number is one token: -3 .. 3 and the digits of the answer
Input law    x0 uniform on -2..2, coefficients on -3..3, degrees on 0..3, all independent
Chance       above 1/10: a sum of few terms is often 0, and at x = 0 only the terms of degree 0 count
Why          every term needs the x at the beginning, so the distance to it grows with the number of terms
"""

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer

WORDS = [*"0123456789", "-3", "-2", "-1", "x", "=", ":", "*", "**", "+"]
X, EQUALS, COLON, TIMES, POWER, PLUS = range(13, 19)


class Polynomial(Task):
    title = "Polynomial"
    symbols = len(WORDS)
    family = "arithmetic"
    source = "The Impact of Positional Encoding on Length Generalization in Transformers, 2023, arXiv 2305.19466"
    variants = {"format=scratchpad": {"length": 3}, "format=steps": {"length": 8, "curriculum": 0.0, "steps": 3000, "lr": 6e-3}}
    defaults = {"length": 2, "curriculum": 0.5, "steps": 8000, "lr": 2e-3}
    examples = (
        ([-1, -2, 2, 3, 3], "> x = -1 : -2 * x ** 2 + 3 * x ** 3 | [5] ."),
        ([2, 3, 0], "> x = 2 : 3 * x ** 0 | [3] ."),
    )

    def __init__(self, *, format: str = "answer"):
        if format not in ("answer", "scratchpad", "steps"):
            raise ValueError(f"format is answer, scratchpad or steps, not {format!r}")
        self.format = format

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """The x0, then coefficient and degree of every term."""
        x_BxN = np.empty((batch, 1 + 2 * length), dtype=np.int64)
        x_BxN[:, 1::2] = rng.integers(-3, 4, size=(batch, length))
        x_BxN[:, 2::2] = rng.integers(4, size=(batch, length))
        x_BxN[:, 0] = rng.integers(-2, 3, size=batch)
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        at_Bx1, coefficient_BxN, degree_BxN = x_BxN[:, :1], x_BxN[:, 1::2], x_BxN[:, 2::2]
        batch, length = degree_BxN.shape
        terms_BxNx6 = np.empty((batch, length, 6), dtype=np.int64)
        terms_BxNx6[:] = [PLUS, 0, TIMES, X, POWER, 0]
        terms_BxNx6[:, :, 1], terms_BxNx6[:, :, 5] = _number(coefficient_BxN), degree_BxN
        head_Bx4 = np.full((batch, 4), COLON)
        head_Bx4[:, :2], head_Bx4[:, 2:3] = [X, EQUALS], _number(at_Bx1)
        prompt_BxP = np.concatenate([head_Bx4, terms_BxNx6.reshape(batch, -1)[:, 1:]], axis=1)
        term_BxN = coefficient_BxN * at_Bx1**degree_BxN
        sum_BxN = term_BxN.cumsum(axis=1) % 10
        if self.format == "answer":
            return prompt_answer(prompt_BxP, sum_BxN[:, -1:])
        if self.format == "scratchpad":
            return prompt_answer(prompt_BxP, sum_BxN)
        return prompt_answer(prompt_BxP, np.stack([term_BxN % 10, sum_BxN], axis=2).reshape(batch, -1))

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return WORDS[symbol]


def _number(number: np.ndarray) -> np.ndarray:
    return np.where(number < 0, number + 13, number)
