"""Find a key among the needles in a haystack, and name its value.

Format       > h h k3 v9 h h h k1 v2 h k3 | [v9] .      n symbols of hay and needles, then the key that is asked for
Input law    the needles, pairs of a key and its value, stand at uniform places; their keys are different, values and hay are
             uniform; the key that is asked for is that of a uniform needle
Chance       1/16
Why          few of many symbols count, however long the string: the attention that the hay takes away in sum
"""

import numpy as np

from rpecli.task import Batch, Task, draw_distinct, draw_places, prompt_answer

KINDS = 16  # keys, values, and kinds of hay


class Needle(Task):
    title = "Needle in a haystack"
    symbols = 3 * KINDS
    family = "retrieval"
    source = "RULER: What's the Real Context Size of Your Long-Context Language Models?, 2024, arXiv 2404.06654"
    variants = {"needles=1": {"min_length": 2}}
    defaults = {"length": 128, "min_length": 8, "curriculum": 0.7, "tokens": 2048, "steps": 2000}
    examples = (
        ([40, 33, 3, 25, 32, 1, 18, 3], "> h8 h1 k3 v9 h0 k1 v2 k3 | [v9] ."),
        ([15, 31, 47, 15], "> k15 v15 h15 k15 | [v15] ."),
    )

    def __init__(self, *, needles: int = 4):
        if not 1 <= needles <= KINDS:
            raise ValueError(f"needles is 1 to {KINDS}, not {needles}")
        self.needles = needles

    def has_length(self, length: int) -> bool:
        return length >= 2 * self.needles

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        x_BxN = rng.integers(2 * KINDS, 3 * KINDS, size=(batch, length + 1))
        place_BxM = draw_places(rng, batch, length, self.needles, width=2)
        key_BxM = draw_distinct(rng, batch, self.needles, KINDS)
        np.put_along_axis(x_BxN, place_BxM, key_BxM, axis=1)
        np.put_along_axis(x_BxN, place_BxM + 1, rng.integers(KINDS, 2 * KINDS, size=key_BxM.shape), axis=1)
        x_BxN[:, -1] = key_BxM[np.arange(batch), rng.integers(self.needles, size=batch)]
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        value_B = x_BxN[np.arange(len(x_BxN)), (x_BxN == x_BxN[:, -1:]).argmax(axis=1) + 1]
        return prompt_answer(x_BxN, value_B[:, None])

    def chance(self, length: int) -> float:
        return 1 / KINDS

    def word(self, symbol: int) -> str:
        return f"{'kvh'[symbol // KINDS]}{symbol % KINDS}"
