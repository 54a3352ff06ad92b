"""Solvers of formal languages: the sets of what may follow, from the definition of the language.

Those of a regular language try every continuation of each prefix up to a few symbols against a pattern or a predicate.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product


def from_definition(symbols: str, is_word: Callable[[str], bool], reach: int = 3) -> Callable[[list[str]], list[set[str]]]:
    """A symbol may follow a prefix if at most `reach` more make a word of it; the end may, if the prefix is a word."""

    @cache
    def lives(prefix: str) -> bool:
        return any(is_word(prefix + "".join(rest)) for n in range(reach + 1) for rest in product(symbols, repeat=n))

    def solve(words: list[str]) -> list[set[str]]:
        prefixes = ["".join(words[: i + 1]) for i in range(len(words))]
        return [{s for s in symbols if lives(prefix + s)} | ({"."} if is_word(prefix) else set()) for prefix in prefixes]

    return solve


def pattern(symbols: str, text: str, reach: int = 3) -> Callable[[list[str]], list[set[str]]]:
    return from_definition(symbols, lambda word: re.fullmatch(text, word) is not None, reach)


def odd_ones_then_even_zeros(word: str) -> bool:
    blocks = re.findall("(1+)(0+)", word)
    return not any(len(ones) % 2 and len(zeros) % 2 for ones, zeros in blocks)


def dyck(words: list[str], kinds: int = 1, depth: int = 0) -> list[set[str]]:
    """With a stack of what must be closed."""
    pairs = dict(list({"(": ")", "[": "]", "(3": ")3"}.items())[:kinds])
    stack: list[str] = []
    sets = []
    for word in words:
        if word in pairs:
            stack.append(pairs[word])
            assert not depth or len(stack) <= depth
        else:
            assert stack.pop() == word
        openings = set(pairs) if not depth or len(stack) < depth else set()
        sets.append(openings | {stack[-1] if stack else "."})
    assert not stack
    return sets


def shuffle(words: list[str]) -> list[set[str]]:
    sets = []
    for i in range(1, len(words) + 1):
        counts = {pair: words[:i].count(pair[0]) - words[:i].count(pair[1]) for pair in ("()", "[]")}
        assert min(counts.values()) >= 0
        sets.append(
            {"(", "["} | {pair[1] for pair, count in counts.items() if count} | ({"."} if not any(counts.values()) else set())
        )
    return sets


def equal_blocks(words: list[str], letters: str) -> list[set[str]]:
    n = words.count("a")
    assert "".join(words) == "".join(letter * n for letter in letters)
    following = [*words[1:], "."]
    return [{"a", "b"} if word == "a" else {after} for word, after in zip(words, following, strict=True)]


def complete(words: list[str]) -> Iterator[int]:
    """The number of expressions that are still missing after each symbol."""
    missing = 1
    for word in words:
        assert missing > 0
        missing += int(word[2:] if word.startswith("op") else 0) - 1
        yield missing


def boolean(words: list[str], arity: int) -> list[set[str]]:
    symbols = {"0", "1", *(f"op{n}" for n in range(1, arity + 1))}
    return [symbols if missing else {"."} for missing in complete(words)]


SOLVERS = {
    "tomita": pattern("01", "1*"),
    "tomita:number=2": pattern("01", "(10)*"),
    "tomita:number=3": from_definition("01", odd_ones_then_even_zeros),
    "tomita:number=4": from_definition("01", lambda word: "000" not in word),
    "tomita:number=5": from_definition("01", lambda word: word.count("0") % 2 == word.count("1") % 2 == 0),
    "tomita:number=6": from_definition("01", lambda word: (word.count("0") - word.count("1")) % 3 == 0),
    "tomita:number=7": pattern("01", "0*1*0*1*"),
    "regular": pattern("abcde", "aa*bb*cc*dd*ee*", reach=4),
    "regular:language=ab-d-bc": pattern("abcd", "[ab]*d[bc]*"),
    "regular:language=012-02": pattern("012", "[012]*02*"),
    "periodic": pattern("a", "(aa)*"),
    "periodic:word=aaaa": pattern("a", "(aaaa)*"),
    "periodic:word=abab": pattern("ab", "(abab)*"),
    "periodic:word=10": pattern("01", "(10)*"),
    "dyck": dyck,
    "dyck:kinds=2": partial(dyck, kinds=2),
    "dyck:depth=3:kinds=3": partial(dyck, kinds=3, depth=3),
    **{f"dyck:depth={depth}": partial(dyck, depth=depth) for depth in (1, 2, 3, 4, 12)},
    "shuffle": shuffle,
    "anbn": partial(equal_blocks, letters="ab"),
    "anbn:letters=3": partial(equal_blocks, letters="abc"),
    "anbn:letters=4": partial(equal_blocks, letters="abcd"),
    "boolean": partial(boolean, arity=3),
    "boolean:arity=2": partial(boolean, arity=2),
    "boolean:arity=5": partial(boolean, arity=5),
}
