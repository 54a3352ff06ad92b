"""Solvers of the tasks of recall, memory and state tracking, from their definitions."""

import json
from functools import partial
from itertools import takewhile
from pathlib import Path

TABLE = json.loads((Path(__file__).parents[1] / "golden_tasks" / "memorization.json").read_text())["values"]  # as published


def flip_flop(words: list[str], every: bool) -> list[str]:
    answers, bits, state = [], iter(words), ""
    for word in bits:
        if word == "w":
            state = next(bits)
        elif word == "i":
            next(bits)
        elif every:  # the bit that is read is the answer
            answers.append(state)
        elif next(bits, None) not in (None, state):
            raise AssertionError("a bit is read that was not written")
    return answers if every else [state]


def mqar(words: list[str]) -> list[str]:
    """Pairs whose keys come once more, then these keys as questions, in any order."""
    table: dict[str, str] = {}
    for i in range(0, len(words) - 1, 2):
        key, value = words[i : i + 2]
        if key in table or key[0] != "k" or value[0] != "v" or key not in words[i + 2 :]:
            break
        table[key] = value
    answers = [table[word] for word in words[2 * len(table) :] if word in table]
    assert len(answers) == len(table) > 0
    return answers


def mqar_word(words: list[str], values: int) -> list[str]:
    mark = words.index("?")
    table = {key: int(value[1:]) for key, value in zip(words[0:mark:2], words[1:mark:2], strict=True)}
    total = 0
    for key in words[mark + 1 :]:
        total = (total + table[key]) % values
    return [f"m{total}"]


def multi_key(words: list[str], k: int) -> list[str]:
    key = words[-k:]
    for start in range(len(words) - k - 1, -1, -1):
        if words[start : start + k] == key:
            return [words[start + k]]
    raise AssertionError("no earlier occurrence")


def relative_address(words: list[str]) -> list[str]:
    number = next(int(word[1:]) for word in reversed(words) if word[0] == "#")
    return [words[-number]]


def k_back(words: list[str], k: int) -> list[str]:
    return ["y" if words[i] == words[i - k] else "n" for i in range(k, len(words))]


def induction(words: list[str], hops: int) -> list[str]:
    place = len(words) - 1
    for _ in range(hops):
        place = max(i for i in range(1, place + 1) if words[i - 1] == words[place])
    return [words[place]]


def needle(words: list[str]) -> list[str]:
    *hay, key = words
    assert hay.count(key) == 1
    return [hay[hay.index(key) + 1]]


def variables(words: list[str]) -> list[str]:
    text = [word for word in words if word != "~"]
    *assignments, mark, value = text
    assert mark == "?"
    holds: dict[str, str] = {}
    for name, equals, source in zip(*(iter(assignments),) * 3, strict=True):
        assert equals == "="
        assert name not in holds
        holds[name] = holds.get(source, source)  # a variable is assigned before it is used
    return [name for name, held in holds.items() if held == value]


def in_context(words: list[str]) -> list[str]:
    table: dict[str, str] = {}
    answers, rest = [], iter(words)
    for word in rest:
        if word in table:
            answers.append(table[word])
        elif (other := next(rest))[0] == "v":
            table[word] = other
    return answers


def fuzzy(words: list[str]) -> list[str]:
    """Keys of three symbols; the values of those that came before are left out."""
    table: dict[tuple[str, ...], list[str]] = {}
    answers, rest = [], list(words)
    while rest:
        key, rest = tuple(rest[:3]), rest[3:]
        if key not in table:
            table[key] = list(takewhile(lambda word: word[0] == "v", rest))
            rest = rest[len(table[key]) :]
        else:
            answers += table[key]
    return answers


def elements(word: str) -> list[int]:
    return [int(digit) for digit in word]


def permuted(words: list[str], every: bool) -> list[str]:
    """Things that stand in a row are moved by one permutation after the other."""
    things = list(range(len(words[0])))
    products = []
    for word in words:
        things = [elements(word)[thing] for thing in things]
        products.append("".join(map(str, things)))
    return products if every else products[-1:]


def added(words: list[str], modulus: int, every: bool) -> list[str]:
    sums = [str(sum(map(int, words[: i + 1])) % modulus) for i in range(len(words))]
    return sums if every else sums[-1:]


def prefix(words: list[str], modulus: int) -> list[str]:
    rest = iter(words)

    def value() -> int:
        word = next(rest)
        if word not in "+-*":
            return int(word)
        a, b = value(), value()
        return {"+": a + b, "-": a - b, "*": a * b}[word] % modulus

    return [str(value())]


SOLVERS = {
    "flip-flop": partial(flip_flop, every=False),
    "flip-flop:format=lm": partial(flip_flop, every=True),
    "flip-flop:format=lm:ignore=0.1": partial(flip_flop, every=True),
    "flip-flop:ignore=0": partial(flip_flop, every=False),
    "mqar": mqar,
    "mqar:filler=any:symbols=8192": mqar,
    "mqar:every=4:filler=blank": mqar,
    "mqar:filler=blank": mqar,
    "mqar-word": partial(mqar_word, values=2),
    "mqar-word:values=5": partial(mqar_word, values=5),
    "mqar-word:queries=0.4:values=3": partial(mqar_word, values=3),
    "multi-key-recall": partial(multi_key, k=4),
    "multi-key-recall:k=2": partial(multi_key, k=2),
    "multi-key-recall:k=1:symbols=4": partial(multi_key, k=1),
    "selective-copy": lambda words: [word for word in words if word != "x"],
    "selective-copy:copies=16": lambda words: [word for word in words if word != "x"],
    "relative-address": relative_address,
    "relative-address:numbers=3:others=1": relative_address,
    "offset-retrieval": lambda words: [words[-4]],
    "offset-retrieval:k=16": lambda words: [words[-16]],
    "offset-retrieval:format=running": lambda words: words[:-4],
    "k-back": partial(k_back, k=2),
    "k-back:k=8": partial(k_back, k=8),
    "induction": partial(induction, hops=1),
    "induction:hops=2": partial(induction, hops=2),
    "induction:hops=4": partial(induction, hops=4),
    "needle": needle,
    "needle:needles=1": needle,
    "variable-tracking": variables,
    "variable-tracking:chains=1:hops=4": variables,
    "in-context-recall": in_context,
    "in-context-recall:noise=0.2": in_context,
    "fuzzy-recall": fuzzy,
    "fuzzy-recall:symbols=7": fuzzy,
    "compression": lambda words: words,
    "memorization": lambda words: [f"v{TABLE[int(word[1:])]}" for word in words],
    "group-word": partial(permuted, every=True),
    "group-word:group=A5": partial(permuted, every=True),
    "group-word:group=S5": partial(permuted, every=True),
    "group-word:group=Z60": partial(added, modulus=60, every=True),
    "group-word:format=last": partial(permuted, every=False),
    "group-word:format=last:group=A5": partial(permuted, every=False),
    "group-word:format=last:group=S5": partial(permuted, every=False),
    "group-word:format=last:group=Z60": partial(added, modulus=60, every=False),
    "mano": partial(prefix, modulus=23),
}
