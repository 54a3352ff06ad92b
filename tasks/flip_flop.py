"""Write a bit, ignore others, and read it back: at the end of the string (`format=last`), or as a language model (`format=lm`).

Format       last    > w 1 i 0 r 1 i 1 r | [1] .      n instructions; the answer is the bit that was written last
             lm      > w 1 i 0 r [1] i 1 r [1]        trained on every symbol as a language model, scored on what is read
Input law    the first instruction is w, the last r; those between are i with probability `ignore`, else w or r, both as likely;
             bits are fair and independent. Published test sets are sparse (ignore=0.98) and dense (ignore=0.1)
Chance       1/2
Why          the latest w counts, however far back: recency and content have to agree, and a rare miss shows in long strings
"""

import numpy as np

from rpecli.task import Batch, Task, in_sequence, prompt_answer

WORDS = ["0", "1", "w", "i", "r"]
WRITE, IGNORE, READ = range(2, 5)


class FlipFlop(Task):
    title = "Flip-flop"
    symbols = len(WORDS)
    family = "state tracking"
    source = "Exposing Attention Glitches with Flip-Flop Language Modeling, 2023, arXiv 2306.00946"
    variants = {"format=lm": {"length": 128, "tokens": 4096, "steps": 2000}}
    defaults = {"length": 50, "min_length": 2, "curriculum": 0.5, "tokens": 2048, "steps": 3000}
    examples = (
        ([2, 1, 3, 0, 4, 1, 3, 1, 4, 1], "> w 1 i 0 r 1 i 1 r | [1] ."),
        ([2, 1, 2, 0, 4, 0], "> w 1 w 0 r | [0] ."),
    )

    def __init__(self, *, format: str = "last", ignore: float = 0.8):
        if format not in ("last", "lm"):
            raise ValueError(f"format is last or lm, not {format!r}")
        if not 0 <= ignore < 1:
            raise ValueError(f"ignore is a share from 0 to less than 1, not {ignore}")
        self.format, self.ignore = format, ignore

    def has_length(self, length: int) -> bool:
        return length >= 2

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Every instruction and its bit."""
        roll_BxN = rng.random((batch, length))
        other_BxN = np.where(roll_BxN < self.ignore + (1 - self.ignore) / 2, WRITE, READ)
        instruction_BxN = np.where(roll_BxN < self.ignore, IGNORE, other_BxN)
        instruction_BxN[:, 0], instruction_BxN[:, -1] = WRITE, READ
        bit_BxN = rng.integers(2, size=(batch, length))
        last_write_BxN = np.maximum.accumulate(np.where(instruction_BxN == WRITE, np.arange(length), 0), axis=1)
        register_BxN = np.take_along_axis(bit_BxN, last_write_BxN, axis=1)
        bit_BxN = np.where(instruction_BxN == READ, register_BxN, bit_BxN)
        return np.stack([instruction_BxN, bit_BxN], axis=2).reshape(batch, 2 * length)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        if self.format == "last":
            return prompt_answer(x_BxN[:, :-1], x_BxN[:, -1:])
        is_read_BxN = np.zeros(x_BxN.shape, dtype=bool)
        is_read_BxN[:, 1:] = x_BxN[:, :-1] == READ
        return in_sequence(x_BxN, is_read_BxN, language_model=True)

    def chance(self, length: int) -> float:
        return 0.5

    def word(self, symbol: int) -> str:
        return WORDS[symbol]
