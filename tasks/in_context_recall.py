"""A string of pairs of a key and its value, in which keys return with the same value: name the value wherever a key has returned.

Format       > k3 v5 k0 v1 n4 n9 k3 [v5] ...      n symbols; trained on every symbol as a language model; n4 n9 is noise
Input law    keys are uniform, the value of a key is uniform but the same wherever it stands in the string; a pair is noise, two
             uniform noise symbols, with probability `noise`, but one pair never is; the last key is uniform over those before it
Chance       1 / number of values
Why          recall where the questions are not told from the rest: the published tests of in-context and noisy recall
"""

import numpy as np

from rpecli.task import Batch, Task, in_sequence

NOISE = 16  # symbols of noise, where there is any


class InContextRecall(Task):
    title = "In-context recall"
    family = "retrieval"
    source = "Mechanistic Design and Scaling of Hybrid Architectures, 2024, arXiv 2403.17844"
    variants = {"noise=0.2": {}}
    defaults = {"length": 64, "min_length": 4, "curriculum": 0.5, "tokens": 4096, "steps": 2000}
    examples = (
        ([3, 13, 0, 9, 3, 13, 0, 9], "> k3 v5 k0 v1 k3 [v5] k0 [v1]"),
        ([7, 8, 7, 8], "> k7 v0 k7 [v0]"),
    )

    def __init__(self, *, noise: float = 0.0, symbols: int = 16):
        if not 0 <= noise < 1:
            raise ValueError(f"noise is a share from 0 to less than 1, not {noise}")
        if symbols < 4 or symbols % 2:
            raise ValueError(f"symbols is an even number from 4 on, not {symbols}: half of them are values")
        self.noise, self.keys, self.first_noise = noise, symbols // 2, symbols
        self.symbols = symbols + (NOISE if noise else 0)

    def has_length(self, length: int) -> bool:
        return length >= 4 and length % 2 == 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        pairs, rows = length // 2, np.arange(batch)
        key_BxP = rng.integers(self.keys, size=(batch, pairs))
        value_BxK = rng.integers(self.keys, self.first_noise, size=(batch, self.keys))
        is_noise_BxP = rng.random((batch, pairs)) < self.noise
        is_noise_BxP[rows, rng.integers(pairs - 1, size=batch)] = False
        is_noise_BxP[:, -1] = False
        shown_BxK = np.zeros((batch, self.keys), dtype=bool)
        pair = np.nonzero(~is_noise_BxP[:, :-1])
        shown_BxK[pair[0], key_BxP[pair]] = True
        key_BxP[:, -1] = (rng.integers(1 << 62, size=shown_BxK.shape) * shown_BxK).argmax(axis=1)
        x_BxPx2 = np.stack([key_BxP, np.take_along_axis(value_BxK, key_BxP, axis=1)], axis=2)
        if self.noise:
            noise_BxPx2 = rng.integers(self.first_noise, self.symbols, size=x_BxPx2.shape)
            x_BxPx2 = np.where(is_noise_BxP[:, :, None], noise_BxPx2, x_BxPx2)
        return x_BxPx2.reshape(batch, length)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        key_BxP = x_BxN[:, ::2]
        returned_BxP = np.zeros(key_BxP.shape, dtype=bool)
        for key in range(self.keys):
            same_BxP = key_BxP == key
            returned_BxP |= same_BxP & (same_BxP.cumsum(axis=1) > 1)
        return in_sequence(x_BxN, np.stack([np.zeros_like(returned_BxP), returned_BxP], axis=2).reshape(x_BxN.shape), True)

    def chance(self, length: int) -> float:
        return 1 / self.keys

    def word(self, symbol: int) -> str:
        if symbol < self.keys:
            return f"k{symbol}"
        return f"v{symbol - self.keys}" if symbol < self.first_noise else f"n{symbol - self.first_noise}"
