"""The contract of a task: an input law, a format, a vocabulary, a chance level, two worked examples.

A task is one file in `tasks/` with one class that derives from Task. It draws inputs (`draw`: the input law) and lays them out
as token sequences (`layout`: the format). Only tokens marked as answer are trained on and scored, and the end token if there is
one.
Numpy alone: tasks are used where torch is not loaded.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rpecli import catalog
from rpecli.choice import ChoiceError, parse_choice

PAD, BOS, SEP, END = range(4)
SPECIAL = 4  # symbol s is token s + SPECIAL
MARKS = {PAD: "_", BOS: ">", SEP: "|", END: "."}


@dataclass(frozen=True)
class Batch:
    """Sequences of one length: `tokens_BxT` (int64) and `answer_BxT` (bool), True where a token is the model's to say."""

    tokens_BxT: np.ndarray
    answer_BxT: np.ndarray


class Task:
    """Derive, describe in the docstring, fill the class attributes, write `draw` and `layout`."""

    symbols: int  # vocabulary without the special tokens; an instance may set its own
    family: ClassVar[str] = "other"  # what kind of problem it is, a word or two: reports put tasks of one family together
    defaults: ClassVar[dict[str, Any]] = {}  # recipe keys that suit this task: its training length, its steps
    examples: ClassVar[tuple[tuple[list[int], str], ...]] = ()  # (an input, its sequence as `text` writes it), tested

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Inputs of problem length `length`, symbols in `[batch, ...]`: the input law."""
        raise NotImplementedError

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """The token sequences of inputs: the format."""
        raise NotImplementedError

    def coupled(self, batch: Batch) -> np.ndarray | None:
        """Position ids `[B, T]` in which tokens that belong together share one; None where the task has no such thing."""
        return None

    def chance(self, length: int) -> float:
        """Token accuracy of the best answer that does not look at the input."""
        return 1 / self.symbols

    def longest(self) -> int | None:
        """The greatest problem length there is, None for no limit."""
        return None

    @property
    def vocabulary(self) -> int:
        """Tokens, special ones included."""
        return self.symbols + SPECIAL

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        return self.layout(self.draw(rng, batch, length))

    def sequence(self, length: int) -> int:
        """Tokens in a sequence of problem length `length`."""
        return self.sample(np.random.default_rng(0), 1, length).tokens_BxT.shape[1]

    def text(self, batch: Batch, row: int = 0) -> str:
        """One sequence for people: `> 1 0 | [1] .`, answers in brackets, > begin, | separator, . end."""
        pairs = zip(batch.tokens_BxT[row].tolist(), batch.answer_BxT[row].tolist(), strict=True)
        words = [(MARKS.get(token) or self.word(token - SPECIAL), answer) for token, answer in pairs]
        return " ".join(f"[{word}]" if answer else word for word, answer in words)

    def word(self, symbol: int) -> str:
        """How one symbol is written for people."""
        return str(symbol)


def build(choice: str) -> Task:
    """The task of `NAME:option=value` (or a file's path). Raises ChoiceError that names what is wrong."""
    name, options = parse_choice(choice)
    cls = catalog.load_class("tasks", name, Task)
    try:
        made = cls(**catalog.convert(cls, options, f"task {name}"))
        if made.symbols < 1:
            raise ValueError(f"symbols={made.symbols}: at least one is needed")
        return made
    except ValueError as error:
        raise ChoiceError(f"task {choice}: {error}") from error


def prompt_answer(prompt_BxP: np.ndarray, answer_BxA: np.ndarray) -> Batch:
    """Symbols to `> prompt | answer .`, the answer marked."""
    batch, n_prompt = prompt_BxP.shape
    n_answer = answer_BxA.shape[1]
    tokens_BxT = np.empty((batch, n_prompt + n_answer + 3), dtype=np.int64)
    tokens_BxT[:, 0] = BOS
    tokens_BxT[:, 1 : n_prompt + 1] = prompt_BxP + SPECIAL
    tokens_BxT[:, n_prompt + 1] = SEP
    tokens_BxT[:, n_prompt + 2 : -1] = answer_BxA + SPECIAL
    tokens_BxT[:, -1] = END
    answer_BxT = np.zeros(tokens_BxT.shape, dtype=bool)
    answer_BxT[:, n_prompt + 2 : -1] = True
    return Batch(tokens_BxT, answer_BxT)
