"""Find the last k symbols of a string once more before them, and name the symbol that came next there.

Format       > x1 ... xn | [y] .      y stands behind the last earlier occurrence of the k symbols that end the string
Input law    symbols are uniform and independent, but the last k are put at a uniform place before them as well, without overlap
Chance       1 / symbols
Why          a match of k symbols in a row takes positions inside the match, wherever it is: k previous-token heads in one
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class MultiKeyRecall(Task):
    title = "Multi-key recall"
    family = "retrieval"
    source = "github.com/Fluffel/length_generalization at f941723"
    variants = {"k=2": {}}
    defaults = {"length": 20, "min_length": 9, "curriculum": 0.5, "tokens": 1024, "steps": 8000, "lr": 2e-3}
    examples = (
        ([9, 1, 2, 3, 4, 7, 1, 2, 3, 4], "> 9 1 2 3 4 7 1 2 3 4 | [7] ."),
        ([5, 5, 6, 5, 0, 5, 5, 6, 5], "> 5 5 6 5 0 5 5 6 5 | [0] ."),
    )

    def __init__(self, *, k: int = 4, symbols: int = 128):
        if k < 1:
            raise ValueError(f"k is at least 1, not {k}")
        self.k, self.symbols = k, symbols

    def has_length(self, length: int) -> bool:
        return length > 2 * self.k

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        x_BxN = rng.integers(self.symbols, size=(batch, length))
        place_Bx1 = rng.integers(length - 2 * self.k + 1, size=(batch, 1))
        np.put_along_axis(x_BxN, place_Bx1 + np.arange(self.k), x_BxN[:, -self.k :], axis=1)
        return x_BxN

    def layout(self, x_BxN: np.ndarray) -> Batch:
        starts = x_BxN.shape[1] - self.k  # of the places where a match may start, before the end of the string
        match_BxS = np.ones((len(x_BxN), starts), dtype=bool)
        for i in range(self.k):
            match_BxS &= x_BxN[:, i : i + starts] == x_BxN[:, starts + i, None]
        last_B = starts - 1 - match_BxS[:, ::-1].argmax(axis=1)
        return prompt_answer(x_BxN, x_BxN[np.arange(len(x_BxN)), last_B + self.k][:, None])
