"""Bits of whole numbers of any size as arrays, and back: 500 bits and more, which no integer type of numpy holds.

And what tasks have in common that calculate with two such numbers.
"""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer

OPERATOR, STOP = 2, 3  # symbols behind the two bits


def numbers(bits_BxN: np.ndarray) -> list[int]:
    """The numbers of rows of bits, the least significant bit first."""
    return [int.from_bytes(row, "little") for row in _bytes(np.packbits(bits_BxN.astype(np.uint8), axis=1, bitorder="little"))]


def _bytes(bytes_BxN: np.ndarray) -> list[bytes]:
    text, width = bytes_BxN.tobytes(), bytes_BxN.shape[1]
    return [text[start : start + width] for start in range(0, len(text), width)]


def bits(numbers: Iterable[int], length: int) -> np.ndarray:
    """The `length` bits of every number, the least significant first, int64."""
    width = (length + 7) // 8
    text = b"".join(number.to_bytes(width, "little") for number in numbers)
    bytes_BxN = np.frombuffer(text, dtype=np.uint8).reshape(-1, width)
    return np.unpackbits(bytes_BxN, axis=1, count=length, bitorder="little").astype(np.int64)


def draw_operands(rng: np.random.Generator, batch: int, length: int, operator: int) -> np.ndarray:
    """Two numbers with an operator between them, `[batch, length]`: its place is uniform on 1..length-2, neither number is 0."""
    place_Bx1 = rng.integers(1, length - 1, size=(batch, 1))
    before_BxN, after_BxN = np.arange(length) < place_Bx1, np.arange(length) > place_Bx1
    x_BxN = np.zeros((batch, length), dtype=np.int64)
    while (zero_B := ~((x_BxN & before_BxN).any(axis=1) & (x_BxN & after_BxN).any(axis=1))).any():
        x_BxN[zero_B] = rng.integers(2, size=(int(zero_B.sum()), length))
    x_BxN[np.arange(batch), place_Bx1[:, 0]] = operator
    return x_BxN


def operands(x_BxN: np.ndarray, operator: int) -> list[tuple[int, int]]:
    """The two numbers of every row."""
    is_operator_BxN = x_BxN == operator
    both = numbers(np.where(is_operator_BxN, 0, x_BxN))
    places = is_operator_BxN.argmax(axis=1).tolist()
    return [(number & (1 << place) - 1, number >> place + 1) for number, place in zip(both, places, strict=True)]


class BinaryOperation(Task):
    """Two numbers with an operator between them; the result, least significant bit first, `end`, and zeros up to a length."""

    symbols = 4
    sign: ClassVar[str]  # of the operator
    more_bits: ClassVar[int]  # that a result and its end may have beyond the length of the problem

    def __init__(self, *, padded: bool = True):
        self.padded = padded

    def result(self, a: int, b: int) -> int:
        raise NotImplementedError

    def has_length(self, length: int) -> bool:
        return length >= 3

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return draw_operands(rng, batch, length, OPERATOR)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        results = [self.result(a, b) for a, b in operands(x_BxN, OPERATOR)]
        n_bits_B = np.array([number.bit_length() for number in results])
        answer_BxA = bits(results, x_BxN.shape[1] + self.more_bits)
        answer_BxA[np.arange(len(results)), n_bits_B] = STOP
        return prompt_answer(x_BxN, answer_BxA, None if self.padded else n_bits_B + 1)

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return ("0", "1", self.sign, "end")[symbol]
