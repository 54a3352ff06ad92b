"""The word problem of a group: multiply its elements one after the other, and tell the product after each or at the end.

Format       running    > g1 [g1] g2 [g1 g2] ... gn [g1 ... gn]      no end token, since the input ends it
             last       > g1 ... gn | [g1 ... gn] .
             permutations are written by their images of 0, 1, 2, ..., and the first factor acts first; in Z60 they are added
Input law    elements are uniform and independent
Chance       1 / order of the group
Why          the state of a finite automaton: Z60 is commutative, S3 and S4 are solvable, A5 and S5 are not and need more than
             constant depth; `running` reads the last product, so that one step is enough
"""

from itertools import permutations

import numpy as np

from rpecli.task import Batch, Task, interleaved, prompt_answer


class GroupWord(Task):
    title = "Group word problem"
    family = "state tracking"
    source = "The Illusion of State in State-Space Models, 2024, arXiv 2404.08819"
    variants = {
        "format=last": {"length": 16, "steps": 2400},
        "format=last:group=A5": {"length": 16, "steps": 2400},
        "format=last:group=S5": {"length": 16, "steps": 2400},
        "format=last:group=Z60": {"length": 16, "steps": 2400},
        "group=A5": {"steps": 2400},
        "group=S5": {"steps": 2400},
        "group=Z60": {"steps": 2400},
    }
    defaults = {"length": 32, "curriculum": 0.5, "tokens": 4096, "steps": 1500}
    examples = (([1, 2, 2], "> 021 [021] 102 [120] 102 [021]"), ([0, 5], "> 012 [012] 210 [210]"))

    def __init__(self, *, format: str = "running", group: str = "S3"):
        if format not in ("running", "last"):
            raise ValueError(f"format is running or last, not {format!r}")
        kind, size = group[:1], int(group[1:]) if group[1:].isdecimal() else 0
        if not ((kind in ("S", "A") and 3 <= size <= 6) or (kind == "Z" and 2 <= size <= 1000)):
            raise ValueError(f"group is S3 to S6 (all permutations), A3 to A6 (the even ones) or Z2 to Z1000, not {group!r}")
        self.format, self.group = format, group
        self.names, self.product_GxG = cyclic(size) if kind == "Z" else permutation_group(size, even_only=kind == "A")
        self.symbols = len(self.names)
        self.order_matters = kind != "Z" and group != "A3"

    def has_length(self, length: int) -> bool:
        return length > 0

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        return rng.integers(self.symbols, size=(batch, length))

    def layout(self, x_BxN: np.ndarray) -> Batch:
        product_BxN = x_BxN.copy()
        for i in range(1, x_BxN.shape[1]):
            product_BxN[:, i] = self.product_GxG[product_BxN[:, i - 1], x_BxN[:, i]]
        return prompt_answer(x_BxN, product_BxN[:, -1:]) if self.format == "last" else interleaved(x_BxN, product_BxN)

    def chance(self, length: int) -> float:
        return 1 / self.symbols

    def word(self, symbol: int) -> str:
        return self.names[symbol]


def cyclic(size: int) -> tuple[list[str], np.ndarray]:
    """The names and the products of the numbers below `size`."""
    numbers = np.arange(size)
    return list(map(str, numbers)), (numbers[:, None] + numbers) % size


def permutation_group(size: int, even_only: bool) -> tuple[list[str], np.ndarray]:
    """The same of the permutations of `size` things: the product is the first permutation, then the second."""
    elements = list(permutations(range(size)))
    if even_only:
        elements = [p for p in elements if sum(a > b for i, a in enumerate(p) for b in p[i + 1 :]) % 2 == 0]
    index = {p: i for i, p in enumerate(elements)}
    product_GxG = np.array([[index[tuple(q[image] for image in p)] for q in elements] for p in elements])
    return ["".join(map(str, p)) for p in elements], product_GxG
