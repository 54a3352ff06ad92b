"""Tries a task: its class, then its hooks on a few sequences of training lengths and beyond."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rpecli import task as tasks
from rpecli.choice import parse_choice
from rpecli.proofs import task as proofs
from rpecli.task import MEASURES, Batch, Task
from rpecli.trial.fault import Tried, described

SEQUENCES = 4
LONGEST_TRIED = 1024
NEEDED = ("draw", "layout")  # hooks that a subclass of Task defines


@dataclass
class Subject:
    """A task to try at some problem lengths, and batches of it that are drawn once."""

    tried: Tried
    lengths: tuple[int, ...]
    drawn: dict[int, Batch] = field(default_factory=dict)

    @cached_property
    def task(self) -> Task:
        with self.tried.trying("__init__"):
            return tasks.build(self.tried.choice)

    @cached_property
    def lengths_to_draw(self) -> list[int]:
        """Those of the lengths that have problems, as far as trying them is quick; where none has, the nearest to the first."""
        having = [length for length in self.lengths if self.has_length(length)]
        if self.lengths and not having:
            near = self.tried.call("has_length", self.task.nearest_length, self.lengths[0])
            having = [near] * self.has_length(near)
        return [length for length in having if length <= LONGEST_TRIED]

    def has_length(self, length: int) -> bool:
        has = self.tried.call("has_length", self.task.has_length, length)
        if not isinstance(has, bool | np.bool_):
            raise self.tried.fault("has_length", f"returned {described(has)}, expected True or False", self.task.has_length)
        return bool(has)

    def inputs(self, length: int) -> np.ndarray:
        """What `draw` gives, which is an array of whole numbers."""
        tried, draw = self.tried, self.task.draw
        x_BxN = tried.call("draw", draw, np.random.default_rng(0), SEQUENCES, length)
        if not isinstance(x_BxN, np.ndarray) or not x_BxN.ndim or len(x_BxN) != SEQUENCES:
            raise tried.fault("draw", f"returned {described(x_BxN)}, expected an array [batch, ...] = [{SEQUENCES}, ...]", draw)
        if x_BxN.dtype.kind not in "biu":
            raise tried.fault("draw", f"returned an array of {x_BxN.dtype}, expected whole numbers", draw)
        return x_BxN

    def batch(self, length: int) -> Batch:
        """A few sequences of a length, as arrays of the shapes and types that the engine needs."""
        if length not in self.drawn:
            batch = self.tried.call("layout", self.task.layout, self.inputs(length))
            if problem := _wrong_arrays(batch):
                raise self.tried.fault("layout", problem, self.task.layout)
            self.drawn[length] = batch
        return self.drawn[length]

    @property
    def batches(self) -> list[Batch]:
        return [self.batch(length) for length in self.lengths_to_draw]

    def require(self, hook: str, problem: str | None) -> None:
        """Raises Fault with a problem of what a hook returned, if there is one."""
        if problem:
            raise self.tried.fault(hook, problem, getattr(self.task, hook))


def _wrong_arrays(batch: Any) -> str | None:
    if not isinstance(batch, Batch):
        return f"returned {described(batch)}, expected a Batch: return prompt_answer(prompt, answer)"
    tokens, answer = batch.tokens_BxT, batch.answer_mask_BxT
    if not isinstance(tokens, np.ndarray) or tokens.ndim != 2 or len(tokens) != SEQUENCES:
        return f"gave tokens of {described(tokens)}, expected [B, T] = [{SEQUENCES}, T]"
    if tokens.dtype != np.int64:
        return f"gave tokens of type {tokens.dtype}, expected int64"
    if not isinstance(answer, np.ndarray) or answer.shape != tokens.shape or answer.dtype != bool:
        return f"gave an answer mask of {described(answer)} {getattr(answer, 'dtype', '')}, expected bool {list(tokens.shape)}"
    return None


def attempt(tried: Tried, lengths: tuple[int, ...]) -> None:
    """Raises Fault, or ChoiceError, for the first thing that is wrong."""
    subject = Subject(tried, lengths)
    for step in (shapes, marks, same_seed, chance_in_range, examples):
        step(subject)


def shapes(subject: Subject) -> None:
    """The types of what the class states, and of what its hooks return."""
    tried, task = subject.tried, subject.task
    for hook in NEEDED:
        if getattr(type(task), hook) is getattr(Task, hook):
            raise tried.fault(hook, f"is missing: {type(task).__name__} derives from Task, which needs it", type(task))
    if not isinstance(task.family, str) or not task.family:
        raise tried.fault("family", f"is {task.family!r:.40}, expected a word such as copying", "family")
    if task.measure not in MEASURES:
        raise tried.fault("measure", f"is {task.measure!r:.40}, expected {' or '.join(MEASURES)}", "measure")
    if not isinstance(task.title, str):
        raise tried.fault("title", f"is {task.title!r:.40}, expected a string", "title")
    longest = tried.call("longest", task.longest)
    if longest is not None and not (_is_whole(longest) and longest >= 1):
        raise tried.fault("longest", f"returned {described(longest)}, expected a whole number from 1 on, or None", task.longest)
    for batch in subject.batches:
        coupled = tried.call("coupled", task.coupled, batch)
        if coupled is not None and getattr(coupled, "shape", None) != batch.tokens_BxT.shape:
            expected = f"expected [B, T] = {list(batch.tokens_BxT.shape)}, or None"
            raise tried.fault("coupled", f"returned {described(coupled)}, {expected}", task.coupled)

    if task.size_names and subject.lengths_to_draw:
        _two_sizes(subject)


def _two_sizes(subject: Subject) -> None:
    """What a task with two sizes gives for a pair of them."""
    tried, task, length = subject.tried, subject.task, subject.lengths_to_draw[0]
    names = task.size_names
    if not isinstance(names, list | tuple) or len(names) != 2 or not all(isinstance(name, str) for name in names):
        raise tried.fault("size_names", f"is {names!r:.40}, expected two words such as ('rows', 'columns')", "size_names")
    x_BxN = tried.call("draw_sizes", task.draw_sizes, np.random.default_rng(0), SEQUENCES, (length, length))
    if problem := _wrong_arrays(tried.call("layout", task.layout, x_BxN)):
        raise tried.fault("draw_sizes", f"and layout: {problem}", task.draw_sizes)
    trained = tried.call("trained_sizes", task.trained_sizes, length)
    if not isinstance(trained, tuple) or len(trained) != 2 or not all(_is_whole(size) and size >= 1 for size in trained):
        raise tried.fault(
            "trained_sizes", f"returned {described(trained)}, expected two whole numbers from 1 on", task.trained_sizes
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def marks(subject: Subject) -> None:
    """Sequences as the engine needs them, answers that can be predicted, and their words."""
    for batch in subject.batches:
        subject.require("layout", proofs.wrong_layout(subject.task, batch))
        subject.tried.call("word", subject.task.text, batch)


def same_seed(subject: Subject) -> None:
    for length in subject.lengths_to_draw:
        same = subject.tried.call("draw", proofs.same_twice, subject.task, length)
        subject.require("draw", None if same else "gave other inputs for the same rng: draw from that rng alone")


def chance_in_range(subject: Subject) -> None:
    for length in subject.lengths_to_draw:
        chance = subject.tried.call("chance", subject.task.chance, length)
        is_number = isinstance(chance, int | float | np.floating) and 0 <= chance <= 1
        subject.require("chance", None if is_number else f"returned {described(chance)}, expected a number from 0 to 1")
        nats = subject.tried.call("chance_nll", subject.task.chance_nll, length)
        is_number = isinstance(nats, int | float | np.floating) and 0 <= nats < np.inf
        subject.require("chance_nll", None if is_number else f"returned {described(nats)}, expected nats from 0 on")


def examples(subject: Subject) -> None:
    tried, task, pairs = subject.tried, subject.task, subject.task.examples
    if not isinstance(pairs, tuple | list):
        raise tried.fault("examples", f"is {described(pairs)}, expected pairs of an input and its sequence as text", "examples")
    if parse_choice(tried.choice)[1]:
        return  # they are those of the options' defaults
    for pair in pairs:
        with tried.trying("examples", "examples"):
            inputs, text = pair
            shown = task.text(task.layout(np.array([inputs])))
        if shown != text:
            raise tried.fault("examples", f"states {text!r:.80}, but the sequence of {inputs} is {shown!r:.80}", "examples")
