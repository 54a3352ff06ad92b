"""Tell the one masked bit of a string that is written twice.

Format       > w w with one bit written ? | [that bit] .      n symbols; an odd n ends in #
Input law    fair independent bits; the masked place is uniform over both copies
Chance       1/2
Level        context-sensitive
Why          the bit stands at distance n / 2 before or behind the mask, which only the length tells; there is none at length 1
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer

MASK, FILL = 2, 3


class MissingDuplicate(Task):
    title = "Missing duplicate"
    symbols = 4
    family = "retrieval"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    defaults = {"length": 8, "min_length": 2, "curriculum": 0.5, "tokens": 1024, "steps": 8000, "lr": 2e-3}
    examples = (([0, 1, 1, 0, 0, 2, 1, 0], "> 0 1 1 0 0 ? 1 0 | [1] ."), ([1, 0, 1, 1, 2, 1, 3], "> 1 0 1 1 ? 1 # | [0] ."))

    def has_length(self, length: int) -> bool:
        return length >= 2

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        word_BxM = rng.integers(2, size=(batch, length // 2))
        x_BxN = np.concatenate([word_BxM, word_BxM, np.full((batch, length % 2), FILL)], axis=1)
        x_BxN[np.arange(batch), rng.integers(length // 2 * 2, size=batch)] = MASK
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        half = x_BxN.shape[1] // 2
        twin_B = ((x_BxN == MASK).argmax(axis=1) + half) % (2 * half)
        return prompt_answer(x_BxN, x_BxN[np.arange(len(x_BxN)), twin_B][:, None])

    def chance(self, length: int) -> float:
        return 0.5

    def word(self, symbol: int) -> str:
        return "01?#"[symbol]
