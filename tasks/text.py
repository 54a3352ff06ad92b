"""Predict every next byte of running text.

Format       > [b1] ... [bn]      n bytes (tokens=char: characters) of the text, all of them answers; there is no end token
Input law    in training a window that begins anywhere in the first 80 % of the text; in evaluation windows side by side from the
             last 10 %, nearly the same text at every length
             stride=16: sliding windows. In evaluation a window ends every 16 tokens, its last 16 tokens are scored, and they are
             the same tokens at every length from 16 on: a longer window is more context before them and nothing else; of a
             shorter one all tokens are scored. Of windows side by side a longer one also has fewer tokens with little before
             them, which alone makes perplexity fall
Chance       the share of the most frequent token; in nats, the entropy of single tokens
Why          perplexity against length is how language models are compared past their training length
Path         a file, a folder or a pattern of plain text in UTF-8; several files are joined, with separator= between them.
             Without a path, two novels for children of 1865 and 1871 that come with rpe: 306 kB, in the public domain
"""

from copy import copy

import numpy as np

from rpecli.rows import running_text
from rpecli.task import Batch, Task, in_sequence

PARTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}  # of the text


class Text(Task):
    title = "Text"
    family = "language"
    measure = "perplexity"
    source = "Train Short, Test Long, 2022, arXiv 2108.12409"
    defaults = {"length": 64, "tokens": 4096, "steps": 1500}
    examples = (([73, 116, 32], "> [I] [t] [\\s]"), ([116, 104], "> [t] [h]"))

    def __init__(self, *, path: str = "", tokens: str = "byte", separator: str = "", stride: int = 0):
        if tokens not in ("byte", "char") or stride < 0:
            raise ValueError("tokens is byte or char, and stride is 1 or more (0: windows side by side)")
        self.stride = stride
        self.text_N, self.written = running_text.load(path or str(running_text.SHIPPED), tokens, separator)
        if stride > (most := len(self.text_N) // 20):
            raise ValueError(f"stride={stride}: this text of {len(self.text_N):,} {tokens}s allows up to {most}")
        self.symbols, self.part_N = len(self.written), self.text_N
        self.notes = [f"{len(self.text_N):,} {tokens}s, of which the last tenth is held out"]

    def split(self, name: str, trained_to: int | None = None) -> Task:
        part, (start, stop) = copy(self), PARTS[name]
        part.part_N = self.text_N[int(start * len(self.text_N)) : int(stop * len(self.text_N))]
        return part

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return self._windows(rng.integers(len(self.part_N) - length + 1, size=batch), length)

    def _windows(self, starts_B: np.ndarray, length: int) -> np.ndarray:
        return self.part_N[starts_B[:, None] + np.arange(length)].astype(np.int64)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        is_scored_N = np.arange(x_BxN.shape[1]) >= x_BxN.shape[1] - (self.stride or x_BxN.shape[1])
        return in_sequence(x_BxN, np.broadcast_to(is_scored_N, x_BxN.shape), language_model=True)

    def fixed_set(self, length: int, sequences: int) -> Batch | None:
        """Windows side by side, spread over the part where they are fewer than fit; with a stride, those that end in its half."""
        if self.part_N is self.text_N:  # of no split
            return None
        n_tokens, step = len(self.part_N), self.stride or length
        first = n_tokens // 2 if self.stride else 0  # there is context before the tokens that are scored
        fit = (n_tokens - first) // step
        n_windows = min(sequences, fit)
        ends_B = first + step * (np.arange(1, n_windows + 1) * fit // n_windows)
        return self.layout(self._windows(ends_B - length, length))

    def chance(self, length: int) -> float:
        return float(self._counts().max() / len(self.text_N))

    def chance_nll(self, length: int) -> float:
        share_V = self._counts() / len(self.text_N)
        return float(-(share_V * np.log(np.maximum(share_V, 1e-300))).sum())

    def _counts(self) -> np.ndarray:
        return np.bincount(self.text_N, minlength=self.symbols)

    def longest(self) -> int | None:
        return len(self.text_N) // (20 if self.stride else 10)

    def sequence(self, length: int) -> int:
        return length + 1

    def word(self, symbol: int) -> str:
        return self.written[symbol]
