"""Copy every k-th of distinct symbols: the first, then the k-th after it, and so on.

Format       > # ... # x1 ... xm | [x1 xk+1 x2k+1 ...] .      k-1 marks #; the length is k-1+m, and m is a multiple of k
Input law    a uniform random subset of the symbols in random order
Chance       1 / symbols per token
Why          the source of the next answer token is k places beyond that of the last: the reach that an encoding has to learn
"""

import numpy as np

from rpecli.task import Batch, Task, draw_distinct, prompt_answer


class CopyEvery(Task):
    title = "Copy every k-th"
    family = "copying"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140"
    variants = {"k=3": {"length": 18}}
    defaults = {"length": 17, "curriculum": 0.5, "tokens": 2048, "steps": 4000, "lr": 2e-3}
    examples = (([5, 16, 2, 7], "> # 5 16 2 7 | [5] [2] ."), ([0, 149], "> # 0 149 | [0] ."))

    def __init__(self, *, k: int = 2, symbols: int = 150):
        if not 1 <= k <= symbols:
            raise ValueError(f"k is 1 to the number of symbols, {symbols}, not {k}")
        self.k, self.mark, self.symbols = k, symbols, symbols + 1

    def longest(self) -> int:
        return self.mark - self.mark % self.k + self.k - 1

    def has_length(self, length: int) -> bool:
        return 2 * self.k - 1 <= length <= self.longest() and length % self.k == self.k - 1

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return draw_distinct(rng, batch, length - self.k + 1, self.mark)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        marks_BxK = np.full((len(x_BxN), self.k - 1), self.mark)
        return prompt_answer(np.concatenate([marks_BxK, x_BxN], axis=1), x_BxN[:, :: self.k])

    def chance(self, length: int) -> float:
        return 1 / self.mark

    def word(self, symbol: int) -> str:
        return "#" if symbol == self.mark else str(symbol)
