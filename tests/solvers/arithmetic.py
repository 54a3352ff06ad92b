"""Solvers of addition and multiplication in all formats, with Python's own numbers."""

from dataclasses import dataclass
from functools import partial
from itertools import chain


@dataclass(frozen=True)
class Format:
    """How numbers are written: hints, whether operands and answers begin with the least significant digit, zeros."""

    hints: int = 0
    reverse: bool = True
    reverse_operands: bool = True
    equal: bool = True  # the digits of an operand include leading zeros
    padded: bool = False
    second: int = 0

    @property
    def zeros(self) -> bool:
        return self.equal or self.padded

    def read(self, words: list[str], signs: str) -> tuple[list[str], int]:
        """Operands, the most significant digit first, and the first hint."""
        numbers, start = [], 0
        for text in " ".join(words).replace(signs, ",").split(","):
            digits = text.split()
            ascending = self.reverse and self.reverse_operands
            if self.hints:
                hints, digits = [int(word[1:]) for word in digits[::2]], digits[1::2]
                hints = hints if ascending else hints[::-1]
                start = hints[0]
                assert hints == [(start + i) % self.hints for i in range(len(hints))]
            numbers.append("".join(digits[::-1] if ascending else digits))
        lengths = {len(number) for number in numbers}
        if self.zeros and not self.second and signs == "+":
            assert len(lengths) == 1
        elif not self.equal:
            assert all(number == str(int(number)) for number in numbers)
        return numbers, start

    def write(self, number: int, width: int, start: int) -> list[str]:
        text = str(number).zfill(width if self.zeros else 1)
        assert len(text) <= width
        digits = [
            [f"h{(start + place) % self.hints}", digit] if self.hints else [digit] for place, digit in enumerate(text[::-1])
        ]
        return list(chain.from_iterable(digits if self.reverse else digits[::-1]))


def joined(numbers: list[list[str]], sign: str) -> list[str]:
    return [*numbers[0], *chain.from_iterable([sign, *number] for number in numbers[1:])]


def addition(words: list[str], how: Format, form: str = "answer") -> list[str]:
    texts, start = how.read(words, "+")
    numbers, n = [int(text) for text in texts], max(map(len, texts))
    width = len(str(len(numbers) * (10**n - 1)))
    total = how.write(sum(numbers), width, start)
    if form == "sums":
        return joined([how.write(sum(numbers[: i + 1]), width, start) for i in range(len(numbers))], ",")
    steps, carry = [], 0
    for place in range(n) if form != "answer" else []:
        column = [text.zfill(n)[n - 1 - place] for text in texts]
        if form == "steps":
            steps += [*column, str(carry), ":"]
        carry, digit = divmod(sum(map(int, column)) + carry, 10)
        steps += [str(digit), str(carry), ";"]
    return [*steps, "=", *total] if steps else total


def multiplication(words: list[str], how: Format, form: str = "answer") -> list[str]:
    (a, b), start = how.read(words, "*")
    if how.second:
        assert len(b) == how.second
    product = how.write(int(a) * int(b), len(a) + len(b), start)
    if form == "answer":
        return product
    parts = [int(a) * int(digit) for digit in reversed(b)]
    sums = [sum(part * 10**place for place, part in enumerate(parts[: i + 1])) for i in range(len(parts))]
    products = joined([how.write(part, len(a) + 1, start) for part in parts], "+")
    assert sums[-1] == int(a) * int(b)
    return [*products, "=", *joined([how.write(number, len(a) + len(b), start) for number in sums], ",")]


MIXED = Format(equal=False)
PLAIN = Format(reverse=False)
SOLVERS = {
    "addition:reverse=false": partial(addition, how=PLAIN),
    "addition:count=3": partial(addition, how=Format()),
    "addition:operands=mixed": partial(addition, how=MIXED),
    "addition:operands=mixed:reverse=false": partial(addition, how=Format(equal=False, reverse=False)),
    "addition:operands=mixed:padded=true:reverse_operands=false": partial(
        addition, how=Format(equal=False, padded=True, reverse_operands=False)
    ),
    "addition:hints=102:operands=mixed": partial(addition, how=Format(hints=102, equal=False)),
    "addition:hints=40:operands=mixed:reverse=false": partial(addition, how=Format(hints=40, equal=False, reverse=False)),
    "addition:hints=40": partial(addition, how=Format(hints=40)),
    "addition:format=scratchpad": partial(addition, how=Format(), form="scratchpad"),
    "addition:format=scratchpad:hints=40:operands=mixed:reverse=false": partial(
        addition, how=Format(hints=40, equal=False, reverse=False), form="scratchpad"
    ),
    "addition:format=steps:operands=mixed:reverse=false": partial(addition, how=Format(equal=False, reverse=False), form="steps"),
    "addition:count=4:format=steps:operands=mixed": partial(addition, how=MIXED, form="steps"),
    "addition:count=4:format=sums:operands=mixed": partial(addition, how=MIXED, form="sums"),
    "addition:count=5:format=sums:operands=mixed:padded=true": partial(
        addition, how=Format(equal=False, padded=True), form="sums"
    ),
    "multiplication": partial(multiplication, how=Format()),
    "multiplication:operands=mixed": partial(multiplication, how=MIXED),
    "multiplication:hints=80:operands=mixed:reverse=false": partial(
        multiplication, how=Format(hints=80, equal=False, reverse=False)
    ),
    "multiplication:second=1": partial(multiplication, how=Format(second=1)),
    "multiplication:second=2": partial(multiplication, how=Format(second=2)),
    "multiplication:second=2:reverse_operands=false": partial(multiplication, how=Format(second=2, reverse_operands=False)),
    "multiplication:format=scratchpad:operands=mixed": partial(multiplication, how=MIXED, form="scratchpad"),
    "multiplication:format=scratchpad:operands=mixed:padded=true": partial(
        multiplication, how=Format(equal=False, padded=True), form="scratchpad"
    ),
    "multiplication:format=scratchpad:second=2": partial(multiplication, how=Format(second=2), form="scratchpad"),
}
