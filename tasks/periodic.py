"""Which letter comes next where a word is repeated any number of times, and whether it may end: (aa)* for `word=aa`.

Format       > x1 {...}x2 ... {...}xn {...}.      before each token but the first, the set of those that may stand there
Input law    there is one string of a length, a multiple of that of the word; it is evaluated once
Chance       the most frequent set at every place
Why          counting modulo the length of the word: positions tell it, the letters before do not
"""

from rpecli.language import Automaton, Regular
from rpecli.task import SPECIAL

MAX_LETTERS = 63 - SPECIAL  # as many tokens as a set has bits


class Periodic(Regular):
    title = "Periodic"
    family = "formal languages"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140"
    variants = {"word=aaaa": {"length": 16, "steps": 2400, "lr": 2e-3}, "word=abab": {}}
    expressible = {"": (True, False), "word=aaaa": (True, False), "word=abab": (True, False)}
    defaults = {"length": 48, "tokens": 4096, "steps": 1000}
    examples = (([0, 0], "> a {a}a {. a}."), ([0, 0, 0, 0], "> a {a}a {. a}a {a}a {. a}."))

    def __init__(self, *, word: str = "aa"):
        if not (word.isascii() and word.isalnum()):
            raise ValueError(f"word has letters and digits, such as abab, not {word!r}")
        self.letters = sorted(set(word))
        if len(self.letters) > MAX_LETTERS:
            raise ValueError(f"word has at most {MAX_LETTERS} different letters and digits")
        self.symbols = len(self.letters)
        states = [[-1] * self.symbols for _ in word]
        for state, letter in enumerate(word):
            states[state][self.letters.index(letter)] = (state + 1) % len(word)
        self.automaton = Automaton(tuple(map(tuple, states)), frozenset({0}))

    def word(self, symbol: int) -> str:
        return self.letters[symbol]
