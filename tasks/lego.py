"""Follow a chain of variables that equal the one before or its opposite, and tell the value of one (LEGO).

Format       answer      > a = + 1 , b = - a , c = + b , ... ? c | [-] .      n clauses
             scratchpad  ... ? c | [a + b - c -] .      the chain with its values, up to the variable in question
Input law    values are fair and independent, names are n of 26 letters in random order; the question is uniform over the second
             half of the chain; `permuted=true`: the clauses stand in random order
Chance       1/2 for the answer; names in a scratchpad are guessed less often
Why          each clause refers to one other: in order, the value can be carried along; permuted, every step is a search
"""

import numpy as np

from rpecli.task import Batch, Task, draw_distinct, measured_chance, prompt_answer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [*LETTERS, "1", "+", "-", "=", ",", "?"]
ONE, PLUS, MINUS, EQUALS, COMMA, QUESTION = range(len(LETTERS), len(WORDS))


class Lego(Task):
    title = "LEGO"
    symbols = len(WORDS)
    family = "chain reasoning"
    source = "The Impact of Positional Encoding on Length Generalization in Transformers, 2023, arXiv 2305.19466"
    variants = {
        "format=scratchpad": {"length": 6, "steps": 6000, "lr": 4e-3},
        "format=scratchpad:permuted=true": {"length": 8, "steps": 3000, "lr": 6e-3},
        "permuted=true": {},
    }
    defaults = {"length": 4, "min_length": 2, "steps": 8000, "lr": 2e-3}
    examples = (
        ([0, 1, 2, 1, 0, 0, 0, 1, 2, 2], "> a = + 1 , b = - a , c = + b ? c | [-] ."),
        ([5, 3, 0, 0, 1, 0, 1], "> d = + f , f = - 1 ? d | [-] ."),
    )

    def __init__(self, *, permuted: bool = False, format: str = "answer"):
        if format not in ("answer", "scratchpad"):
            raise ValueError(f"format is answer or scratchpad, not {format!r}")
        self.permuted, self.format = permuted, format

    def longest(self) -> int | None:
        return len(LETTERS)

    def has_length(self, length: int) -> bool:
        return 2 <= length <= len(LETTERS)

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        """Of the chain: its letters, its values (1 for +), the order in which its clauses stand, the place of the question."""
        letters_BxN = draw_distinct(rng, batch, length, len(LETTERS))
        values_BxN = rng.integers(2, size=(batch, length))
        order_BxN = np.tile(np.arange(length), (batch, 1))
        question_Bx1 = rng.integers((length + 1) // 2, length, size=(batch, 1))
        if self.permuted:
            order_BxN = rng.permuted(order_BxN, axis=1)
        return np.concatenate([letters_BxN, values_BxN, order_BxN, question_Bx1], axis=1)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        letters_BxN, values_BxN, order_BxN = np.split(x_BxN[:, :-1], 3, axis=1)
        question_Bx1, (batch, length) = x_BxN[:, -1:], letters_BxN.shape
        clauses_BxNx5 = np.empty((batch, length, 5), dtype=np.int64)  # `b = - a ,`
        clauses_BxNx5[:, :, 0], clauses_BxNx5[:, :, 1], clauses_BxNx5[:, :, 4] = letters_BxN, EQUALS, COMMA
        clauses_BxNx5[:, 0, 3], clauses_BxNx5[:, 1:, 3] = ONE, letters_BxN[:, :-1]
        before_BxN = np.concatenate([np.ones((batch, 1), dtype=np.int64), values_BxN[:, :-1]], axis=1)
        clauses_BxNx5[:, :, 2] = np.where(values_BxN == before_BxN, PLUS, MINUS)
        prompt_BxP = np.take_along_axis(clauses_BxNx5, order_BxN[:, :, None], axis=1).reshape(batch, -1)
        prompt_BxP[:, -1] = QUESTION
        prompt_BxP = np.concatenate([prompt_BxP, np.take_along_axis(letters_BxN, question_Bx1, axis=1)], axis=1)
        sign_BxN = np.where(values_BxN == 1, PLUS, MINUS)
        if self.format == "answer":
            return prompt_answer(prompt_BxP, np.take_along_axis(sign_BxN, question_Bx1, axis=1))
        chain_BxA = np.stack([letters_BxN, sign_BxN], axis=2).reshape(batch, -1)
        return prompt_answer(prompt_BxP, chain_BxA, 2 * question_Bx1[:, 0] + 2)

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return 5 * length + 4 + (1 if self.format == "answer" else 2 * length)

    def chance(self, length: int) -> float:
        return 0.5 if self.format == "answer" else measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return WORDS[symbol]
