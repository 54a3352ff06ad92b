"""Write all that a node of a graph depends on, and itself last, in an order in which nothing comes before what it depends on.

Format       > 5 2 7 5 ... ? 2 | {7}7 {5}5 {2}2 {.}.    n nodes; an edge `7 5` says that 5 depends on 7; before each symbol of the
             answer, the set of those that may stand there, as there are many right orders (Brevo)
Input law    1 to (n-1) // 4 + 1 nodes depend on none, uniformly; each further node on 1 to 4 of those before it, a uniform number
             and a uniform choice of those that fewer than 4 depend on; the question is for the last; names and the order of the
             edges are uniform. The order that is read is drawn from its end: a uniform one of those that nothing left depends on
Chance       the most frequent set at every place
Why          a sort of a part of a graph that only a search backwards from the question tells, without a word in between
"""

import numpy as np

from rpecli.ragged import ABSENT, prompt_answer
from rpecli.task import END, SPECIAL, Batch, Task, draw_distinct, measured_chance

DEGREE = 4  # edges into a node, and out of it, at most


class Brevo(Task):
    title = "Brevo"
    family = "chain reasoning"
    source = "Physics of Language Models: Part 4.1, Architecture Design and the Magic of Canon Layers, 2025, arXiv 2512.17351"
    predicts_sets = True
    defaults = {"length": 10, "min_length": 3, "curriculum": 0.5, "tokens": 4096, "steps": 2400}
    examples = (
        ([5, 2, 7, 5, 7, 3, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
          -1, -1, 7, 5, 2], "> 5 2 7 5 7 3 ? 2 | {7}7 {5}5 {2}2 {.}."),
        ([4, 9, 8, 9, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 8, 4, 9],
         "> 4 9 8 9 ? 9 | {4 8}8 {4}4 {9}9 {.}."),
    )  # fmt: skip

    def __init__(self, *, names: int = 50):
        if not 4 <= names <= 57:
            raise ValueError(f"names is 4 to 57, not {names}")
        self.names, self.symbols = names, names + 1

    def longest(self) -> int:
        return self.names

    def has_length(self, length: int) -> bool:
        return 2 <= length <= self.names

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Edges as two names each, then the order that answers, whose last is the node in question; -1 where there is none."""
        needs_BxNxN = graphs(rng, batch, length)
        name_BxN = draw_distinct(rng, batch, length, self.names)
        order_BxN = orders(rng, needs_BxNxN)
        answer_BxN = np.where(order_BxN == ABSENT, ABSENT, np.take_along_axis(name_BxN, order_BxN, axis=1))
        edge_BxNxNx2 = np.stack(np.broadcast_arrays(name_BxN[:, None], name_BxN[:, :, None]), axis=3)
        edge_BxEx2 = np.where(needs_BxNxN[..., None], edge_BxNxNx2, ABSENT).reshape(batch, -1, 2)
        key_BxE = rng.integers(1 << 62, size=edge_BxEx2.shape[:2]) | np.where(edge_BxEx2[..., 0] == ABSENT, 1 << 62, 0)
        shuffled_BxE = np.argsort(key_BxE, axis=1)[:, : DEGREE * length]
        edges_BxM = np.take_along_axis(edge_BxEx2, shuffled_BxE[:, :, None], axis=1).reshape(batch, -1)
        blank_BxM = np.full((batch, 2 * DEGREE * length - edges_BxM.shape[1]), ABSENT)
        return np.concatenate([edges_BxM, blank_BxM, answer_BxN], axis=1)

    def layout(self, x_BxX: np.ndarray) -> Batch:
        batch, width = x_BxX.shape
        edges_BxM, order_BxN = np.split(x_BxX, [width * 2 * DEGREE // (2 * DEGREE + 1)], axis=1)
        last_B = order_BxN.shape[1] - 1 - (order_BxN[:, ::-1] != ABSENT).argmax(axis=1)
        sets_BxA = self._sets(edges_BxM, order_BxN)
        question_Bx2 = np.stack([np.full(batch, self.names), order_BxN[np.arange(batch), last_B]], axis=1)
        written = prompt_answer(np.concatenate([edges_BxM, question_Bx2], axis=1), order_BxN)
        answer_BxT = written.answer_mask_BxT | (written.tokens_BxT == END)
        sets_BxT = np.zeros_like(written.tokens_BxT)
        sets_BxT[answer_BxT] = sets_BxA[sets_BxA != ABSENT]
        return Batch(written.tokens_BxT, answer_BxT, sets_BxT)

    def _sets(self, edges_BxM: np.ndarray, order_BxN: np.ndarray) -> np.ndarray:
        """The set of tokens that may stand at each place of the answer and at its end; ABSENT where the order is."""
        rows, name_V = np.arange(len(order_BxN)), np.arange(self.names)
        needs_BxV, left_B = np.zeros((len(order_BxN), self.names), dtype=np.int64), np.zeros(len(order_BxN), dtype=np.int64)
        for parent_B, child_B in zip(edges_BxM[:, ::2].T, edges_BxM[:, 1::2].T, strict=True):
            needs_BxV[rows, child_B] |= np.where(parent_B == ABSENT, 0, 1 << np.maximum(parent_B, 0))
        for name_B in order_BxN.T:
            left_B |= np.where(name_B == ABSENT, 0, 1 << np.maximum(name_B, 0))
        sets = []
        for name_B in order_BxN.T:
            ready_BxV = (left_B[:, None] >> name_V & 1 == 1) & (needs_BxV & left_B[:, None] == 0)
            sets.append(np.where(name_B == ABSENT, ABSENT, (ready_BxV << name_V + SPECIAL).sum(axis=1)))
            left_B &= ~np.where(name_B == ABSENT, 0, 1 << np.maximum(name_B, 0))
        return np.stack([*sets, np.full(len(rows), 1 << END)], axis=1)

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 2 * min(DEGREE * length, length * (length - 1) // 2) + length + 5

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return "?" if symbol == self.names else str(symbol)


def graphs(rng: np.random.Generator, batch: int, n: int) -> np.ndarray:
    """Whether a node depends on another, which is one of those before it, `[B, N, N]`."""
    needs_BxNxN, n_uses_BxN = np.zeros((batch, n, n), dtype=bool), np.zeros((batch, n), dtype=np.int64)
    free_of_all_B = rng.integers(1, (n - 1) // DEGREE + 2, size=batch)
    for node in range(1, n):
        open_BxM = n_uses_BxN[:, :node] < DEGREE
        n_needed_B = rng.integers(1, np.minimum(open_BxM.sum(axis=1), DEGREE) + 1) * (node >= free_of_all_B)
        key_BxM = np.where(open_BxM, rng.integers(1 << 62, size=open_BxM.shape), 1 << 62)
        chosen_BxM = np.argsort(np.argsort(key_BxM, axis=1, kind="stable"), axis=1) < n_needed_B[:, None]
        needs_BxNxN[:, node, :node] = chosen_BxM
        n_uses_BxN[:, :node] += chosen_BxM
    return needs_BxNxN


def orders(rng: np.random.Generator, needs_BxNxN: np.ndarray) -> np.ndarray:
    """What the last node depends on, and itself, in an order that is drawn from its end; ABSENT in front, `[B, N]`."""
    batch, n, _ = needs_BxNxN.shape
    left_BxN = np.arange(n) == np.full((batch, 1), n - 1)
    for node in range(n - 1, 0, -1):
        left_BxN |= left_BxN[:, node, None] & needs_BxNxN[:, node]
    order = []
    for _ in range(n):
        ready_BxN = left_BxN & ~(needs_BxNxN & left_BxN[:, :, None]).any(axis=1)
        node_B = (rng.integers(1, 1 << 62, size=(batch, n)) * ready_BxN).argmax(axis=1)
        order.append(np.where(left_BxN.any(axis=1), node_B, ABSENT))
        left_BxN[np.arange(batch), node_B] = False
    return np.stack(order[::-1], axis=1)
