"""Solvers of the tasks of Deletang et al. (2023), by definition, with Python's own numbers, lists and `eval`."""

from math import isqrt


def number(bits: list[str]) -> int:
    """The least significant bit first."""
    return int("".join(reversed(bits)), 2)


def bits(value: int) -> list[str]:
    return list(reversed(f"{value:b}"))


def even_pairs(words: list[str]) -> list[str]:
    text = "".join(words)
    pairs = sum(text[i : i + 2] in ("01", "10") for i in range(len(text)))
    return [str(pairs % 2)]


def by_python(words: list[str]) -> list[str]:
    return [str(eval("".join(words)) % 5)]


def equation(words: list[str]) -> list[str]:
    """Tries all digits."""
    left, right = "".join(words).split("=")
    return [str(x) for x in range(5) if (eval(left.replace("x", str(x))) - int(right)) % 5 == 0]


def stack(words: list[str]) -> list[str]:
    pile: list[str] = []
    for word in words:
        if word == "pop":
            pile = pile[:-1]
        else:
            pile.append(word[-1])
    return [*reversed(pile), "end"]


def padded(answer: list[str], length: int) -> list[str]:
    return answer + ["0"] * (length - len(answer))


def binary(words: list[str]) -> list[str]:
    place = next(i for i, word in enumerate(words) if word in "+*")
    a, b = number(words[:place]), number(words[place + 1 :])
    return [*bits(a + b if words[place] == "+" else a * b), "end"]


def missing(words: list[str]) -> list[str]:
    word = [word for word in words if word != "#"]
    half = len(word) // 2
    first, second = word[:half], word[half:]
    return [second[first.index("?")] if "?" in first else first[second.index("?")]]


SOLVERS = {
    "even-pairs": even_pairs,
    "cycle-navigation": lambda words: [str(sum(map(int, words)) % 5)],
    "modular-arithmetic": by_python,
    "modular-arithmetic-brackets": by_python,
    "solve-equation": equation,
    "stack-manipulation": lambda words: padded(stack(words), len(words) + 1),
    "stack-manipulation:padded=false": stack,
    "binary-addition": lambda words: padded(binary(words), len(words) + 1),
    "binary-addition:padded=false": binary,
    "binary-multiplication": lambda words: padded(binary(words), len(words)),
    "binary-multiplication:padded=false": binary,
    "square-root": lambda words: list(f"{isqrt(number(words[::-1])):0{(len(words) + 1) // 2}b}"),
    "odds-first": lambda words: words[1::2] + words[::2],
    "odds-first:order=docstring": lambda words: words[::2] + words[1::2],
    "duplicate": lambda words: words * 2,
    "duplicate:separator=true:symbols=100": lambda words: [*words, ";", *words],
    "missing-duplicate": missing,
    "reverse:symbols=2": lambda words: words[::-1],
    "reverse:symbols=100": lambda words: words[::-1],
    "reverse:format=twice:symbols=100": lambda words: [*words[::-1], ";", *words[::-1]],
    "reverse:format=both:symbols=100": lambda words: [*words[::-1], ";", *words],
    "sort:distinct=false:symbols=5": sorted,
    "sort:distinct=false:symbols=50": lambda words: sorted(words, key=int),
}
