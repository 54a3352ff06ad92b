"""Tell whether a string of bits has an odd number of places where 01 or 10 stands, which is whether its ends differ.

Format       > b1 ... bn | [c] .      c is 1 if the number of 01 and 10 is odd
Input law    fair independent bits
Chance       1/2; a string of one bit has no pairs, and its answer is 0
Level        regular
Why          a count in disguise: comparing the first bit with the last is enough, so an encoding that finds both ends solves it
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class EvenPairs(Task):
    title = "Even pairs"
    symbols = 2
    family = "state tracking"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    defaults = {"length": 40, "tokens": 2048, "steps": 4500}
    examples = (([1, 0, 0, 1, 1, 0], "> 1 0 0 1 1 0 | [1] ."), ([0, 1, 0], "> 0 1 0 | [0] ."))

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(2, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        pairs_B = (x_BxN[:, 1:] != x_BxN[:, :-1]).sum(axis=1)
        return prompt_answer(x_BxN, (pairs_B % 2)[:, None])

    def chance(self, length: int) -> float:
        return 1.0 if length == 1 else 0.5
