"""Predict every next byte of running text.

Format       > [b1] ... [bn]      n bytes (tokens=char: characters) of the text, all of them answers; there is no end token
Input law    in training a window that begins anywhere in the first 80 % of the text; in evaluation windows side by side from the
             last 10 %, nearly the same text at every length
             scored=last: windows that end at the same places for every length, of which the last token alone counts: a longer
             window is more context there and nothing else, while of windows side by side a longer one has fewer early tokens
Chance       the share of the most frequent token
Why          nats per token (perplexity) against length is how language models are compared past their training length
Path         a file, a folder or a pattern of plain text in UTF-8; several files are joined, with separator= between them
"""

from copy import copy

import numpy as np

from rpecli.rows import running_text
from rpecli.task import Batch, Task, in_sequence

SAMPLE = "It was the best of times, it was the worst of times.\n" * 40  # stands for a file where no path is given
PARTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}  # of the text


class Text(Task):
    title = "Text"
    family = "language"
    source = "Train Short, Test Long, 2022, arXiv 2108.12409"
    defaults = {"length": 64, "tokens": 4096, "steps": 1500}
    examples = (([73, 116, 32], "> [I] [t] [\\s]"), ([116, 104], "> [t] [h]"))

    def __init__(self, *, path: str = "", tokens: str = "byte", separator: str = "", scored: str = "all"):
        if tokens not in ("byte", "char") or scored not in ("all", "last"):
            raise ValueError("tokens is byte or char, and scored is all or last")
        self.scored = scored
        self.text_N, self.written = running_text.load(path, tokens, separator) if path else running_text.encode(SAMPLE, tokens)
        self.symbols, self.part_N = len(self.written), self.text_N
        self.notes = [f"{len(self.text_N):,} {tokens}s, of which the last tenth is held out"] if path else []

    def split(self, name: str, trained_to: int | None = None) -> Task:
        part, (start, stop) = copy(self), PARTS[name]
        part.part_N = self.text_N[int(start * len(self.text_N)) : int(stop * len(self.text_N))]
        return part

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        starts_Bx1 = rng.integers(len(self.part_N) - length + 1, size=(batch, 1))
        return self.part_N[starts_Bx1 + np.arange(length)]

    def layout(self, x_BxN: np.ndarray) -> Batch:
        is_scored_N = (np.arange(x_BxN.shape[1]) == x_BxN.shape[1] - 1) | (self.scored == "all")
        return in_sequence(x_BxN, np.broadcast_to(is_scored_N, x_BxN.shape), language_model=True)

    def fixed_set(self, length: int, sequences: int) -> Batch | None:
        if self.part_N is self.text_N:  # of no split
            return None
        if self.scored == "all":
            ends_B = length * np.arange(1, min(sequences, len(self.part_N) // length) + 1)
        else:  # spread over the second half, so that there is context before them
            half = len(self.part_N) // 2
            ends_B = half + (np.arange(1, sequences + 1) * (len(self.part_N) - half)) // sequences
        return self.layout(self.part_N[ends_B[:, None] - length + np.arange(length)])

    def chance(self, length: int) -> float:
        return float(np.bincount(self.text_N).max() / len(self.text_N))

    def longest(self) -> int | None:
        return len(self.text_N) // (10 if self.scored == "all" else 20)

    def sequence(self, length: int) -> int:
        return length + 1

    def word(self, symbol: int) -> str:
        return self.written[symbol]
