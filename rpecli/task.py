"""The contract of a task: an input law, a format, a vocabulary, a chance level, two worked examples.

A task is one file in `tasks/` with one class that derives from Task. It draws inputs (`draw`: the input law) and lays them out as
token sequences (`layout`: the format). Only the tokens marked as answer, and the end token if there is one, are trained on and
scored. Tasks use numpy alone: they are also loaded where torch is not.
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
    """Sequences of one length, `[B, T]`."""

    tokens_BxT: np.ndarray  # int64
    answer_mask_BxT: np.ndarray  # bool: the token is part of the answer

    def rows(self, start: int, stop: int) -> "Batch":
        """The sequences start..stop-1."""
        return Batch(self.tokens_BxT[start:stop], self.answer_mask_BxT[start:stop])


class Task:
    """A subclass sets the class attributes, describes itself in its module's docstring, and defines `draw` and `layout`."""

    title: ClassVar[str] = ""  # the name that reports show; without one, that of the file
    symbols: int  # size of the vocabulary without the special tokens; an instance may set its own
    family: ClassVar[str] = "other"  # the kind of problem, in a word or two: reports pool the tasks of a family
    defaults: ClassVar[dict[str, Any]] = {}  # recipe keys that suit this task: its training length, its steps
    examples: ClassVar[tuple[tuple[list[int], str], ...]] = ()  # (an input, its sequence as `text` writes it); tests check them

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Inputs of problem length `length`: symbols, `[batch, ...]`."""
        raise NotImplementedError

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """The token sequences of inputs."""
        raise NotImplementedError

    def coupled(self, batch: Batch) -> np.ndarray | None:
        """Position ids `[B, T]` in which tokens that belong together share an id; None if the task has none."""
        return None

    def chance(self, length: int) -> float:
        """Token accuracy of the best guess that does not look at the input."""
        return 1 / self.symbols

    def longest(self) -> int | None:
        """The greatest problem length; None for no limit."""
        return None

    def has_length(self, length: int) -> bool:
        """Whether there are problems of this length."""
        longest = self.longest()
        return longest is None or length <= longest

    @property
    def vocabulary(self) -> int:
        """Number of tokens, special ones included."""
        return self.symbols + SPECIAL

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        return self.layout(self.draw(rng, batch, length))

    def sequence(self, length: int) -> int:
        """Number of tokens in a sequence of problem length `length`."""
        return self.sample(np.random.default_rng(0), 1, length).tokens_BxT.shape[1]

    def text(self, batch: Batch, row: int = 0) -> str:
        """A sequence as text, `> 1 0 | [1] .`: answers in brackets, > begin, | separator, . end."""
        words, is_answer = self.words(batch.tokens_BxT[row].tolist()), batch.answer_mask_BxT[row].tolist()
        return " ".join(f"[{word}]" if answer else word for word, answer in zip(words, is_answer, strict=True))

    def words(self, tokens: list[int]) -> list[str]:
        """Tokens as text, special ones by their mark."""
        return [MARKS.get(token) or self.word(token - SPECIAL) for token in tokens]

    def word(self, symbol: int) -> str:
        """A symbol as text."""
        return str(symbol)


def build(choice: str) -> Task:
    """The task of `NAME:option=value` or `PATH:option=value`.

    Raises choice.ChoiceError for a task that does not exist, an unknown option or a value that the task rejects.
    """
    name, options = parse_choice(choice)
    cls = catalog.load_class("tasks", name, Task)
    try:
        task = cls(**catalog.convert(cls, options, f"task {name}"))
        if task.symbols < 1:
            raise ValueError(f"symbols={task.symbols}: at least one is needed")
        return task
    except ValueError as error:
        raise ChoiceError(f"task {choice}: {error}") from error


def prompt_answer(prompt_BxP: np.ndarray, answer_BxA: np.ndarray) -> Batch:
    """The sequences `> prompt | answer .` of symbols, with the answer marked."""
    (batch, n_prompt), n_answer = prompt_BxP.shape, answer_BxA.shape[1]
    answer_start = n_prompt + 2
    tokens_BxT = np.empty((batch, n_prompt + n_answer + 3), dtype=np.int64)
    tokens_BxT[:, 0] = BOS
    tokens_BxT[:, 1 : n_prompt + 1] = prompt_BxP + SPECIAL
    tokens_BxT[:, n_prompt + 1] = SEP
    tokens_BxT[:, answer_start:-1] = answer_BxA + SPECIAL
    tokens_BxT[:, -1] = END
    answer_mask_BxT = np.zeros(tokens_BxT.shape, dtype=bool)
    answer_mask_BxT[:, answer_start:-1] = True
    return Batch(tokens_BxT, answer_mask_BxT)
