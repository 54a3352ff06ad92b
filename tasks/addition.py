"""Add two numbers, written from the least significant digit (`reverse=false`: from the most significant).

Format       > a1 ... an + b1 ... bn | [c1 ... cn+1] .      operands=split: n counts the digits of both operands, + and |
Input law    equal: every digit of both operands is uniform and independent; leading zeros are written
             split: the place of + is uniform; an operand of several digits has no leading zero, and the sum has none
Chance       about 1/10 per token; the last digit is a carry, 0 or 1, and a guess of it is right about half of the time
Why          a digit of the answer needs two digits far apart and a carry; with `positions: coupled` the three share an id
"""

import numpy as np

from rpecli.task import BOS, END, PAD, SEP, SPECIAL, Batch, Task, measured_chance, prompt_answer


class Addition(Task):
    title = "Addition"
    family = "arithmetic"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140 (base 2, split)"
    variants = {"base=2:operands=split:reverse=false": {"length": 50, "steps": 4000}}
    expressible = {"base=2:operands=split:reverse=false": (False, False)}
    defaults = {"length": 8, "steps": 2000}
    examples = (([5, 1, 7, 0], "> 5 1 + 7 0 | [2] [2] [0] ."), ([9, 9], "> 9 + 9 | [8] [1] ."))

    def __init__(self, *, base: int = 10, operands: str = "equal", reverse: bool = True):
        if not 2 <= base <= 1000:
            raise ValueError(f"base is 2 to 1000, not {base}")
        if operands not in ("equal", "split"):
            raise ValueError(f"operands is equal or split, not {operands!r}")
        self.base, self.operands, self.reverse = base, operands, reverse
        self.plus, self.symbols = base, base + 1

    def has_length(self, length: int) -> bool:
        return length >= (1 if self.operands == "equal" else 4)

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 3 * length + 5 if self.operands == "equal" else 2 * length

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        if self.operands == "equal":
            return rng.integers(self.base, size=(batch, 2 * length))
        plus_Bx1, place_N = rng.integers(1, length - 2, size=(batch, 1)), np.arange(length - 1)
        x_BxN, first_BxN = rng.integers(self.base, size=(batch, length - 1)), rng.integers(1, self.base, size=(batch, length - 1))
        leads_BxN = ((place_N == plus_Bx1 - 1) & (plus_Bx1 > 1)) | ((place_N == length - 2) & (plus_Bx1 < length - 3))
        return np.where(place_N == plus_Bx1, self.plus, np.where(leads_BxN, first_BxN, x_BxN))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        """`x_BxN` holds the digits of a, then of b, least significant first; split ones with the symbol for + between."""
        if self.operands == "split":
            return self._split_layout(x_BxN)
        a_BxN, b_BxN = np.split(x_BxN, 2, axis=1)
        sum_BxA = self._add(a_BxN, b_BxN)
        order = slice(None) if self.reverse else slice(None, None, -1)
        plus_Bx1 = np.full((len(x_BxN), 1), self.plus)
        return prompt_answer(np.concatenate([a_BxN[:, order], plus_Bx1, b_BxN[:, order]], axis=1), sum_BxA[:, order])

    def _split_layout(self, x_BxN: np.ndarray) -> Batch:
        (batch, n), place_N = x_BxN.shape, np.arange(x_BxN.shape[1])
        plus_Bx1 = (x_BxN == self.plus).argmax(axis=1)[:, None]
        shifted_BxN = np.take_along_axis(x_BxN, np.minimum(place_N + plus_Bx1 + 1, n - 1), axis=1)
        a_BxN, b_BxN = np.where(place_N < plus_Bx1, x_BxN, 0), np.where(place_N < n - 1 - plus_Bx1, shifted_BxN, 0)
        sum_BxA = self._add(a_BxN, b_BxN)
        digits_Bx1 = np.maximum((sum_BxA > 0) * np.arange(1, n + 2), 1).max(axis=1, keepdims=True)  # of the sum
        if not self.reverse:  # each operand and the sum from its other end
            mirrored_BxN = np.where(place_N < plus_Bx1, plus_Bx1 - 1 - place_N, n + plus_Bx1 - place_N)
            x_BxN = np.take_along_axis(x_BxN, np.where(place_N == plus_Bx1, plus_Bx1, mirrored_BxN), axis=1)
            sum_BxA = np.take_along_axis(sum_BxA, np.maximum(digits_Bx1 - 1 - np.arange(n + 1), 0), axis=1)
        answer_BxA = np.arange(int(digits_Bx1.max()) + 1) < digits_Bx1
        is_end_BxA = np.arange(answer_BxA.shape[1]) == digits_Bx1
        sum_BxA = np.where(answer_BxA, sum_BxA[:, : answer_BxA.shape[1]] + SPECIAL, np.where(is_end_BxA, END, PAD))
        begin_Bx1, separator_Bx1 = np.full((batch, 1), BOS), np.full((batch, 1), SEP)
        tokens_BxT = np.concatenate([begin_Bx1, x_BxN + SPECIAL, separator_Bx1, sum_BxA], axis=1)
        return Batch(tokens_BxT, np.concatenate([np.zeros((batch, n + 2), dtype=bool), answer_BxA], axis=1))

    def _add(self, a_BxN: np.ndarray, b_BxN: np.ndarray) -> np.ndarray:
        digits, carry_B = [], np.zeros(len(a_BxN), dtype=np.int64)
        for a_B, b_B in zip(a_BxN.T, b_BxN.T, strict=True):
            total_B = a_B + b_B + carry_B
            digits.append(total_B % self.base)
            carry_B = total_B // self.base
        return np.stack([*digits, carry_B], axis=1)

    def coupled(self, batch: Batch) -> np.ndarray | None:
        """Digits of the same significance share an id (the least has 1); + and the separator of a reversed sum have 0.

        Cho et al. 2024, "Position Coupling", arXiv 2405.20671. Operands of unequal lengths have none.
        """
        if self.operands == "split":
            return None
        length = (batch.tokens_BxT.shape[1] - 5) // 3
        operand, answer = np.arange(1, length + 1), np.arange(1, length + 2)
        order, separator = (slice(None), 0) if self.reverse else (slice(None, None, -1), length + 2)
        ids_T = np.concatenate([[0], operand[order], [0], operand[order], [separator], answer[order], [length + 2]])
        return np.broadcast_to(ids_T, batch.tokens_BxT.shape)

    def chance(self, length: int) -> float:
        if self.operands == "split":
            return measured_chance(self, length)
        carry, base = 0.0, self.base  # probability of a carry out of a place
        for _ in range(length):
            carry = (base - 1) / (2 * base) + carry / base
        return (length / base + max(carry, 1 - carry)) / (length + 1)

    def word(self, symbol: int) -> str:
        return "+" if symbol == self.plus else str(symbol)
