"""Tries a task: its class, then its hooks on a few sequences of training lengths and beyond."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from rpecli import task as tasks
from rpecli.task import MEASURES, Batch, Task
from rpecli.trial.fault import Tried, described

SEQUENCES = 4
LONGEST_TRIED = 1024


def attempt(tried: Tried, lengths: tuple[int, ...]) -> None:
    """Raises Fault, or ChoiceError, for the first thing that is wrong."""
    with tried.trying("__init__"):
        task = tasks.build(tried.choice)
    _check_class(tried, task)
    longest = tried.call("longest", task.longest)
    if longest is not None and not (_is_whole(longest) and longest >= 1):
        raise tried.fault("longest", f"returned {described(longest)}, expected a whole number from 1 on, or None", task.longest)
    for length in lengths:
        has = tried.call("has_length", task.has_length, length)
        if not isinstance(has, bool | np.bool_):
            raise tried.fault("has_length", f"returned {described(has)}, expected True or False", task.has_length)
        if has and length <= LONGEST_TRIED:
            _check_length(tried, task, length)
    _check_examples(tried, task)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_class(tried: Tried, task: Task) -> None:
    if not isinstance(task.family, str) or not task.family:
        raise tried.fault("family", f"is {task.family!r:.40}, expected a word such as copying", "family")
    if task.measure not in MEASURES:
        raise tried.fault("measure", f"is {task.measure!r:.40}, expected {' or '.join(MEASURES)}", "measure")
    if not isinstance(task.title, str):
        raise tried.fault("title", f"is {task.title!r:.40}, expected a string", "title")


def _check_length(tried: Tried, task: Task, length: int) -> None:
    batches = [_sample(tried, task, length) for _ in range(2)]
    if not all(np.array_equal(a, b) for a, b in zip(*map(_arrays, batches), strict=True)):
        raise tried.fault("draw", "gave other inputs for the same rng: draw from that rng alone", task.draw)
    chance = tried.call("chance", task.chance, length)
    if not isinstance(chance, int | float | np.floating) or not 0 <= chance <= 1:
        raise tried.fault("chance", f"returned {described(chance)}, expected a number from 0 to 1", task.chance)
    chance_nll = tried.call("chance_nll", task.chance_nll, length)
    if not isinstance(chance_nll, int | float | np.floating) or not 0 <= chance_nll < np.inf:
        raise tried.fault("chance_nll", f"returned {described(chance_nll)}, expected nats from 0 on", task.chance_nll)
    coupled = tried.call("coupled", task.coupled, batches[0])
    if coupled is not None and getattr(coupled, "shape", None) != batches[0].tokens_BxT.shape:
        expected = f"expected [B, T] = {list(batches[0].tokens_BxT.shape)}, or None"
        raise tried.fault("coupled", f"returned {described(coupled)}, {expected}", task.coupled)
    tried.call("word", task.text, batches[0])


def _arrays(batch: Batch) -> list[np.ndarray]:
    return [batch.tokens_BxT, batch.answer_mask_BxT]


def _sample(tried: Tried, task: Task, length: int) -> Batch:
    x_BxN = tried.call("draw", task.draw, np.random.default_rng(0), SEQUENCES, length)
    if not isinstance(x_BxN, np.ndarray) or not x_BxN.ndim or len(x_BxN) != SEQUENCES:
        raise tried.fault("draw", f"returned {described(x_BxN)}, expected an array [batch, ...] = [{SEQUENCES}, ...]", task.draw)
    if x_BxN.dtype.kind not in "biu":
        raise tried.fault("draw", f"returned an array of {x_BxN.dtype}, expected whole numbers", task.draw)
    batch = tried.call("layout", task.layout, x_BxN)
    _check_batch(tried, task, batch, task.layout)
    return batch


def _check_batch(tried: Tried, task: Task, batch: Any, layout: Callable[..., Any]) -> None:
    def wrong(text: str) -> Exception:
        return tried.fault("layout", text, layout)

    if not isinstance(batch, Batch):
        raise wrong(f"returned {described(batch)}, expected a Batch: return prompt_answer(prompt, answer)")
    tokens, answer = batch.tokens_BxT, batch.answer_mask_BxT
    if not isinstance(tokens, np.ndarray) or tokens.ndim != 2 or len(tokens) != SEQUENCES:
        raise wrong(f"gave tokens of {described(tokens)}, expected [B, T] = [{SEQUENCES}, T]")
    if tokens.dtype != np.int64:
        raise wrong(f"gave tokens of type {tokens.dtype}, expected int64")
    if not isinstance(answer, np.ndarray) or answer.shape != tokens.shape or answer.dtype != bool:
        kind = getattr(answer, "dtype", "")
        raise wrong(f"gave an answer mask of {described(answer)} {kind}, expected bool {list(tokens.shape)}")
    if tokens.min() < 0 or tokens.max() >= task.vocabulary:
        low, high = int(tokens.min()), int(tokens.max())
        raise wrong(f"gave tokens from {low} to {high}, expected 0 to {task.vocabulary - 1}: symbols = {task.symbols}")
    if not answer.any(1).all():
        raise wrong("marked no token of a sequence as answer")
    if answer[:, 0].any():
        raise wrong("marked the first token as answer, which no model can predict: begin with BOS")


def _check_examples(tried: Tried, task: Task) -> None:
    examples = task.examples
    if not isinstance(examples, tuple | list):
        raise tried.fault(
            "examples", f"is {described(examples)}, expected pairs of an input and its sequence as text", "examples"
        )
    if _has_options(task):
        return  # they are those of the options' defaults
    for example in examples:
        with tried.trying("examples", "examples"):
            inputs, text = example
            shown = task.text(task.layout(np.array([inputs])))
        if shown != text:
            raise tried.fault("examples", f"states {text!r:.80}, but the sequence of {inputs} is {shown!r:.80}", "examples")


def _has_options(task: Task) -> bool:
    parameters = inspect.signature(type(task)).parameters
    return any(getattr(task, name, parameter.default) != parameter.default for name, parameter in parameters.items())
