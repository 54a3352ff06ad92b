"""Multiply two decimal numbers, written from the least significant digit (`reverse=false`: from the most), in formats of papers.

Format       > a1 ... an * b1 ... bm | [c1 ... ck] .      operands=equal: k = n + m, with leading zeros; mixed: without
             reverse_operands=false: the answer alone begins with its least significant digit
             second=m: the second operand has m digits, leading zeros included; hints=h: before each digit one of h hints that
             tells its place; operands=mixed:padded=true: the answer has n + m digits
             format=scratchpad: [a * b1 + a * b2 ... = s1 , s2 ... , c], the products of a with each digit of b, the least first,
             and their running sums, each product shifted by its place
Input law    equal: every digit of both operands is uniform and independent; leading zeros are written
             mixed: one operand (uniform) has n digits, the other 1 to n (uniform); a number of several digits has no leading zero
Formats      second, padded: Cho et al. 2024, arXiv 2405.20671; scratchpad: Cho et al. 2024, arXiv 2410.15787; mixed operands and
             hints: McLeish et al. 2024, arXiv 2405.17399
Chance       about 1/10 per token
Why          a digit of the answer needs all digits of both operands up to its place: how far does an encoding that adds get
"""

import numpy as np

from rpecli.digits import Arithmetic, carried, draw_numbers, mixed_lengths, without_leading_zeros
from rpecli.ragged import ABSENT, prompt_answer
from rpecli.task import Batch

BASE = 10
SIGNS = {"answer": "*", "scratchpad": "*+,="}


class Multiplication(Arithmetic):
    title = "Multiplication"
    family = "arithmetic"
    source = "Position Coupling: Improving Length Generalization of Arithmetic Transformers, 2024, arXiv 2405.20671"
    variants = {"operands=mixed": {}, "second=1": {"length": 8}, "second=2": {"length": 6}}
    defaults = {"length": 4, "curriculum": 0.5, "tokens": 4096, "steps": 2400}
    examples = (([2, 1, 3, 0], "> 2 1 * 3 0 | [6] [3] [0] [0] ."), ([9, 9], "> 9 * 9 | [1] [8] ."))

    def __init__(
        self, *, format: str = "answer", hints: int = 0, operands: str = "equal", padded: bool = False, reverse: bool = True,
        reverse_operands: bool = True, second: int = 0,
    ):  # fmt: skip
        if format not in SIGNS:
            raise ValueError(f"format is answer or scratchpad, not {format!r}")
        if operands not in ("equal", "mixed"):
            raise ValueError(f"operands is equal or mixed, not {operands!r}")
        if padded and operands != "mixed":
            raise ValueError("padded=true is for operands=mixed: operands=equal writes leading zeros")
        if second < 0 or (second and operands == "mixed"):
            raise ValueError(
                f"second={second}: the digits of the second operand, 0 for as many as the first; with operands=equal"
            )
        self.format, self.operands, self.padded, self.second = format, operands, padded, second
        self.reverse, self.reverse_operands = reverse, reverse_operands
        super().__init__(BASE, (reverse and reverse_operands, reverse), hints, SIGNS[format])
        if hints and self.longest() < 1:  # type: ignore[operator]
            raise ValueError(f"hints={hints}: a product has more digits, and no two of them may have the same hint")
        self.size_names = ("digits of the first", "digits of the second")

    def longest(self) -> int | None:
        return (self.hints - self.second if self.second else self.hints // 2) if self.hints else None

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        n, m, per_digit = length, self.second or length, self.per_digit
        steps = m * ((n + 1) * per_digit + 1) + (m - 1) * ((n + m) * per_digit + 1) if self.format == "scratchpad" else 0
        return 2 * (n + m) * per_digit + 4 + steps

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        if self.operands == "mixed":
            return self.hinted(rng, draw_numbers(rng, mixed_lengths(rng, batch, length, 2), BASE))
        return self.draw_sizes(rng, batch, (length, self.second or length))

    def trained_sizes(self, length: int) -> tuple[int, int]:
        return length, self.second or length

    def draw_sizes(self, rng: np.random.Generator, batch: int, sizes: tuple[int, int]) -> np.ndarray:
        length_Bx2 = np.broadcast_to(np.array(sizes), (batch, 2))
        return self.hinted(rng, draw_numbers(rng, length_Bx2, BASE, zeros=self.operands == "equal"))

    def layout(self, x_BxX: np.ndarray) -> Batch:
        """`x_BxX` holds the digits of a, then of b, least significant first."""
        digits_Bx2xD, start_B = self.numbers(x_BxX, 2)
        operands = [self.written(digits_Bx2xD[:, k], start_B, answer=False) for k in range(2)]
        sums, products = self._steps(digits_Bx2xD)
        sums, products = ([self.written(number, start_B, answer=True) for number in numbers] for numbers in (sums, products))
        if self.format == "answer":
            return prompt_answer(self.joined(operands, "*"), sums[-1])
        equals_Bx1 = self.mark("=", np.ones(len(x_BxX), dtype=bool))
        return prompt_answer(
            self.joined(operands, "*"), np.hstack([self.joined(products, "+"), equals_Bx1, self.joined(sums, ",")])
        )

    def _steps(self, digits_Bx2xD: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The running sums, of which the last is the product, and the products of a with every digit of b."""
        a_BxD, b_BxD = np.maximum(digits_Bx2xD, 0).transpose(1, 0, 2)
        n_a_Bx1, n_b_Bx1 = (digits_Bx2xD != ABSENT).sum(axis=2).T[:, :, None]
        batch, n = a_BxD.shape
        column_BxW, sums, products = np.zeros((batch, 2 * n), dtype=np.int64), [], []
        for k in range(n):
            column_BxW[:, k : k + n] += a_BxD * b_BxD[:, k, None]
            if self.format == "scratchpad" or k == n - 1:
                there_Bx1 = (k < n_b_Bx1) | (self.format == "answer")
                sums.append(self._number(column_BxW, n_a_Bx1 + n_b_Bx1, there_Bx1))
                products.append(self._number(a_BxD * b_BxD[:, k, None], n_a_Bx1 + 1, there_Bx1))
        return sums, products

    def _number(self, column_BxW: np.ndarray, width_Bx1: np.ndarray, there_Bx1: np.ndarray) -> np.ndarray:
        """The digits of what stands in columns, as many as the format has; none where there is no number."""
        most = int(width_Bx1.max())
        digits_BxW, _ = carried(column_BxW, most, BASE)
        if self.operands == "equal" or self.padded:
            return np.where(there_Bx1 & (np.arange(most) < width_Bx1), digits_BxW, ABSENT)
        return np.where(there_Bx1, without_leading_zeros(digits_BxW), ABSENT)
