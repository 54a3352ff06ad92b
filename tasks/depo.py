"""Edges of a directed cycle in random order; then questions: which node is k steps behind this one (Depo).

Format       > 43 99 7 ... 7 15 60 ... k3 43 99 = [15 60] k1 7 = [15 60] ...      n nodes, so n edges of two names each; the
             last symbol of a name is greater than `symbols`, so that names need no mark between them; then the questions
Input law    names are different, of `shortest` to `longest` symbols, lengths and symbols uniform; the order of the nodes and of
             the edges is uniform; `queries` questions, at most n, about different nodes, each with k uniform on 1..hops.
             Published: 225 to 375 nodes (`hops=8`), 75 to 125 (`hops=16:longest=7:shortest=5:symbols=3`)
Chance       measured: a little more than 1 / (2 symbols)
Why          k hops through content, without a word written in between, which depth has to provide
"""

import numpy as np

from rpecli.ragged import ABSENT, sequences
from rpecli.task import Batch, Task, draw_distinct, measured_chance


class Depo(Task):
    title = "Depo"
    family = "chain reasoning"
    source = "Physics of Language Models: Part 4.1, Architecture Design and the Magic of Canon Layers, 2025, arXiv 2512.17351"
    variants = {"hops=16:longest=7:shortest=5:symbols=3": {"length": 8}, "hops=8": {}}
    defaults = {"length": 12, "min_length": 3, "curriculum": 0.5, "tokens": 4096, "steps": 2400}
    examples = (
        (
            [42, 98, 6, 65, 59, -1, 1, 2, 0, 0, 1, 2, 2, 1, 3],
            "> 7 66 60 60 43 99 43 99 7 66 k2 43 99 = [60] k1 7 66 = [60] k3 60 = [60]",
        ),
        ([50, -1, 0, 0, 1], "> 51 51 k1 51 = [51]"),
    )

    def __init__(self, *, hops: int = 4, longest: int = 2, queries: int = 10, shortest: int = 1, symbols: int = 50):
        if hops < 1 or queries < 1 or symbols < 2:
            raise ValueError(f"hops={hops}:queries={queries}:symbols={symbols}: one hop, one question, two symbols at least")
        if not 1 <= shortest <= longest <= 1000:
            raise ValueError(f"shortest={shortest}:longest={longest}: names have 1 to 1,000 symbols")
        if queries > 100_000:
            raise ValueError(f"queries is at most 100,000, not {queries}")
        self.hops, self.queries, self.inner, self.sizes = hops, queries, symbols, (shortest, longest)
        self.first_hop, self.equals, self.symbols = 2 * symbols, 2 * symbols + hops, 2 * symbols + hops + 1

    def longest(self) -> int:
        return self.inner ** self.sizes[1] // 2  # of the names there are, so that different ones are soon drawn

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """The names in the order of the cycle, the order of the edges, and of every question its node and its hops."""
        name_BxNxW = self._names(rng, (batch, length))
        while (again := _repeats(name_BxNxW)).any():
            name_BxNxW[again] = self._names(rng, (1, int(again.sum())))[0]
        order_BxN = draw_distinct(rng, batch, length, length)
        node_BxQ = draw_distinct(rng, batch, min(length, self.queries), length)
        hops_BxQ = rng.integers(1, self.hops + 1, size=node_BxQ.shape)
        return np.concatenate([name_BxNxW.reshape(batch, -1), order_BxN, node_BxQ, hops_BxQ], axis=1)

    def _names(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        shortest, longest = self.sizes
        size = rng.integers(shortest, longest + 1, size=(*shape, 1))
        name = rng.integers(self.inner, size=(*shape, longest)) + self.inner * (np.arange(longest) == size - 1)
        return np.where(np.arange(longest) < size, name, ABSENT)

    def layout(self, x_BxX: np.ndarray) -> Batch:
        (batch, width), longest, row_Bx1 = x_BxX.shape, self.sizes[1], np.arange(len(x_BxX))[:, None]
        queries = min(self.queries, width // (longest + 3))
        n = (width - 2 * queries) // (longest + 1)
        name_BxNxW, order_BxN = x_BxX[:, : longest * n].reshape(batch, n, longest), x_BxX[:, longest * n : longest * n + n]
        node_BxQ, hops_BxQ = np.split(x_BxX[:, longest * n + n :], 2, axis=1)
        edge_BxNx2W = np.concatenate([name_BxNxW[row_Bx1, order_BxN], name_BxNxW[row_Bx1, (order_BxN + 1) % n]], axis=2)
        hop_BxQx1, equals_BxQx1 = self.first_hop - 1 + hops_BxQ[:, :, None], np.full((batch, queries, 1), self.equals)
        asked_BxQxW, reached_BxQxW = name_BxNxW[row_Bx1, node_BxQ], name_BxNxW[row_Bx1, (node_BxQ + hops_BxQ) % n]
        question_BxQxV = np.concatenate([hop_BxQx1, asked_BxQxW, equals_BxQx1, reached_BxQxW], axis=2)
        is_answer_V = np.arange(question_BxQxV.shape[2]) >= longest + 2
        return sequences([(edge_BxNx2W.reshape(batch, -1), False),
                          (question_BxQxV.reshape(batch, -1), np.tile(is_answer_V, queries))])  # fmt: skip

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 1 + 2 * self.sizes[1] * (length + min(length, self.queries)) + 2 * min(length, self.queries)

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        if symbol < self.first_hop:
            return str(symbol + 1)
        return "=" if symbol == self.equals else f"k{symbol - self.first_hop + 1}"


def _repeats(name_BxNxW: np.ndarray) -> np.ndarray:
    """Whether a name stands before in its row, `[B, N]`."""
    same_BxNxN = (name_BxNxW[:, :, None] == name_BxNxW[:, None]).all(axis=3)
    return np.tril(same_BxNxN, k=-1).any(axis=2)
