"""Parity of bits: after every bit (`format=running`), once at the end (`bit`), or in a scratchpad after the input (`scratchpad`).

Format       running     > b1 [c1] b2 [c2] ... bn [cn]      ci = b1 + ... + bi mod 2; no end token, since the input ends it
             bit         > b1 ... bn | [cn] .
             scratchpad  > b1 ... bn | [c1 ... cn] .
Input law    iid: fair independent bits; count: the number of ones is uniform on 0..n, their order random (few ones are common)
Chance       1/2 per token; slightly more for law=count, since an even number of ones is more likely
Level        regular (`format=bit`: the form of Deletang et al.)
Why          running only needs the previous answer; the other formats need every bit and are known to be hard
"""

import numpy as np

from rpecli.task import BOS, SPECIAL, Batch, Task, prompt_answer


class Parity(Task):
    title = "Parity"
    symbols = 2
    family = "state tracking"
    order_matters = False
    source = "Neural Networks and the Chomsky Hierarchy, 2023, arXiv 2207.02098"
    variants = {
        "format=bit": {"length": 8, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3},
        "format=bit:law=count": {"length": 16},
        "format=scratchpad": {"length": 8, "curriculum": 0.5, "tokens": 2048, "steps": 4500, "lr": 2e-3},
    }
    expressible = {"format=bit:law=count": (False, False)}
    defaults = {"length": 128, "tokens": 4096, "steps": 600}
    examples = (([1, 0, 1], "> 1 [1] 0 [1] 1 [0]"), ([0, 1], "> 0 [0] 1 [1]"))

    def __init__(self, *, format: str = "running", law: str = "iid"):
        if format not in ("running", "bit", "scratchpad"):
            raise ValueError(f"format is running, bit or scratchpad, not {format!r}")
        if law not in ("iid", "count"):
            raise ValueError(f"law is iid or count, not {law!r}")
        self.format, self.law = format, law

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        if self.law == "iid":
            return rng.integers(2, size=(batch, length))
        ones_B = rng.integers(length + 1, size=(batch, 1))
        return rng.permuted((np.arange(length) < ones_B).astype(np.int64), axis=1)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        running_BxN = x_BxN.cumsum(axis=1) % 2
        if self.format == "bit":
            return prompt_answer(x_BxN, running_BxN[:, -1:])
        if self.format == "scratchpad":
            return prompt_answer(x_BxN, running_BxN)
        batch, length = x_BxN.shape
        tokens_BxT = np.full((batch, 2 * length + 1), BOS, dtype=np.int64)
        tokens_BxT[:, 1::2], tokens_BxT[:, 2::2] = x_BxN + SPECIAL, running_BxN + SPECIAL
        answer_mask_BxT = np.zeros(tokens_BxT.shape, dtype=bool)
        answer_mask_BxT[:, 2::2] = True
        return Batch(tokens_BxT, answer_mask_BxT)

    def chance(self, length: int) -> float:
        if self.law == "iid":
            return 0.5
        even_N = [(i // 2 + 1) / (i + 1) for i in range(1, length + 1)]  # the ones among the first i are uniform on 0..i too
        return even_N[-1] if self.format == "bit" else sum(even_N) / length
