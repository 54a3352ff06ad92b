"""Carry out pop and push on a stack of bits and write the final stack.

Format       > s1 ... sk i1 ... in-k | [top ... bottom end 0 ... 0] .      stack bottom to top, then pop, push0, push1; zeros
             fill the answer to n + 1 symbols (`padded=false`: [top ... bottom end] ., as the paper counts its accuracy)
Input law    k uniform on 1..n-1, fair bits, the three instructions equally likely; pop does nothing to an empty stack
Chance       about 1/2 per symbol; the zeros behind `end` are known
Level        deterministic context-free
Why          the answer depends on the balance of pops and pushes behind every symbol
"""

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer

POP, PUSH_0, PUSH_1, END_OF_STACK = range(2, 6)
WORDS = ["0", "1", "pop", "push0", "push1", "end"]


class StackManipulation(Task):
    title = "Stack manipulation"
    symbols = 6
    family = "nested structure"
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    variants = {"padded=false": {}}
    defaults = {"length": 10, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3}
    examples = (
        ([0, 1, 1, 0, 4, 2, 2], "> 0 1 1 0 push1 pop pop | [1] [1] [0] [end] [0] [0] [0] [0] ."),
        ([1, 2, 2], "> 1 pop pop | [end] [0] [0] [0] ."),
    )

    def __init__(self, *, padded: bool = True):
        self.padded = padded

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        stack_Bx1 = rng.integers(1, max(2, length), size=(batch, 1))
        bits_BxN, instructions_BxN = rng.integers(2, size=(batch, length)), rng.integers(POP, PUSH_1 + 1, size=(batch, length))
        return np.where(np.arange(length) < stack_Bx1, bits_BxN, instructions_BxN)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        batch, length = x_BxN.shape
        pushes_BxN = x_BxN != POP
        balance_BxN = np.where(pushes_BxN, 1, -1).cumsum(axis=1)
        height_BxN = balance_BxN - np.minimum(np.minimum.accumulate(balance_BxN, axis=1), 0)  # a pop of nothing does nothing
        row, place = np.nonzero(pushes_BxN)
        stack_BxN, bit_BxN = np.zeros_like(x_BxN), np.where(x_BxN < POP, x_BxN, x_BxN - PUSH_0)
        stack_BxN[row, height_BxN[row, place] - 1] = bit_BxN[row, place]  # in order: the last push to a height stays
        height_Bx1, depth_A = height_BxN[:, -1:], np.arange(length + 1)
        from_top_BxA = np.take_along_axis(stack_BxN, np.maximum(height_Bx1 - 1 - depth_A, 0), axis=1)
        answer_BxA = np.where(depth_A < height_Bx1, from_top_BxA, 0)
        answer_BxA[np.arange(batch), height_Bx1[:, 0]] = END_OF_STACK
        return prompt_answer(x_BxN, answer_BxA, None if self.padded else height_Bx1[:, 0] + 1)

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 2 * length + 4

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return WORDS[symbol]
