"""Repeat one symbol as often as the input holds it, twice as often, or put another in its place: counting, not copying.

Format       once     > a a ... a | [a a ... a] .             n each (published as copy rsc)
             twice    > a a ... a | [a a ... a] .             n, then 2 n (rsc2x)
             replace  > a b : a ... a | [b ... b] .           n each, b in place of a (rdc)
Input law    a is uniform over the symbols, b over the others
Chance       1 / symbols per token
Why          all that is asked is where to stop: the end token is the whole task; published as "copy", where it is easier than
             copying a string and ranks encodings in another order
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class CountingCopy(Task):
    title = "Counting copy"
    family = "counting"
    order_matters = False
    source = "The Impact of Positional Encoding on Length Generalization in Transformers, 2023, arXiv 2305.19466"
    variants = {"format=replace": {"tokens": 2048, "steps": 2000, "curriculum": 0.5}, "format=twice": {}}
    defaults = {"length": 20, "steps": 1000}
    examples = (([3, 3, 3], "> 3 3 3 | [3] [3] [3] ."), ([7], "> 7 | [7] ."))

    def __init__(self, *, symbols: int = 16, format: str = "once"):
        if format not in ("once", "twice", "replace"):
            raise ValueError(f"format is once, twice or replace, not {format!r}")
        if symbols < 2:
            raise ValueError(f"symbols={symbols}: at least two are needed")
        self.ordinary, self.format = symbols, format
        self.symbols = symbols + (format == "replace")

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """n times a; for `replace`, a and b before."""
        old_Bx1 = rng.integers(self.ordinary, size=(batch, 1))
        repeated_BxN = np.repeat(old_Bx1, length, axis=1)
        if self.format != "replace":
            return repeated_BxN
        new_Bx1 = (old_Bx1 + rng.integers(1, self.ordinary, size=(batch, 1))) % self.ordinary
        return np.concatenate([old_Bx1, new_Bx1, repeated_BxN], axis=1)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        if self.format == "once":
            return prompt_answer(x_BxN, x_BxN)
        if self.format == "twice":
            return prompt_answer(x_BxN, np.concatenate([x_BxN, x_BxN], axis=1))
        prompt_BxP = np.insert(x_BxN, 2, self.ordinary, axis=1)
        return prompt_answer(prompt_BxP, np.repeat(x_BxN[:, 1:2], x_BxN.shape[1] - 2, axis=1))

    def chance(self, length: int) -> float:
        return 1 / self.ordinary

    def word(self, symbol: int) -> str:
        return ":" if symbol == self.ordinary else str(symbol)
