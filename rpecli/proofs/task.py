"""What must hold of the sequences of every task: what is wrong with them, in words, or None."""

from typing import Any

import numpy as np

from rpecli.task import BOS, END, PAD, SEP, Batch, Task

NAMES = {PAD: "padding", BOS: "BOS", SEP: "SEP", END: "END"}


def out_of_range(task: Task, batch: Batch) -> str | None:
    """Tokens outside the vocabulary."""
    low, high = int(batch.tokens_BxT.min()), int(batch.tokens_BxT.max())
    if low >= 0 and high < task.vocabulary:
        return None
    return f"gave tokens from {low} to {high}, expected 0 to {task.vocabulary - 1}: symbols = {task.symbols}"


def wrong_order(task: Task, batch: Batch) -> str | None:
    """No begin, padding before or between tokens, an end that only some sequences have."""
    tokens_BxT = batch.tokens_BxT
    begins_BxT, padding_BxT = tokens_BxT == BOS, tokens_BxT == PAD
    if not (begins_BxT == (np.arange(tokens_BxT.shape[1]) == 0)).all():
        return f"gave {_row(task, batch, 0)}, expected one BOS (token {BOS}) at the beginning"
    behind_BxT = np.sort(padding_BxT, axis=1)
    if not (behind_BxT == padding_BxT).all():
        row = int((behind_BxT != padding_BxT).any(axis=1).argmax())
        return f"gave {_row(task, batch, row)}, expected padding (PAD, token {PAD}) behind all other tokens"
    if padding_BxT.all(axis=0).any():
        return "gave a column of padding alone: make the array as wide as the longest sequence"
    n_end_B = (tokens_BxT == END).sum(axis=1)
    if n_end_B.max() > 1 or n_end_B.min() != n_end_B.max():
        return f"gave {n_end_B.min()} to {n_end_B.max()} end tokens a sequence, expected one in all sequences, or in none"
    last_B = (~padding_BxT).sum(axis=1) - 1
    if n_end_B.max() and not (tokens_BxT[np.arange(len(tokens_BxT)), last_B] == END).all():
        return f"gave {_row(task, batch, 0)}, which goes on behind its end token"
    return None


def unmarked(batch: Batch) -> str | None:
    """Sequences without an answer, or with one that no model can predict."""
    answer_BxT = batch.answer_mask_BxT
    if not answer_BxT.any(axis=1).all():
        return "marked no token of a sequence as answer"
    if answer_BxT[:, 0].any():
        return "marked the first token as answer, which no model can predict: begin with BOS"
    return None


def wrong_answers(batch: Batch) -> str | None:
    """Answers that are no symbols, sets without the token that comes."""
    tokens_BxT, answer_BxT = batch.tokens_BxT, batch.answer_mask_BxT
    if batch.sets_BxT is not None:
        allowed = (batch.sets_BxT >> tokens_BxT & 1)[answer_BxT].all()
        return None if allowed else "gave a set of next tokens without the token that comes next"
    special = [name for token, name in NAMES.items() if (answer_BxT & (tokens_BxT == token)).any()]
    return f"marked {special[0]} as answer, expected symbols only" if special else None


def wrong_layout(task: Task, batch: Batch) -> str | None:
    """The first of all that can be wrong with the sequences of one batch."""
    return out_of_range(task, batch) or wrong_order(task, batch) or unmarked(batch) or wrong_answers(batch)


def same_twice(task: Task, length: int, sequences: int = 6) -> bool:
    """Whether inputs are a function of their generator alone, whatever other generators do and whoever drew before."""
    np.random.seed(1)
    first = task.draw(np.random.default_rng(0), sequences, length)
    np.random.seed(2)
    return np.array_equal(first, task.draw(np.random.default_rng(0), sequences, length))


def layout_changes(task: Task, x: Any) -> str | None:
    """A layout that changes its input, or gives a sequence of its own among others than alone."""
    before = x.copy()
    whole = task.layout(x)
    if not np.array_equal(x, before):
        return "changed its input: make a copy before you write into it"
    for row in range(len(x)):
        alone = task.layout(x[row : row + 1])
        if task.text(alone) != task.text(whole, row):
            return f"gave {_row(task, alone, 0)} of an input alone and {_row(task, whole, row)} of it among others"
    return None


def chance_tolerance(chance: float, sequences: int) -> float:
    """How far a chance that is right may be from the measured one."""
    return float(5 * np.sqrt(max(chance * (1 - chance), 0.01) / sequences) + 0.003)


def _row(task: Task, batch: Batch, row: int) -> str:
    return f"{task.text(batch, row)!r:.90}"
