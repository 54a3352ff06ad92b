"""Answer every symbol of a string with the one after it in the alphabet, and the last symbol with the first.

Format       > x1 ... xn | [x1 + 1 ... xn + 1] .
Input law    every symbol is uniform over the vocabulary and independent
Chance       1 / symbols per token
Why          copying with a small calculation: the distance from an answer to its source is always the same
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class Template(Task):
    family = "copying"  # how reports group tasks: a family that ships (rpe ls tasks shows them), or a new word
    source = "title, year, arXiv id"
    order_matters = True  # False: the answer depends on what the input holds, not on where it stands
    defaults = {"length": 16, "steps": 600}  # recipe keys that suit the task; flags and recipes override them
    examples = (([0, 2, 7], "> 0 2 7 | [1] [3] [0] ."), ([3], "> 3 | [4] ."))  # (an input, its sequence), which are checked

    def __init__(self, *, symbols: int = 8):  # an option has a default: --task ./FILE.py:symbols=20
        self.symbols = symbols  # the symbols are 0 ... symbols - 1

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Inputs of one length, whole numbers `[batch, ...]`, from this generator alone."""
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """The token sequences of inputs, with the answers marked.

        `prompt_answer` makes `> prompt | [answer] .` of two arrays of symbols. rpecli/task.py also has `prompt_answer_rows` for
        lists of unlike length, `in_sequence` for answers inside the string, and `interleaved` for an answer behind every symbol.
        """
        return prompt_answer(x_BxN, (x_BxN + 1) % self.symbols)

    def chance(self, length: int) -> float:
        """Token accuracy of the best guess that does not look at the input; `measured_chance(self, length)` measures it."""
        return 1 / self.symbols

    # Other methods, with what they return unless you define them:
    #
    # def has_length(self, length):           whether there are problems of a length
    #     return True
    #
    # def longest(self):                      the greatest problem length; None for no limit
    #     return None
    #
    # def word(self, symbol):                 a symbol as text
    #     return str(symbol)
    #
    # def coupled(self, batch):               position ids [B, T] for `positions: coupled`
    #     return None
