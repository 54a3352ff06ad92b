"""Sort numbers of several digits in ascending order.

Format       > 3 9 3 9 , 7 2 , 4 6 4 | [7 2 , 4 6 4 , 3 9 3 9] .      n numbers, a token per digit
Input law    every number is uniform on 10..9999 and independent
Chance       about 1/5: the first answers are small numbers, the last are large, and commas are frequent
Why          to compare two numbers, the model has to find where each begins and how many digits it has
"""

from itertools import chain

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer_rows

COMMA = 10
DIGITS = [[*map(int, str(number)), COMMA] for number in range(10_000)]  # of every number, the comma behind it included


class SortNumbers(Task):
    title = "Sort numbers"
    symbols = 11
    family = "ordering"
    source = "The Impact of Positional Encoding on Length Generalization in Transformers, 2023, arXiv 2305.19466"
    defaults = {"length": 8, "curriculum": 0.5, "tokens": 2048, "steps": 3000}
    examples = (
        ([717, 1439, 91], "> 7 1 7 , 1 4 3 9 , 9 1 | [9] [1] [,] [7] [1] [7] [,] [1] [4] [3] [9] ."),
        ([10], "> 1 0 | [1] [0] ."),
    )

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(10, 10_000, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        prompts, answers = (list(map(_written, numbers.tolist())) for numbers in (x_BxN, np.sort(x_BxN, axis=1)))
        return prompt_answer_rows(prompts, answers)

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 10 * length + 1

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return "," if symbol == COMMA else str(symbol)


def _written(numbers: list[int]) -> list[int]:
    return list(chain.from_iterable(map(DIGITS.__getitem__, numbers)))[:-1]
