"""Sequences of unlike length from arrays of fixed width: absent symbols are -1 in the array, and left out of the sequence.

A task writes a symbol for every place that could have one, such as the digits of the longest number, with ABSENT where there is
none. That keeps drawing and layout vectorised where the lengths of parts differ from string to string.
"""

from collections.abc import Sequence

import numpy as np

from rpecli.task import BOS, END, PAD, SEP, SPECIAL, Batch

ABSENT = -1


def closed_up(x_BxW: np.ndarray, *more_BxW: np.ndarray) -> list[np.ndarray]:
    """The arrays without the places where the first is ABSENT; what stays moves to the front, and 0, which is PAD, follows."""
    present_BxW = x_BxW != ABSENT
    if present_BxW.all():
        return [x_BxW, *more_BxW]
    order_BxT = np.argsort(~present_BxW, axis=1, kind="stable")[:, : int(present_BxW.sum(axis=1).max())]
    present_BxT = np.take_along_axis(present_BxW, order_BxT, axis=1)
    return [np.take_along_axis(array, order_BxT, axis=1) * present_BxT for array in (x_BxW, *more_BxW)]


def sequences(parts: Sequence[tuple[np.ndarray, bool | np.ndarray]], *, end: bool = False, language_model: bool = False) -> Batch:
    """The sequences `> parts` of symbols, of which those with True are the answer; `.` behind them with `end`.

    With `language_model` every symbol is trained on, not the answer alone.
    """
    batch = len(parts[0][0])
    tokens = [np.where(x_BxW == ABSENT, ABSENT, x_BxW + SPECIAL) for x_BxW, _ in parts]
    answers = [np.broadcast_to(answer, x_BxW.shape) for x_BxW, answer in parts]
    first_Bx1, last_BxE = np.full((batch, 1), BOS), np.full((batch, int(end)), END)
    none_Bx1, none_BxE = np.zeros((batch, 1), dtype=bool), np.zeros((batch, int(end)), dtype=bool)
    tokens_BxT, answer_BxT = closed_up(np.hstack([first_Bx1, *tokens, last_BxE]), np.hstack([none_Bx1, *answers, none_BxE]))
    trained_BxT = (tokens_BxT != BOS) & (tokens_BxT != PAD) if language_model else None
    return Batch(tokens_BxT, answer_BxT, trained_mask_BxT=trained_BxT)


def prompt_answer(prompt_BxP: np.ndarray, answer_BxA: np.ndarray) -> Batch:
    """The sequences `> prompt | answer .`, with the answer marked."""
    separator_Bx1 = np.full((len(prompt_BxP), 1), SEP - SPECIAL)
    return sequences([(prompt_BxP, False), (separator_Bx1, False), (answer_BxA, True)], end=True)
