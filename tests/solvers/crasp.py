"""Solvers of the algorithmic tasks of Huang et al. (2025)."""

from collections import Counter
from functools import partial


def most_common(words: list[str]) -> list[str]:
    (first, count), *others = Counter(words).most_common()
    assert all(other < count for _, other in others), "a tie has no answer"
    return [first]


def interleaved(bits: list[str], streams: int) -> list[str]:
    return [most_common(bits[stream::streams])[0] for stream in range(streams)]


def distinct(words: list[str]) -> list[str]:
    assert len(set(words)) == len(words)
    return words


def every(words: list[str], k: int) -> list[str]:
    assert words[: k - 1] == ["#"] * (k - 1)
    return distinct(words[k - 1 :])[::k]


def binary_sum(words: list[str], reverse: bool) -> list[str]:
    order = -1 if reverse else 1
    a, b = (digits[::order] for digits in "".join(words).split("+"))
    for digits in (a, b):
        assert len(digits) == 1 or digits[0] == "1"
    return list(f"{int(a, 2) + int(b, 2):b}"[::order])


SOLVERS = {
    "majority": most_common,
    "majority:symbols=3": most_common,
    "binary-majority": most_common,
    "binary-majority:streams=3": partial(interleaved, streams=3),
    "copy:distinct=true:symbols=150": distinct,
    "copy:symbols=2": list,
    "copy-every": partial(every, k=2),
    "copy-every:k=1:symbols=40": partial(every, k=1),
    "copy-every:k=3": partial(every, k=3),
    "addition:base=2:operands=split:reverse=false": partial(binary_sum, reverse=False),
    "addition:base=2:operands=split": partial(binary_sum, reverse=True),
}
