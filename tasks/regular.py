"""Which symbols may come next in a word of a regular language that needs order but no counting, by `language`.

Format       > x1 {...}x2 ... {...}xn {...}.      before each token but the first, the set of those that may stand there
             abcde: aa*bb*cc*dd*ee*   ab-d-bc: {a,b}*d{b,c}*   012-02: {0,1,2}*02*
Input law    uniform over the words of the length
Chance       the most frequent set at every place
Why          abcde, ab-d-bc: a symbol that came anywhere decides; 012-02: the latest that is no 2, at any distance
"""

from rpecli.language import Automaton, Regular

LANGUAGES = {  # symbols, next states by symbol, accepting states
    "abcde": ("abcde", ((1, -1, -1, -1, -1), (1, 2, -1, -1, -1), (-1, 2, 3, -1, -1), (-1, -1, 3, 4, -1), (-1, -1, -1, 4, 5),
                        (-1, -1, -1, -1, 5)), {5}),
    "ab-d-bc": ("abcd", ((0, 0, -1, 1), (-1, 1, 1, -1)), {1}),
    "012-02": ("012", ((1, 0, 0), (1, 0, 1)), {1}),
}  # fmt: skip


class RegularLanguage(Regular):
    title = "Regular language"
    family = "formal languages"
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140"
    variants = {"language=012-02": {}, "language=ab-d-bc": {}}
    expressible = {"": (True, True), "language=012-02": (False, False), "language=ab-d-bc": (True, True)}
    defaults = {"length": 48, "tokens": 4096, "steps": 1000}
    examples = (
        ([0, 0, 1, 2, 3, 4], "> a {a b}a {a b}b {b c}c {c d}d {d e}e {. e}."),
        ([0, 1, 2, 3, 4], "> a {a b}b {b c}c {c d}d {d e}e {. e}."),
    )

    def __init__(self, *, language: str = "abcde"):
        if language not in LANGUAGES:
            raise ValueError(f"language is {', '.join(LANGUAGES)}, not {language!r}")
        self.language, (self.letters, following, accepting) = language, LANGUAGES[language]
        self.symbols, self.automaton = len(self.letters), Automaton(following, frozenset(accepting))

    def word(self, symbol: int) -> str:
        return self.letters[symbol]
