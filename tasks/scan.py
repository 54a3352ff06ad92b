"""Turn a command such as `jump left twice and walk` into a sequence of actions (the grammar of SCAN).

Format       > command | [actions] .      n actions, 1 to 48; at most nine words
Input law    uniform over the commands of n actions; there are 20,910 in all, and short ones are few
Chance       measured; many commands are repetitions of `left` and `right`
Why          `and` keeps the order of its parts and `after` swaps them; `thrice` and `around` make long answers of few words, so
             the length of the answer has to be counted
"""

from functools import cache

import numpy as np

from rpecli.task import Batch, Task, measured_chance, prompt_answer_rows

VERBS, DIRECTIONS = ["walk", "look", "run", "jump", "turn"], ["left", "right"]
MANNERS, TIMES = ["opposite", "around"], ["twice", "thrice"]
CONJUNCTIONS = ["and", "after"]
COMMANDS = [*VERBS, *DIRECTIONS, *MANNERS, *TIMES, *CONJUNCTIONS]
ACTIONS = ["I_WALK", "I_LOOK", "I_RUN", "I_JUMP", "I_TURN_LEFT", "I_TURN_RIGHT"]
WORDS = [*COMMANDS, *ACTIONS]
AND, AFTER = map(WORDS.index, CONJUNCTIONS)
REPEATED = [[], ["twice"], ["thrice"]]
Phrase = tuple[int, ...]


@cache
def phrases() -> dict[Phrase, Phrase]:
    """The actions of every command without a conjunction: 102."""
    once: dict[tuple[str, ...], tuple[str, ...]] = {}
    for verb in VERBS:
        act = () if verb == "turn" else (f"I_{verb.upper()}",)
        if act:
            once[verb,] = act
        for direction in DIRECTIONS:
            turn = (f"I_TURN_{direction.upper()}",)
            once[verb, direction] = turn + act
            once[verb, "opposite", direction] = turn + turn + act
            once[verb, "around", direction] = (turn + act) * 4
    repeated = {(*words, *times): actions * n for words, actions in once.items() for n, times in enumerate(REPEATED, start=1)}
    return {tuple(map(WORDS.index, words)): tuple(map(WORDS.index, actions)) for words, actions in repeated.items()}


@cache
def commands() -> dict[int, np.ndarray]:
    """The commands of every number of actions, `[commands, 9]`, with -1 behind shorter ones."""
    by_length: dict[int, list[list[int]]] = {}
    for first, actions in phrases().items():
        by_length.setdefault(len(actions), []).append([*first])
        for second, more in phrases().items():
            by_length.setdefault(len(actions) + len(more), []).extend(
                [*first, conjunction, *second] for conjunction in (AND, AFTER)
            )
    return {n: np.array([[*words, *[-1] * (9 - len(words))] for words in rows]) for n, rows in sorted(by_length.items())}


class Scan(Task):
    title = "SCAN"
    symbols = len(WORDS)
    family = "composition"
    source = (
        "Generalization without Systematicity: On the Compositional Skills of Sequence-to-Sequence Recurrent Networks, 2018, "
        "arXiv 1711.00350"
    )
    defaults = {"length": 25, "tokens": 2048, "steps": 3000}
    examples = (
        ([3, 5, 9, 11, 0, -1], "> jump left twice and walk | [I_TURN_LEFT] [I_JUMP] [I_TURN_LEFT] [I_JUMP] [I_WALK] ."),
        ([2, 12, 4, 7, 6], "> run after turn opposite right | [I_TURN_RIGHT] [I_TURN_RIGHT] [I_RUN] ."),
    )

    def longest(self) -> int | None:
        return max(commands())

    def has_length(self, length: int) -> bool:
        return length in commands()

    def draw(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        rows = commands()[length]
        return rows[rng.integers(len(rows), size=batch)]

    def layout(self, x_BxN: np.ndarray) -> Batch:
        prompts = [tuple(word for word in row if word >= 0) for row in x_BxN.tolist()]
        return prompt_answer_rows(prompts, [_actions(words) for words in prompts])

    def sequence(self, length: int) -> int:
        """Tokens of the longest sequence."""
        return length + 3 + int((commands()[length] >= 0).sum(axis=1).max())

    def chance(self, length: int) -> float:
        return measured_chance(self, length)

    def word(self, symbol: int) -> str:
        return WORDS[symbol]


def _actions(words: Phrase) -> Phrase:
    for conjunction in (AND, AFTER):
        if conjunction in words:
            place = words.index(conjunction)
            first, second = phrases()[words[:place]], phrases()[words[place + 1 :]]
            return first + second if conjunction == AND else second + first
    return phrases()[words]
