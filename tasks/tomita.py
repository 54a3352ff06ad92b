"""Which symbols may come next in a word of one of the seven languages of Tomita over 0 and 1, by `number`.

Format       > x1 {...}x2 ... {...}xn {...}.      before each token but the first, the set of those that may stand there
             1: 1*   2: (10)*   3: after an odd block of 1s, only even blocks of 0s   4: no 000
             5: an even number of 0s, and of 1s   6: as many 0s as 1s, modulo 3   7: 0*1*0*1*
Input law    uniform over the words of the length; 1 and 2 have one word of a length, which is evaluated once
Chance       the most frequent set at every place
Why          1, 2 and 7 need the order of few blocks, 4 the last two symbols, 3, 5 and 6 counting modulo a number
"""

from rpecli.language import Automaton, Regular

AUTOMATA = {  # next states by symbol, accepting states
    1: (((-1, 0),), {0}),
    2: (((-1, 1), (0, -1)), {0}),
    3: (((0, 1), (2, 0), (3, -1), (2, 1)), {0, 1, 3}),  # 1: odd 1s; 2, 3: an odd, an even number of 0s behind them
    4: (((1, 0), (2, 0), (-1, 0)), {0, 1, 2}),
    5: (((1, 2), (0, 3), (3, 0), (2, 1)), {0}),
    6: (((1, 2), (2, 0), (0, 1)), {0}),
    7: (((0, 1), (2, 1), (2, 3), (-1, 3)), {0, 1, 2, 3}),
}


class Tomita(Regular):
    title = "Tomita"
    family = "formal languages"
    symbols = 2
    source = "A Formal Framework for Understanding Length Generalization in Transformers, 2025, arXiv 2410.02140"
    variants = {
        "number=2": {},
        "number=3": {"length": 24, "steps": 2400, "lr": 2e-3},
        "number=4": {},
        "number=5": {},
        "number=6": {"length": 12, "steps": 2400, "lr": 2e-3},
        "number=7": {},
    }
    expressible = {
        "": (True, True),
        "number=2": (True, True),
        "number=3": (False, False),
        "number=4": (True, False),
        "number=5": (False, False),
        "number=6": (False, False),
        "number=7": (True, True),
    }
    defaults = {"length": 48, "tokens": 4096, "steps": 1000}
    examples = (([1, 1], "> 1 {. 1}1 {. 1}."), ([1], "> 1 {. 1}."))

    def __init__(self, *, number: int = 1):
        if number not in AUTOMATA:
            raise ValueError(f"number is 1 to 7, not {number}")
        self.number, (following, accepting) = number, AUTOMATA[number]
        self.automaton = Automaton(following, frozenset(accepting))
