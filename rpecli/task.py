"""The contract of a task: an input law, a format, a vocabulary, a chance level, two worked examples.

A task is one file in `tasks/` with one class that derives from Task. It draws inputs (`draw`: the input law) and lays them out as
token sequences (`layout`: the format). Only the tokens marked as answer, and the end token if there is one, are trained on and
scored. Sequences of one problem length may differ in tokens: PAD follows the shorter ones. Tasks use numpy alone: they are also
loaded where torch is not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, ClassVar

import numpy as np

from rpecli import catalog
from rpecli.choice import ChoiceError, parse_choice

PAD, BOS, SEP, END = range(4)
SPECIAL = 4  # symbol s is token s + SPECIAL
MEASURES = ("accuracy", "perplexity")  # values of Task.measure
MARKS = {PAD: "_", BOS: ">", SEP: "|", END: "."}


@dataclass(frozen=True)
class Batch:
    """Sequences of one problem length, `[B, T]`."""

    tokens_BxT: np.ndarray  # int64
    answer_mask_BxT: np.ndarray  # bool: the token is part of the answer
    sets_BxT: np.ndarray | None = None  # int64: the tokens that may stand here after those before, bit v for token v
    trained_mask_BxT: np.ndarray | None = None  # bool: the token counts in the loss; None: those of the answer and the end
    group_B: np.ndarray | None = None  # int64: sequences of one group are right answers to one problem, any of which counts

    def rows(self, start: int, stop: int) -> "Batch":
        """The sequences start..stop-1."""
        return self.of(slice(start, stop))

    def of(self, index: slice | np.ndarray) -> "Batch":
        """The sequences of an index."""
        return Batch(*(None if array is None else array[index] for array in vars(self).values()))  # type: ignore[arg-type]


class Task:
    """A subclass sets the class attributes, describes itself in its module's docstring, and defines `draw` and `layout`."""

    title: ClassVar[str] = ""  # the name that reports show; without one, that of the file
    source: ClassVar[str] = ""  # the paper that has the task in this form: `Title, year, arXiv id`
    variants: ClassVar[dict[str, dict[str, Any]]] = {}  # options that papers use, in alphabetical order (`format=bit:law=count`),
    # with the keys of `defaults` that suit them better: they are listed as tasks of their own
    order_matters: bool = True  # whether the answer changes with the order of the input; an instance may set its own
    expressible: ClassVar[dict[str, tuple[bool, bool]]] = {}  # by options ("" for none): whether a C-RASP program solves it with
    # absolute positions, and with none (Huang et al. 2025, arXiv 2410.02140), which predicts length generalization
    size_names: Sequence[
        str
    ] = ()  # what the two sizes of a problem count, for a task with `draw_sizes`; an instance may set its own
    notes: Sequence[str] = ()  # what was guessed or is unusual about this task, told before training
    predicts_sets: ClassVar[bool] = False  # every answer is the set of tokens that may come next: layout gives `sets_BxT`
    symbols: int  # size of the vocabulary without the special tokens; an instance may set its own
    measure: ClassVar[str] = "accuracy"  # what reports show and test: accuracy, or perplexity where answers are never certain
    family: ClassVar[str] = "other"  # the kind of problem, in a word or two: reports pool the tasks of a family
    defaults: ClassVar[dict[str, Any]] = {}  # recipe keys that suit this task: its training length, its steps
    examples: ClassVar[tuple[tuple[list[int], str], ...]] = ()  # (an input, its sequence as `text` writes it); tests check them

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Inputs of problem length `length`: symbols, `[batch, ...]`."""
        raise NotImplementedError

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """The token sequences of inputs."""
        raise NotImplementedError

    def trained_sizes(self, length: int) -> tuple[int, int]:
        """The greatest two sizes in training to a length, of a task that has two."""
        return length, length

    def draw_sizes(self, rng: np.random.Generator, batch: int, sizes: tuple[int, int]) -> np.ndarray:
        """Inputs of two sizes, of a task that names them in `size_names`: what `rpe eval --grid` evaluates on."""
        raise NotImplementedError

    def coupled(self, batch: Batch) -> np.ndarray | None:
        """Position ids `[B, T]` in which tokens that belong together share an id; None if the task has none."""
        return None

    def chance(self, length: int) -> float:
        """Token accuracy of the best guess that does not look at the input.

        By default 1 / symbols. A task whose answers are not uniform computes its own, or returns `measured_chance(self, length)`.
        """
        return 1 / self.symbols

    def chance_nll(self, length: int) -> float:
        """Nats per answer token of the best guess that does not look at the input, of a task that is measured by perplexity."""
        return math.log(self.symbols)

    def longest(self) -> int | None:
        """The greatest problem length; None for no limit."""
        return None

    def has_length(self, length: int) -> bool:
        """Whether there are problems of this length."""
        longest = self.longest()
        return longest is None or length <= longest

    def why_not(self, length: int) -> str:
        """Why there are no problems of a length, in words."""
        longest = self.longest()
        return "longer than " + str(longest) if longest is not None and length > longest else f"of length {length}"

    def nearest_length(self, length: int) -> int:
        """The length to train in place of one that has no problems: the nearest below, else the nearest above."""
        longest = self.longest()
        below = range(length if longest is None else min(length, longest), 0, -1)
        return next(filter(self.has_length, chain(below, range(length + 1, 2 * length + 64))), length)

    def split(self, name: str, trained_to: int | None = None) -> "Task":
        """The task whose problems are those of `train`, `validation` or `test`: itself where problems are drawn, not read.

        `trained_to` is the training length of a run, where the split depends on it.
        """
        return self

    def fixed_set(self, length: int, sequences: int) -> Batch | None:
        """The first of finitely many problems of a length, at most `sequences`; None where they are drawn."""
        return None

    def problems(self, longest: int | None = None) -> int | None:
        """How many problems there are, up to a length; None where they are drawn, not read."""
        return None

    def copied_rows(self) -> int:
        """How many rows repeat others, where problems are read."""
        return 0

    @property
    def vocabulary(self) -> int:
        """Number of tokens, special ones included."""
        return self.symbols + SPECIAL

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        return self.layout(self.draw(rng, batch, length))

    def sequence(self, length: int) -> int:
        """Number of tokens in a sequence of problem length `length`; a task whose sequences differ gives the most there are."""
        return self.sample(np.random.default_rng(0), 1, length).tokens_BxT.shape[1]

    def text(self, batch: Batch, row: int = 0) -> str:
        """A sequence as text, `> 1 0 | [1] .`: answers in brackets, > begin, | separator, . end; padding is left out.

        A set of tokens stands before the token that came: `{a b}a`.
        """
        n = int(np.flatnonzero(batch.tokens_BxT[row] != PAD)[-1]) + 1
        words, is_answer = self.words(batch.tokens_BxT[row, :n].tolist()), batch.answer_mask_BxT[row, :n].tolist()
        if batch.sets_BxT is None:
            return " ".join(f"[{word}]" if answer else word for word, answer in zip(words, is_answer, strict=True))
        sets = self.set_words(batch.sets_BxT[row, :n].tolist())
        return " ".join(f"{allowed * answer}{word}" for word, allowed, answer in zip(words, sets, is_answer, strict=True))

    def words(self, tokens: list[int]) -> list[str]:
        """Tokens as text, special ones by their mark."""
        return [MARKS.get(token) or self.word(token - SPECIAL) for token in tokens]

    def set_words(self, sets: list[int]) -> list[str]:
        """Sets of tokens as text: `{a b .}`."""
        tokens = [[token for token in range(self.vocabulary) if bits >> token & 1] for bits in sets]
        return ["{" + " ".join(self.words(members)) + "}" for members in tokens]

    def word(self, symbol: int) -> str:
        """A symbol as text."""
        return str(symbol)


def joined(batches: Sequence[Batch]) -> Batch:
    """The sequences of several batches as one, padded behind to the longest."""
    arrays = zip(*(vars(batch).values() for batch in batches), strict=True)
    return Batch(*(None if parts[0] is None else _below(parts) for parts in arrays))  # type: ignore[arg-type]


def _below(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays `[B, t]` as one, with zeros behind the narrower ones, which is PAD, in no answer, no set; others just joined."""
    if parts[0].ndim < 2:
        return np.concatenate(parts)
    whole = np.zeros((sum(map(len, parts)), max(part.shape[1] for part in parts)), dtype=parts[0].dtype)
    row = 0
    for part in parts:
        whole[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    return whole


def build(choice: str) -> Task:
    """The task of `NAME:option=value` or `PATH:option=value`.

    Raises choice.ChoiceError for a task that does not exist, an unknown option or a value that the task rejects.
    """
    name, options = parse_choice(choice)
    cls = catalog.load_class("tasks", name, Task)
    values = catalog.convert(cls, options, f"task {name}")
    if values.get("symbols", 1) < 1:
        raise ChoiceError(f"task {choice}: symbols is at least 1, not {values['symbols']}")
    task = catalog.construct(cls, (), values, f"task {choice}")
    symbols = getattr(task, "symbols", None)
    if not isinstance(symbols, int) or isinstance(symbols, bool) or symbols < 1:
        raise ChoiceError(f"task {choice}: symbols={symbols!r:.40}: a whole number from 1 on is needed: write symbols = 8")
    return task


@lru_cache(maxsize=256)
def measured_chance(task: Task, length: int, sequences: int = 4000) -> float:
    """`Task.chance` by measurement: the likeliest answer at each place, of one half of a sample, scored on the other half.

    Where sets are predicted, the place is a part of what is read: the likeliest set of all places.

    `sequences` are fewer where they are long. Its standard error is about 0.01 where answers have one or two tokens, and
    less where they have more.
    """
    n = max(200, min(sequences, 2_000_000 // max(1, task.sequence(length))))
    batch = task.sample(np.random.default_rng(0), n, length)
    return blind_accuracy(batch, n // 2)


def blind_accuracy(batch: Batch, half: int) -> float:
    """The token accuracy, on the other sequences, of the likeliest answer at each place of the first `half` of them."""
    targets_BxT, answer_BxT = batch.tokens_BxT if batch.sets_BxT is None else batch.sets_BxT, batch.answer_mask_BxT
    place_BxT = np.where(batch.sets_BxT is None, answer_BxT.cumsum(axis=1) - 1, 0)
    n_right = 0
    for place in range(int(place_BxT.max()) + 1):
        here_BxT = answer_BxT & (place_BxT == place)
        known, asked = targets_BxT[:half][here_BxT[:half]], targets_BxT[half:][here_BxT[half:]]
        if len(known):
            values, counts = np.unique(known, return_counts=True)
            n_right += int((asked == values[counts.argmax()]).sum())
    return n_right / max(1, int(answer_BxT[half:].sum()))


def draw_distinct(rng: np.random.Generator, batch: int, length: int, symbols: int) -> np.ndarray:
    """Uniform random subsets of the symbols in random order, `[batch, length]`. Raises ValueError where there are too few."""
    if length > symbols:
        raise ValueError(f"no {length} distinct symbols among {symbols}: length {symbols} is the longest")
    return rng.permuted(np.broadcast_to(np.arange(symbols), (batch, symbols)), axis=1)[:, :length]


def draw_places(rng: np.random.Generator, batch: int, length: int, n: int, width: int) -> np.ndarray:
    """Where `n` runs of `width` symbols start within `length`, in order, `[batch, n]`: uniform over all ways without overlap."""
    gaps = length - (width - 1) * n  # a run takes one of these
    chosen_BxG = rng.permuted(np.broadcast_to(np.arange(gaps) < n, (batch, gaps)), axis=1)
    return np.argwhere(chosen_BxG)[:, 1].reshape(batch, n) + (width - 1) * np.arange(n)


def rows_of(sequences: Sequence[Sequence[int]], shift: int = 0) -> np.ndarray:
    """Token sequences of unlike length as one array `[B, T]`, padded behind; `shift` is added to every token before."""
    lengths_B = np.array([len(tokens) for tokens in sequences])
    tokens_BxT = np.full((len(sequences), int(lengths_B.max())), PAD, dtype=np.int64)
    tokens_BxT[np.arange(tokens_BxT.shape[1]) < lengths_B[:, None]] = (
        np.fromiter(chain.from_iterable(sequences), np.int64) + shift
    )
    return tokens_BxT


def _require_whole(*arrays: np.ndarray) -> None:
    """Raises ValueError for symbols with a fraction, which would be cut off."""
    for array in arrays:
        if array.dtype.kind == "f" and (fractions := array[array != np.floor(array)]).size:
            raise ValueError(f"symbols are whole numbers, and {fractions[0]} is not one")


def prompt_answer(prompt_BxP: np.ndarray, answer_BxA: np.ndarray, length_B: np.ndarray | None = None) -> Batch:
    """The sequences `> prompt | answer .` of symbols, with the answer marked; of every answer the first `length_B` symbols."""
    _require_whole(prompt_BxP, answer_BxA)
    batch, n_prompt = prompt_BxP.shape
    start, n_answer = n_prompt + 2, answer_BxA.shape[1] if length_B is None else int(length_B.max())
    tokens_BxT = np.full((batch, start + n_answer + 1), END, dtype=np.int64)
    tokens_BxT[:, 0], tokens_BxT[:, n_prompt + 1] = BOS, SEP
    tokens_BxT[:, 1 : n_prompt + 1] = prompt_BxP + SPECIAL
    tokens_BxT[:, start:-1] = answer_BxA[:, :n_answer] + SPECIAL
    answer_mask_BxT = np.zeros(tokens_BxT.shape, dtype=bool)
    answer_mask_BxT[:, start:-1] = True
    if length_B is not None:
        place_A = np.arange(n_answer + 1)  # that of the end token included
        answer_mask_BxT[:, start:] = place_A < length_B[:, None]
        tokens_BxT[:, start:][place_A > length_B[:, None]] = PAD
        tokens_BxT[np.arange(batch), start + length_B] = END
    return Batch(tokens_BxT, answer_mask_BxT)


def prompt_answer_rows(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Batch:
    """The same of prompts and answers of unlike length."""
    pairs = list(zip(prompts, answers, strict=True))
    tokens_BxT = rows_of([[BOS - SPECIAL, *prompt, SEP - SPECIAL, *answer, END - SPECIAL] for prompt, answer in pairs], SPECIAL)
    start_B, length_B = (np.array([len(part) for part in parts]) for parts in (prompts, answers))
    place_BxT = np.arange(tokens_BxT.shape[1]) - start_B[:, None] - 2
    return Batch(tokens_BxT, (place_BxT >= 0) & (place_BxT < length_B[:, None]))


def in_sequence(x_BxN: np.ndarray, answer_BxN: np.ndarray, language_model: bool = False) -> Batch:
    """The sequences `> x` of symbols, of which those in `answer_BxN` are the answer; no end token.

    With `language_model` every symbol is trained on, not the answer alone.
    """
    _require_whole(x_BxN)
    tokens_BxT = np.full((len(x_BxN), x_BxN.shape[1] + 1), BOS, dtype=np.int64)
    tokens_BxT[:, 1:] = x_BxN + SPECIAL
    answer_mask_BxT = np.zeros(tokens_BxT.shape, dtype=bool)
    answer_mask_BxT[:, 1:] = answer_BxN
    return Batch(tokens_BxT, answer_mask_BxT, trained_mask_BxT=tokens_BxT != BOS if language_model else None)


def interleaved(x_BxN: np.ndarray, answer_BxA: np.ndarray) -> Batch:
    """The sequences `> x` in which an answer stands behind each of the last A symbols."""
    first = x_BxN.shape[1] - answer_BxA.shape[1]
    pairs_BxM = np.stack([x_BxN[:, first:], answer_BxA], axis=2).reshape(len(x_BxN), -1)
    place_M = np.arange(first + pairs_BxM.shape[1])
    is_answer_M = (place_M >= first) & ((place_M - first) % 2 == 1)
    return in_sequence(np.concatenate([x_BxN[:, :first], pairs_BxM], axis=1), is_answer_M)
