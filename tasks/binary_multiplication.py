"""Multiply two binary numbers, the least significant bit first, whose lengths differ.

Format       > a1 ... ak * b1 ... bm | [c1 ... cj end 0 ... 0] .      n = k + 1 + m; the product without leading zeros, then end
             and zeros up to n symbols (`padded=false`: [c1 ... cj end] ., as the paper counts its accuracy)
Input law    k uniform on 1..n-2; each number uniform over those of its length but zero, leading zeros allowed
Chance       about 1/2 per symbol; the zeros behind `end` are known
Level        context-sensitive
Why          every bit of the answer depends on many pairs of bits: no encoding is known to make it general in length
"""

from rpecli.bits import BinaryOperation


class BinaryMultiplication(BinaryOperation):
    title = "Binary multiplication"
    sign, more_bits = "*", 0
    family = "arithmetic"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    variants = {"padded=false": {}}
    defaults = {"length": 7, "min_length": 3, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3}
    examples = (
        ([0, 0, 1, 2, 0, 1, 1, 0, 1], "> 0 0 1 * 0 1 1 0 1 | [0] [0] [0] [1] [1] [0] [1] [end] [0] ."),
        ([1, 2, 1], "> 1 * 1 | [1] [end] [0] ."),
    )

    def result(self, a: int, b: int) -> int:
        return a * b

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 2 * length + 3
