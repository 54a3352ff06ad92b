"""Solvers of the tasks of Kazemnejad et al. (2023), by definition, on words."""

import re


def counting(words: list[str]) -> list[str]:
    return words if ":" not in words else [words[1]] * (len(words) - 3)


def running(numbers: list[int]) -> list[str]:
    return [str(sum(numbers[: i + 1]) % 10) for i in range(len(numbers))]


def digits(words: list[str]) -> list[int]:
    return list(map(int, words[::2]))


def interleaved(first: list[str], second: list[str]) -> list[str]:
    return [word for pair in zip(first, second, strict=True) for word in pair]


def terms(words: list[str]) -> list[int]:
    """Python evaluates every term; its % is never negative."""
    x = words[2]
    return [eval(term.replace("x", f"({x})")) for term in " ".join(words[4:]).split(" + ")]


def chain(words: list[str]) -> list[str]:
    """Looks for a clause whose right side is known, until the question is."""
    text = " ".join(words)
    clauses, question = re.findall(r"(\w) = ([+-]) (\w)", text), words[-1]
    known, written = {"1": 1}, []
    while question not in known:
        name, sign, other = next(clause for clause in clauses if clause[2] in known and clause[0] not in known)
        known[name] = known[other] if sign == "+" else -known[other]
        written += [name, "+" if known[name] > 0 else "-"]
    return written


def numbers(words: list[str]) -> list[str]:
    ordered = sorted("".join(words).split(","), key=int)
    return list(",".join(ordered))


def selection(words: list[str]) -> list[str]:
    left, written = list(words), []
    while left:
        place = min(range(len(left)), key=lambda i: (int(left[i]), i))
        written += [left[place], ":"]
        left[place] = left[0]
        left = left[1:]
        written += [*left, ";"]
    return [*written[:-1], "=", *sorted(words, key=int)]


def scan(words: list[str]) -> list[str]:
    """From the outermost word inwards."""
    for conjunction in ("and", "after"):
        if conjunction in words:
            place = words.index(conjunction)
            first, second = scan(words[:place]), scan(words[place + 1 :])
            return first + second if conjunction == "and" else second + first
    if words[-1] in ("twice", "thrice"):
        return scan(words[:-1]) * {"twice": 2, "thrice": 3}[words[-1]]
    verb, *manner = words
    act = [] if verb == "turn" else [f"I_{verb.upper()}"]
    if not manner:
        return act
    turn = [f"I_TURN_{manner[-1].upper()}"]
    if manner[0] == "around":
        return (turn + act) * 4
    return turn * (2 if manner[0] == "opposite" else 1) + act


def pcfg(words: list[str]) -> list[str]:
    value, rest = argument(words)
    assert rest == []
    return value


def argument(words: list[str]) -> tuple[list[str], list[str]]:
    """The value of the expression that begins here, and what follows it: by recursive descent."""
    head, rest = words[0], words[1:]
    if head in ("append", "prepend", "remove_first", "remove_second"):
        first, rest = argument(rest)
        assert rest[0] == ","
        second, rest = argument(rest[1:])
        results = {"append": first + second, "prepend": second + first, "remove_first": second, "remove_second": first}
        return results[head], rest
    if head[0].isupper():
        end = words.index(",") if "," in words else len(words)
        return words[:end], words[end:]
    value, rest = argument(rest)
    results = {
        "copy": value,
        "reverse": list(reversed(value)),
        "shift": value[1:] + value[:1],
        "echo": [*value, value[-1]],
        "swap_first_last": [value[-1], *value[1:-1], value[0]],
        "repeat": value * 2,
    }
    return results[head], rest


SOLVERS = {
    "counting-copy": counting,
    "counting-copy:format=twice": lambda words: words * 2,
    "counting-copy:format=replace": counting,
    "summation": lambda words: running(digits(words))[-1:],
    "summation:format=scratchpad": lambda words: running(digits(words)),
    "summation:format=steps": lambda words: interleaved(words[::2], running(digits(words))),
    "summation:modulus=0": lambda words: list(str(sum(digits(words)))),
    "polynomial": lambda words: [str(sum(terms(words)) % 10)],
    "polynomial:format=scratchpad": lambda words: running(terms(words)),
    "polynomial:format=steps": lambda words: interleaved([str(term % 10) for term in terms(words)], running(terms(words))),
    "lego": lambda words: chain(words)[-1:],
    "lego:permuted=true": lambda words: chain(words)[-1:],
    "lego:format=scratchpad": chain,
    "lego:format=scratchpad:permuted=true": chain,
    "sort-numbers": numbers,
    "selection-sort": selection,
    "scan": scan,
    "pcfg": pcfg,
}
