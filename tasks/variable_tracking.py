"""Name all variables that hold a value, through assignments of one variable to the next, amid noise.

Format       > ~ a = 7 ~ ~ d = 2 b = a ~ e = d ~ c = b ? 7 | [a b c] .      n symbols before the question mark
Input law    `chains` chains of `hops`+1 assignments, the first of a value and each further one of the variable before it; names
             and values are different and in random order; the assignments of the chains are mixed in every way, and noise ~
             stands between them at uniform places; the value that is asked for is that of a uniform chain
Chance       1/26 per token
Why          hops through content over any distance, as many in a row as the chain has, which depth has to provide
"""

import numpy as np

from rpecli.task import Batch, Task, draw_distinct, draw_places, prompt_answer

LETTERS, DIGITS = 26, 10
NOISE, EQUALS, QUESTION = range(LETTERS + DIGITS, LETTERS + DIGITS + 3)
WORDS = [*"abcdefghijklmnopqrstuvwxyz", *"0123456789", "~", "=", "?"]


class VariableTracking(Task):
    title = "Variable tracking"
    symbols = len(WORDS)
    family = "chain reasoning"
    source = "RULER: What's the Real Context Size of Your Long-Context Language Models?, 2024, arXiv 2404.06654"
    variants = {"chains=1:hops=4": {"min_length": 15}}
    defaults = {"length": 48, "min_length": 18, "curriculum": 0.5, "tokens": 2048, "steps": 4000}
    examples = (
        (
            [36, 0, 37, 33, 36, 3, 37, 28, 1, 37, 0, 36, 4, 37, 3, 36, 2, 37, 1, 36, 38, 33],
            "> ~ a = 7 ~ d = 2 b = a ~ e = d ~ c = b ~ ? 7 | [a] [b] [c] .",
        ),
        ([25, 37, 26, 24, 37, 25, 23, 37, 24, 38, 26], "> z = 0 y = z x = y ? 0 | [z] [y] [x] ."),
    )

    def __init__(self, *, chains: int = 2, hops: int = 2):
        if not (1 <= chains <= DIGITS and hops >= 0 and chains * (hops + 1) <= LETTERS):
            raise ValueError(f"chains={chains}:hops={hops}: at most 10 chains, with at most 26 variables in all")
        self.chains, self.hops = chains, hops

    def has_length(self, length: int) -> bool:
        return length >= 3 * self.chains * (self.hops + 1)

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        variables = self.hops + 1  # of a chain
        n = self.chains * variables
        name_BxCxV = draw_distinct(rng, batch, n, LETTERS).reshape(batch, self.chains, variables)
        value_BxCx1 = LETTERS + draw_distinct(rng, batch, self.chains, DIGITS)[:, :, None]
        source_BxCxV = np.concatenate([value_BxCx1, name_BxCxV[:, :, :-1]], axis=2)
        chain_BxA = rng.permuted(np.broadcast_to(np.repeat(np.arange(self.chains), variables), (batch, n)), axis=1)
        order_BxA = np.argsort(np.argsort(chain_BxA, axis=1, kind="stable"), axis=1)  # of each assignment, chain by chain
        place_BxA = draw_places(rng, batch, length, n, width=3)
        x_BxN = np.full((batch, length + 2), NOISE)
        np.put_along_axis(x_BxN, place_BxA, np.take_along_axis(name_BxCxV.reshape(batch, n), order_BxA, axis=1), axis=1)
        np.put_along_axis(x_BxN, place_BxA + 1, EQUALS, axis=1)
        np.put_along_axis(x_BxN, place_BxA + 2, np.take_along_axis(source_BxCxV.reshape(batch, n), order_BxA, axis=1), axis=1)
        x_BxN[:, -2] = QUESTION
        x_BxN[:, -1] = value_BxCx1[np.arange(batch), rng.integers(self.chains, size=batch), 0]
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        rows, names = np.arange(len(x_BxN)), []
        source_B = x_BxN[:, -1]
        is_equals_BxN = x_BxN[:, 1:-2] == EQUALS
        for _ in range(self.hops + 1):  # the assignment of what was found last
            place_B = (is_equals_BxN & (x_BxN[:, 2:-1] == source_B[:, None])).argmax(axis=1)
            source_B = x_BxN[rows, place_B]
            names.append(source_B)
        return prompt_answer(x_BxN, np.stack(names, axis=1))

    def chance(self, length: int) -> float:
        return 1 / LETTERS

    def word(self, symbol: int) -> str:
        return WORDS[symbol]
