"""Solvers of the tasks that came first."""


def running_parity(bits: list[str]) -> list[str]:
    return [str(bits[: i + 1].count("1") % 2) for i in range(len(bits))]


def by_number(words: list[str]) -> list[str]:
    return sorted(words, key=int)


def addition(words: list[str]) -> list[str]:
    plus = words.index("+")
    a, b = (int("".join(reversed(digits))) for digits in (words[:plus], words[plus + 1 :]))
    return list(reversed(f"{a + b:0{plus + 1}d}"))


SOLVERS = {
    "copy": list,
    "copy:symbols=3": list,
    "reverse": lambda words: words[::-1],
    "sort": by_number,
    "sort:symbols=8:distinct=false": by_number,
    "recall": lambda words: [words[words.index("*") + 1]],
    "recall:symbols=5": lambda words: [words[words.index("*") + 1]],
    "parity": running_parity,
    "parity:format=scratchpad": running_parity,
    "parity:format=bit": lambda bits: [str(bits.count("1") % 2)],
    "parity:format=bit:law=count": lambda bits: [str(bits.count("1") % 2)],
    "addition": addition,
}
