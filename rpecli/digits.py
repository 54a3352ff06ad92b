"""Numbers as digits, however long: drawing and calculation on arrays, and the ways in which papers write them.

Digits stand the least significant first in arrays, and beyond the last digit of a number is ABSENT; where a task writes the most
significant first, they are turned around.
"""

import numpy as np

from rpecli.ragged import ABSENT
from rpecli.task import END, SEP, SPECIAL, Batch, Task, measured_chance


def draw_numbers(rng: np.random.Generator, length_BxK: np.ndarray, base: int, *, zeros: bool = False) -> np.ndarray:
    """Uniform numbers of these lengths, `[B, K, D]`; with `zeros` they may begin with zeros, else only 0 itself does."""
    length_BxKx1, place_D = length_BxK[:, :, None], np.arange(int(length_BxK.max()))
    digits_BxKxD = rng.integers(base, size=(*length_BxK.shape, len(place_D)))
    if not zeros:
        leading_BxKxD = (place_D == length_BxKx1 - 1) & (length_BxKx1 > 1)
        digits_BxKxD = np.where(leading_BxKxD, rng.integers(1, base, size=digits_BxKxD.shape), digits_BxKxD)
    return np.where(place_D < length_BxKx1, digits_BxKxD, ABSENT)


def mixed_lengths(rng: np.random.Generator, batch: int, length: int, count: int) -> np.ndarray:
    """The digits of 2 to `count` numbers, a uniform one of which has `length`, the others 1 to `length`; 0 for no number."""
    n_numbers_B, length_BxK = rng.integers(2, count + 1, size=batch), rng.integers(1, length + 1, size=(batch, count))
    length_BxK[np.arange(batch), rng.integers(n_numbers_B)] = length
    return length_BxK * (np.arange(count) < n_numbers_B[:, None])


def carried(columns_BxW: np.ndarray, width: int, base: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits of the number that has these values in its columns, `[B, width]`, and the carry out of each column."""
    carry_B, digits, carries = np.zeros(len(columns_BxW), dtype=np.int64), [], []
    for place in range(width):
        total_B = carry_B + (columns_BxW[:, place] if place < columns_BxW.shape[1] else 0)
        digits.append(total_B % base)
        carry_B = total_B // base
        carries.append(carry_B)
    return np.stack(digits, axis=1), np.stack(carries, axis=1)


def without_leading_zeros(digits_BxW: np.ndarray) -> np.ndarray:
    """The digits with ABSENT beyond the most significant one that is not 0; of 0, one digit stays."""
    later_BxW = np.logical_or.accumulate(digits_BxW[:, ::-1] != 0, axis=1)[:, ::-1]
    later_BxW[:, 0] = True
    return np.where(later_BxW, digits_BxW, ABSENT)


def n_digits(number: int, base: int) -> int:
    """How many digits a number has."""
    digits = 1
    while number >= base:
        number, digits = number // base, digits + 1
    return digits


class Arithmetic(Task):
    """Numbers and what they give, in digits of a base, each with a hint of its place in front where `hints` are used."""

    def __init__(self, base: int, orders: tuple[bool, bool], hints: int, signs: str):
        """`orders`: whether the operands and the answer begin with the least significant digit; `signs`: all other symbols."""
        if not 2 <= base <= 1000:
            raise ValueError(f"base is 2 to 1000, not {base}")
        if hints < 0:
            raise ValueError(f"hints is how many different hints there are, or 0 for none, not {hints}")
        self.base, self.orders, self.hints, self.signs = base, orders, hints, signs
        self.sign = {sign: base + hints + place for place, sign in enumerate(signs)}
        self.symbols = base + hints + len(signs)

    @property
    def per_digit(self) -> int:
        """Tokens of a digit."""
        return 2 if self.hints else 1

    def hinted(self, rng: np.random.Generator, x_BxKxD: np.ndarray) -> np.ndarray:
        """Numbers as a task draws them: where there are hints, the first one follows as a number of its own."""
        if not self.hints:
            return x_BxKxD
        start_Bx1xD = np.full_like(x_BxKxD[:, :1], ABSENT)
        start_Bx1xD[:, 0, 0] = rng.integers(self.hints, size=len(x_BxKxD))
        return np.concatenate([x_BxKxD, start_Bx1xD], axis=1)

    def numbers(self, x_BxX: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The digits of all numbers, `[B, K, D]`, and the first hint; `count` of them may also come one behind the other."""
        x_BxKxD = x_BxX if x_BxX.ndim == 3 else x_BxX.reshape(len(x_BxX), count + bool(self.hints), -1)
        return (x_BxKxD[:, :-1], x_BxKxD[:, -1, 0]) if self.hints else (x_BxKxD, np.zeros(len(x_BxX), dtype=np.int64))

    def written(self, digits_BxW: np.ndarray, start_B: np.ndarray, *, answer: bool) -> np.ndarray:
        """The symbols of a number in the order in which it is written, `[B, W * per_digit]`."""
        symbols_BxWxP = digits_BxW[:, :, None]
        if self.hints:
            hint_BxW = self.base + (start_B[:, None] + np.arange(digits_BxW.shape[1])) % self.hints
            symbols_BxWxP = np.stack([np.where(digits_BxW == ABSENT, ABSENT, hint_BxW), digits_BxW], axis=2)
        return symbols_BxWxP[:, :: 1 if self.orders[answer] else -1].reshape(len(digits_BxW), -1)

    def joined(self, numbers: list[np.ndarray], sign: str) -> np.ndarray:
        """Written numbers with a sign between; none in front of one that is not there."""
        parts = numbers[:1]
        for number_BxW in numbers[1:]:
            parts += [self.mark(sign, (number_BxW != ABSENT).any(axis=1)), number_BxW]
        return np.hstack(parts)

    def mark(self, sign: str, there_B: np.ndarray) -> np.ndarray:
        """A sign in the rows that have one, `[B, 1]`."""
        return np.where(there_B, self.sign[sign], ABSENT)[:, None]

    def coupled(self, batch: Batch) -> np.ndarray | None:
        """Digits of the same significance share an id, with their hints; the least has 1.

        Cho et al. 2024, "Position Coupling", arXiv 2405.20671. Signs have 0, and so has the separator in front of an answer that
        begins with its least significant digit; before the most significant one it has the id that one more digit would have.
        The end has that id in either order. In a scratchpad all symbols of the step for a digit share the digit's id.
        """
        tokens_BxT = batch.tokens_BxT
        in_number_BxT = (tokens_BxT >= SPECIAL) & (tokens_BxT < SPECIAL + self.base + self.hints)
        first_BxT, left_BxT = _counted(in_number_BxT), _counted(in_number_BxT[:, ::-1])[:, ::-1]
        in_answer_BxT = (tokens_BxT == SEP).cumsum(axis=1) > 0
        ascending_BxT = np.where(in_answer_BxT, self.orders[True], self.orders[False])
        ids_BxT = (np.where(ascending_BxT, first_BxT, left_BxT) + self.per_digit - 1) // self.per_digit
        rows, end_B = np.arange(len(tokens_BxT)), (tokens_BxT == END).argmax(axis=1)
        n_last_B = (first_BxT[rows, end_B - 1] + self.per_digit - 1) // self.per_digit + 1
        ids_BxT[rows, end_B] = n_last_B
        result_B = (tokens_BxT == SEP).argmax(axis=1)
        if ";" in self.sign:  # steps come before the result
            is_equals_BxT = tokens_BxT == self.sign["="] + SPECIAL
            result_B = is_equals_BxT.argmax(axis=1)
            in_steps_BxT = in_answer_BxT & (is_equals_BxT.cumsum(axis=1) == 0)
            step_BxT = 1 + (tokens_BxT == self.sign[";"] + SPECIAL).cumsum(axis=1) - (tokens_BxT == self.sign[";"] + SPECIAL)
            ids_BxT = np.where(in_steps_BxT, step_BxT * (tokens_BxT != SEP), ids_BxT)
        ids_BxT[rows, result_B] = 0 if self.orders[True] else n_last_B
        return ids_BxT

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        if symbol < self.base:
            return str(symbol)
        return f"h{symbol - self.base}" if symbol < self.base + self.hints else self.signs[symbol - self.base - self.hints]


def _counted(is_BxT: np.ndarray) -> np.ndarray:
    """1, 2, ... within each run of True, 0 elsewhere."""
    count_T = np.arange(1, is_BxT.shape[1] + 1)
    return count_T - np.maximum.accumulate(np.where(is_BxT, 0, count_T), axis=1)
