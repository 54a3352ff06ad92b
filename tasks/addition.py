"""Add numbers, written from the least significant digit (`reverse=false`: from the most significant), in the formats of papers.

Format       > a1 ... an + b1 ... bn | [c1 ... cn+1] .      operands=split: n counts the digits of both operands, + and |
             reverse_operands=false: the answer alone begins with its least significant digit
             count=k: k numbers, or with operands=mixed 2 to k; hints=h: before each digit one of h hints that tells its place
             operands=mixed:padded=true: zeros make all numbers as long as the longest, and the answer as long as the greatest
             format=scratchpad: [c1 carry ; c2 carry ; ... = c]     format=steps: [a1 b1 carry : c1 carry ; ... = c]
             format=sums: [a , a + b , a + b + c ...], each sum as a number
Input law    equal: every digit of all operands is uniform and independent; leading zeros are written
             split: the place of + is uniform; an operand of several digits has no leading zero, and the sum has none
             mixed: the number of operands is uniform, one of them (uniform) has n digits, the others 1 to n (uniform); a number
             of several digits has no leading zero, and the answer has none. The first hint is uniform, the next follow it round
Formats      hints: Zhou et al. 2024, arXiv 2402.09371, and McLeish et al. 2024, arXiv 2405.17399; reversed answers, zeros and
             scratchpad: Lee et al. 2023, arXiv 2307.03381; steps: Kazemnejad et al. 2023, arXiv 2305.19466, in short; mixed
             operands and their sums: Cho et al. 2024, arXiv 2410.15787
Chance       about 1/10 per token; the last digit is a carry, 0 or 1, and a guess of it is right about half of the time
Why          a digit of the answer needs two digits far apart and a carry; with `positions: coupled` the three share an id
"""

import numpy as np

from rpecli.digits import Arithmetic, carried, draw_numbers, mixed_lengths, n_digits, without_leading_zeros
from rpecli.ragged import ABSENT, prompt_answer
from rpecli.task import Batch

SIGNS = {"answer": "+", "scratchpad": "+;=", "steps": "+;=:", "sums": "+,"}


class Addition(Arithmetic):
    title = "Addition"
    family = "arithmetic"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140 (base 2, split)"
    variants = {
        "base=2:operands=split:reverse=false": {"length": 50, "steps": 4000, "curriculum": 0.0},
        "count=5:format=sums:operands=mixed:padded=true": {"length": 6, "steps": 4000, "curriculum": 0.0},
        "format=scratchpad": {"steps": 2000, "curriculum": 0.0},
        "format=steps:operands=mixed:reverse=false": {"steps": 2000, "curriculum": 0.0},
        "hints=102:operands=mixed": {"length": 5},
        "operands=mixed": {},
        "operands=mixed:padded=true:reverse_operands=false": {"length": 5},
        "operands=mixed:reverse=false": {"steps": 2000, "curriculum": 0.0},
        "reverse=false": {"length": 4, "lr": 2e-3},
    }
    expressible = {"base=2:operands=split:reverse=false": (False, False)}
    defaults = {"length": 8, "steps": 9000, "curriculum": 0.5}
    examples = (([5, 1, 7, 0], "> 5 1 + 7 0 | [2] [2] [0] ."), ([9, 9], "> 9 + 9 | [8] [1] ."))

    def __init__(
        self, *, base: int = 10, count: int = 2, format: str = "answer", hints: int = 0, operands: str = "equal",
        padded: bool = False, reverse: bool = True, reverse_operands: bool = True,
    ):  # fmt: skip
        if format not in SIGNS:
            raise ValueError(f"format is answer, scratchpad, steps or sums, not {format!r}")
        if operands not in ("equal", "split", "mixed"):
            raise ValueError(f"operands is equal, split or mixed, not {operands!r}")
        if count < 2 or (operands == "split" and count > 2):
            raise ValueError(f"count={count}: two operands at least, and two exactly with operands=split")
        if format in ("scratchpad", "steps") and count > base:
            raise ValueError(f"format={format}:count={count}: at most {base} operands, so that a carry is one digit")
        if (padded and operands != "mixed") or (hints and operands == "split"):
            raise ValueError(f"operands={operands}: padded=true is for operands=mixed, hints for equal and mixed")
        super().__init__(base, (reverse and reverse_operands, reverse), hints, SIGNS[format])
        self.count, self.format, self.operands, self.padded = count, format, operands, padded
        self.reverse, self.reverse_operands = reverse, reverse_operands
        if hints and hints < 1 + n_digits(count - 1, base):
            raise ValueError(f"hints={hints}: a sum has more digits, and no two of them may have the same hint")
        if operands != "split":
            self.size_names = ("digits of the first", "digits of the second") if count == 2 else ("digits", "operands")

    def longest(self) -> int | None:
        return self.hints - n_digits(self.count - 1, self.base) if self.hints else None

    def has_length(self, length: int) -> bool:
        return super().has_length(length) and length >= (4 if self.operands == "split" else 1)

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        n, digits = (length - 3, length - 2) if self.operands == "split" else (length, self.count * length)
        width = self._width(self.count, n) * self.per_digit
        steps = {"answer": 0, "scratchpad": 3 * n + 1, "steps": (self.count + 5) * n + 1, "sums": (self.count - 1) * (width + 1)}
        return digits * self.per_digit + self.count - 1 + steps[self.format] + width + 3

    def _width(self, count: int, n: int) -> int:
        """Digits of the greatest sum of `count` numbers of n digits."""
        few = min(n, 12)  # from there on, every digit more is one more of the sum
        return n_digits(count * (self.base**few - 1), self.base) + n - few

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        if self.operands == "split":
            return self._draw_split(rng, batch, length)
        if self.operands == "equal":
            return self.hinted(rng, rng.integers(self.base, size=(batch, self.count, length)))
        return self.hinted(rng, draw_numbers(rng, mixed_lengths(rng, batch, length, self.count), self.base))

    def trained_sizes(self, length: int) -> tuple[int, int]:
        return length, length if self.count == 2 else self.count

    def draw_sizes(self, rng: np.random.Generator, batch: int, sizes: tuple[int, int]) -> np.ndarray:
        lengths = sizes if self.count == 2 else (sizes[0],) * sizes[1]
        length_BxK = np.broadcast_to(np.array(lengths), (batch, len(lengths)))
        return self.hinted(rng, draw_numbers(rng, length_BxK, self.base, zeros=self.operands == "equal"))

    def _draw_split(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        plus_Bx1, place_N = rng.integers(1, length - 2, size=(batch, 1)), np.arange(length - 1)
        x_BxN, first_BxN = rng.integers(self.base, size=(batch, length - 1)), rng.integers(1, self.base, size=(batch, length - 1))
        leads_BxN = ((place_N == plus_Bx1 - 1) & (plus_Bx1 > 1)) | ((place_N == length - 2) & (plus_Bx1 < length - 3))
        return np.where(place_N == plus_Bx1, self.base, np.where(leads_BxN, first_BxN, x_BxN))

    def layout(self, x_BxX: np.ndarray) -> Batch:
        """`x_BxX` holds the digits of a, then of b, ..., least significant first; split ones with the symbol for + between."""
        digits_BxKxD, start_B = self.numbers(self._halves(x_BxX) if self.operands == "split" else x_BxX, self.count)
        there_BxKx1, count = (digits_BxKxD != ABSENT).any(axis=2, keepdims=True), digits_BxKxD.shape[1]
        values_BxKxD = np.where(there_BxKx1, np.maximum(digits_BxKxD, 0), ABSENT)  # 0 where others have more digits
        operands_BxKxD = values_BxKxD if self.padded else digits_BxKxD
        prompt_BxP = self.joined([self.written(operands_BxKxD[:, k], start_B, answer=False) for k in range(count)], "+")
        has_digit_BxD = (digits_BxKxD != ABSENT).any(axis=1)
        return prompt_answer(prompt_BxP, self._answer(values_BxKxD, has_digit_BxD, start_B))

    def _answer(self, values_BxKxD: np.ndarray, has_digit_BxD: np.ndarray, start_B: np.ndarray) -> np.ndarray:
        """What stands behind the separator: the sum, with what leads to it."""
        count, n, there_BxK = values_BxKxD.shape[1], values_BxKxD.shape[2], values_BxKxD[:, :, 0] != ABSENT
        width_K = np.array([self._width(k, n) for k in range(1, count + 1)])
        in_width_BxW = np.arange(width_K[-1]) < width_K[there_BxK.sum(axis=1) - 1, None]
        totals_BxKxD, sums = np.maximum(values_BxKxD, 0).cumsum(axis=1), []
        for last in range(0 if self.format == "sums" else count - 1, count):
            digits_BxW, carry_BxW = carried(totals_BxKxD[:, last], int(width_K[-1]), self.base)
            fixed = self.operands == "equal" or self.padded
            sum_BxW = np.where(in_width_BxW, digits_BxW, ABSENT) if fixed else without_leading_zeros(digits_BxW)
            if self.format == "sums":
                sum_BxW = np.where(there_BxK[:, last, None], sum_BxW, ABSENT)
            sums.append(self.written(sum_BxW, start_B, answer=True))
        if self.format in ("answer", "sums"):
            return self.joined(sums, ",")
        steps_BxM = self._steps(values_BxKxD, digits_BxW, carry_BxW, has_digit_BxD)
        return np.hstack([steps_BxM, self.mark("=", np.ones(len(steps_BxM), dtype=bool)), *sums])

    def _steps(
        self, values_BxKxD: np.ndarray, digits_BxW: np.ndarray, carry_BxW: np.ndarray, has_digit_BxD: np.ndarray
    ) -> np.ndarray:
        """What is written for each digit: in steps, what is added too, with the carry that comes in."""
        batch, _, n = values_BxKxD.shape
        carried_in_BxD = np.hstack([np.zeros((batch, 1), dtype=np.int64), carry_BxW[:, : n - 1]])
        semicolon, colon = (np.full((batch, n), self.sign[sign]) for sign in (";", self.signs[-1]))
        read = [*values_BxKxD.transpose(1, 0, 2), carried_in_BxD, colon] if self.format == "steps" else []
        step_BxDxS = np.stack([*read, digits_BxW[:, :n], carry_BxW[:, :n], semicolon], axis=2)
        return np.where(has_digit_BxD[:, :, None], step_BxDxS, ABSENT).reshape(batch, -1)

    def _halves(self, x_BxN: np.ndarray) -> np.ndarray:
        """The digits of two operands with a + between, `[B, 2, N]`."""
        n, place_N, plus_Bx1 = x_BxN.shape[1], np.arange(x_BxN.shape[1]), (x_BxN == self.base).argmax(axis=1)[:, None]
        second_BxN = np.take_along_axis(x_BxN, np.minimum(place_N + plus_Bx1 + 1, n - 1), axis=1)
        halves = np.where(place_N < plus_Bx1, x_BxN, ABSENT), np.where(place_N < n - 1 - plus_Bx1, second_BxN, ABSENT)
        return np.stack(halves, axis=1)

    def chance(self, length: int) -> float:
        if (self.operands, self.count, self.format, self.hints) != ("equal", 2, "answer", 0):
            return super().chance(length)
        carry, base = 0.0, self.base  # probability of a carry out of a place
        for _ in range(length):
            carry = (base - 1) / (2 * base) + carry / base
        return (length / base + max(carry, 1 - carry)) / (length + 1)
