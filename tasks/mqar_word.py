"""Pairs of a key and a value, then some of the keys: the sum of their values modulo the number of values.

Format       > k3 m1 k7 m0 ... ? k7 k3 ... | [m1] .      n symbols and the mark ?; a share `queries` of them are behind it.
             An odd rest is left out, and there are no fewer pairs than questions, so that the shortest strings have 3 symbols
Input law    keys without repeats, values uniform; the keys after the mark are a random part of those before it, without repeats.
             There are at most `keys` pairs, after which longer strings hold more questions
Chance       1 / values
Why          recall and state tracking in one: every key has to be looked up, and no value may be missed in the sum
"""

import numpy as np

from rpecli.task import Batch, Task, draw_distinct, prompt_answer


class MultiQueryWordProblem(Task):
    title = "MQAR word problem"
    family = "retrieval"
    source = "github.com/Fluffel/length_generalization at f941723"
    variants = {"values=5": {"length": 50, "tokens": 2048, "steps": 3000, "lr": 6e-3}}
    defaults = {"length": 6, "min_length": 3, "curriculum": 0.5, "tokens": 1024, "steps": 8000, "lr": 2e-3}
    examples = (
        ([3, 33, 7, 33, 34, 7, 3], "> k3 m1 k7 m1 ? k7 k3 | [m0] ."),
        ([4, 33, 34, 4], "> k4 m1 ? k4 | [m1] ."),
    )

    def __init__(self, *, keys: int = 32, queries: float = 0.2, values: int = 2):
        if keys < 1:
            raise ValueError(f"keys is at least 1, not {keys}")
        if not 0 < queries < 1:
            raise ValueError(f"queries is a share between 0 and 1, not {queries}")
        if values < 2:
            raise ValueError(f"values is at least 2, not {values}")
        self.keys, self.queries, self.values = keys, queries, values
        self.mark, self.symbols = keys + values, keys + values + 1

    def longest(self) -> int:
        return max(2, int(self.keys / self.queries))  # from there on nothing changes: every key is asked for

    def has_length(self, length: int) -> bool:
        return 1 <= length <= self.longest()

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        n_queries = max(1, round(self.queries * length))
        pairs = min(self.keys, max(n_queries, (length - n_queries) // 2))
        n_queries = min(n_queries, pairs)
        keys_BxP = draw_distinct(rng, batch, pairs, self.keys)
        x_BxN = np.full((batch, 2 * pairs + 1 + n_queries), self.mark)
        x_BxN[:, 0 : 2 * pairs : 2] = keys_BxP
        x_BxN[:, 1 : 2 * pairs : 2] = self.keys + rng.integers(self.values, size=(batch, pairs))
        x_BxN[:, 2 * pairs + 1 :] = rng.permuted(keys_BxP, axis=1)[:, :n_queries]
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        mark = int((x_BxN[0] == self.mark).argmax())
        value_BxK = np.zeros((len(x_BxN), self.keys), dtype=np.int64)
        np.put_along_axis(value_BxK, x_BxN[:, 0:mark:2], x_BxN[:, 1:mark:2] - self.keys, axis=1)
        asked_BxQ = np.take_along_axis(value_BxK, x_BxN[:, mark + 1 :], axis=1)
        return prompt_answer(x_BxN, self.keys + asked_BxQ.sum(axis=1, keepdims=True) % self.values)

    def chance(self, length: int) -> float:
        return 1 / self.values

    def word(self, symbol: int) -> str:
        return f"k{symbol}" if symbol < self.keys else f"m{symbol - self.keys}" if symbol < self.mark else "?"
