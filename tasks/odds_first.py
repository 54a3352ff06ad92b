"""Write every second bit of a string, then the others.

Format       > b1 ... bn | [b2 b4 ... b1 b3 ...] .      (`order=docstring`: [b1 b3 ... b2 b4 ...] .)
Input law    fair independent bits
Chance       1/2 per bit
Level        context-sensitive
Why          neighbours in the answer are two apart in the input; the published code and its docstring give the two halves in
             unlike order, and published numbers are those of the code
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class OddsFirst(Task):
    title = "Odds first"
    symbols = 2
    family = "copying"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    variants = {"order=docstring": {}}
    defaults = {"length": 8, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3}
    examples = (([0, 0, 1, 1, 0, 1], "> 0 0 1 1 0 1 | [0] [1] [1] [0] [1] [0] ."), ([1, 0, 1], "> 1 0 1 | [0] [1] [1] ."))

    def __init__(self, *, order: str = "code"):
        if order not in ("code", "docstring"):
            raise ValueError(f"order is code or docstring, not {order!r}")
        self.first = 1 if order == "code" else 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(2, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        return prompt_answer(x_BxN, np.concatenate([x_BxN[:, self.first :: 2], x_BxN[:, 1 - self.first :: 2]], axis=1))
