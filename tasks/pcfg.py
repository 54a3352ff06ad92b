"""Carry out n nested functions on strings of symbols, such as `append reverse A1 B2 , C3 D4` (the functions of PCFG SET).

Format       > functions in prefix notation, their arguments with commas between | [the string they give] .
             copy, reverse, shift (the first goes last), echo (the last once more), swap_first_last, repeat (twice) have one
             argument; append, prepend (second before first), remove_first, remove_second have two
Input law    a function is uniform among the ten; with two arguments, the number of functions in the first is uniform over what
             is possible; an argument without functions has 2 to 5 uniform symbols; problems whose answer is longer than
             `longest_answer` are drawn again
Chance       little: nearly all answers are symbols of the input, one of 520 (a letter and a number)
Why          the answer is a copy of parts of the input whose places depend on the tree; the published set has other
             probabilities, fitted to English sentences
"""

from collections.abc import Iterator

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer_rows

UNARY = ["copy", "reverse", "shift", "echo", "swap_first_last", "repeat"]
BINARY = ["append", "prepend", "remove_first", "remove_second"]
FUNCTIONS = [*UNARY, *BINARY]


class Pcfg(Task):
    title = "PCFG SET"
    family = "composition"
    source = "Compositionality decomposed: how do neural networks generalise?, 2020, arXiv 1908.08351"
    defaults = {"length": 8, "curriculum": 0.5, "tokens": 4096, "steps": 2400}
    examples = (
        ([526, 521, 0, 21, 530, 40, 60], "> append reverse A1 B2 , C1 D1 | [B2] [A1] [C1] [D1] ."),
        ([523, 5, 6], "> echo A6 A7 | [A6] [A7] [A7] ."),
    )

    def __init__(self, *, symbols: int = 520, longest_answer: int = 64):
        if not 1 <= symbols <= 520:
            raise ValueError(f"symbols={symbols}: 1 to 520 have names, A1 to Z20")
        if longest_answer < 10:
            raise ValueError(f"longest_answer={longest_answer}: two arguments alone have ten symbols")
        self.ordinary, self.longest_answer = symbols, longest_answer
        self.comma = symbols + len(FUNCTIONS)
        self.symbols = self.comma + 1

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Prefix notation with -1 behind shorter ones."""
        rows: list[list[int]] = []
        while len(rows) < batch:
            numbers_BxK = rng.integers(2**32, size=(batch - len(rows), 8 * length + 6))  # of a problem: all its choices
            drawn = [self._expression(iter(numbers), length) for numbers in numbers_BxK.tolist()]
            rows += [row for row in drawn if len(self._value(row)) <= self.longest_answer]
        width = max(map(len, rows))
        return np.array([[*row, *[-1] * (width - len(row))] for row in rows])

    def _expression(self, numbers: Iterator[int], length: int) -> list[int]:
        """An expression of `length` functions: the counts of arguments yet to be written are a stack."""
        row: list[int] = []
        counts = [length]
        while counts:
            n = counts.pop()
            if n == 0:
                row += [_below(self.ordinary, next(numbers)) for _ in range(2 + _below(4, next(numbers)))]
                row.append(self.comma)
                continue
            function = _below(len(FUNCTIONS), next(numbers))
            row.append(self.ordinary + function)
            if function < len(UNARY):
                counts.append(n - 1)
            else:
                first = _below(n, next(numbers))
                counts += [n - 1 - first, first]
        return row[:-1]

    def _value(self, row: list[int]) -> list[int]:
        """From right to left: a string is put on a stack when the word before it is no symbol."""
        stack: list[list[int]] = []
        string: list[int] = []
        for word in reversed([self.comma, *row]):
            if word < self.ordinary:
                string.append(word)
                continue
            if string:
                stack.append(string[::-1])
                string = []
            if word < self.comma:
                stack.append(_apply(FUNCTIONS[word - self.ordinary], stack))
        return stack[0]

    def layout(self, x_BxN: np.ndarray) -> Batch:
        prompts = [[word for word in row if word >= 0] for row in x_BxN.tolist()]
        return prompt_answer_rows(prompts, [self._value(row) for row in prompts])

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 7 * length + 5 + self.longest_answer + 3  # at most n + 1 strings, n commas

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        if symbol < self.ordinary:
            return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[symbol // 20] + str(symbol % 20 + 1)
        return "," if symbol == self.comma else FUNCTIONS[symbol - self.ordinary]


def _below(count: int, number: int) -> int:
    """One of 0..count-1, of a uniform number below 2^32."""
    return number * count >> 32


def _apply(function: str, stack: list[list[int]]) -> list[int]:
    """The value of a function whose arguments are on top of the stack, the first uppermost; it takes them off."""
    x = stack.pop()
    return ONE[function](x) if function in ONE else TWO[function](x, stack.pop())


ONE = {
    "copy": lambda x: x,
    "reverse": lambda x: x[::-1],
    "shift": lambda x: x[1:] + x[:1],
    "echo": lambda x: x + x[-1:],
    "swap_first_last": lambda x: [x[-1], *x[1:-1], x[0]],
    "repeat": lambda x: x + x,
}
TWO = {
    "append": lambda x, y: x + y,
    "prepend": lambda x, y: y + x,
    "remove_first": lambda _, y: y,
    "remove_second": lambda x, _: x,
}
