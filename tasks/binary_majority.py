"""Name the more frequent bit of a string or, with `streams=3`, of each of three strings that are interleaved.

Format       > b1 ... bn | [c1 ... cs] .      ci is the more frequent of bi, bi+s, bi+2s, ...; n is a multiple of the streams s
Input law    the number of zeros of a stream is uniform over all that leave no tie, their order random; streams are independent
Chance       1/2
Why          one stream needs counting alone; several need counting by place, which is expressible with absolute positions only
"""

import numpy as np

from rpecli.task import Batch, Task, prompt_answer


class BinaryMajority(Task):
    title = "Binary majority"
    symbols = 2
    family = "counting"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140"
    variants = {"streams=3": {"length": 48, "steps": 2400}}
    expressible = {"": (True, True), "streams=3": (True, False)}
    defaults = {"length": 50, "curriculum": 0.5, "tokens": 4096, "steps": 600}
    examples = (([0, 1, 0, 0], "> 0 1 0 0 | [0] ."), ([1], "> 1 | [1] ."))

    def __init__(self, *, streams: int = 1):
        if streams < 1:
            raise ValueError(f"streams is at least 1, not {streams}")
        self.streams, self.order_matters = streams, streams > 1

    def has_length(self, length: int) -> bool:
        return length > 0 and length % self.streams == 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        n = length // self.streams
        zeros_B = rng.integers(n + n % 2, size=(batch * self.streams, 1))  # of n + 1 numbers; for even n without n / 2
        if n % 2 == 0:
            zeros_B += zeros_B >= n // 2
        bits_BxN = rng.permuted((np.arange(n) >= zeros_B).astype(np.int64), axis=1)
        return bits_BxN.reshape(batch, self.streams, n).swapaxes(1, 2).reshape(batch, length)

    def layout(self, x_BxN: np.ndarray) -> Batch:
        streams_BxNxS = x_BxN.reshape(len(x_BxN), -1, self.streams)
        return prompt_answer(x_BxN, (2 * streams_BxNxS.sum(axis=1) > streams_BxNxS.shape[1]).astype(np.int64))

    def chance(self, length: int) -> float:
        return 0.5
