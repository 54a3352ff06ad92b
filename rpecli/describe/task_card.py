"""What there is to know about a task: its format and input law, its vocabulary, chance and lengths, its source, and examples."""

import math
import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from rpecli import data
from rpecli import task as tasks
from rpecli.choice import parse_choice
from rpecli.config import suites
from rpecli.config.recipe import task_defaults
from rpecli.describe import learned
from rpecli.describe.listing import MADE_HERE
from rpecli.evaluate import duplicates
from rpecli.task import Task
from rpecli.titles import display

SEQUENCES, FEW = 256, 0.01  # drawn to look for repeats, and the share that is worth a word
EXAMPLES = 4  # drawn sequences on a card
LONGEST = 10_000  # more than anybody reads
SECTION = re.compile(r"^([A-Z][a-z]+(?: [a-z]+)*)  +(\S.*)$")  # `Input law    every symbol is uniform`
PREDICTED = {True: "yes", False: "no"}


@dataclass(frozen=True)
class TaskCard:
    """The card of one choice; `facts` are pairs of a name and a text that may have several lines."""

    choice: str
    title: str
    summary: str
    facts: dict[str, str]
    worked: list[str]  # the worked examples of the file
    length: int
    drawn: list[str]  # examples of that problem length

    def as_dict(self) -> dict[str, Any]:
        return vars(self)


def card(choice: str, length: int | None = None, seed: int = 0) -> TaskCard:
    """The card of a task with drawn examples of a problem length, by default 8 or the nearest that there is.

    Raises ChoiceError for a task that does not exist, ValueError for a length that has no problems.
    """
    task = tasks.build(choice)
    if problem := data.missing_part(task, parts=("test",)):
        raise ValueError(f"{choice}: {problem}")
    if length is not None and length > LONGEST:
        raise ValueError(f"--length {length}: examples are shown up to length {LONGEST}")
    if length is not None and not task.has_length(length):
        nearest = task.nearest_length(length)
        remedy = f"the nearest is {nearest}" if task.has_length(nearest) else "no length near it has one either"
        raise ValueError(f"{choice} has no problem of length {length}: {remedy}")
    length = task.nearest_length(8) if length is None else length
    if not task.has_length(length):
        raise ValueError(f"{choice} has no problem of length {length} or near it: write another --length")
    batch = task.sample(np.random.default_rng(seed), EXAMPLES, length)
    docstring = (sys.modules[type(task).__module__].__doc__ or "").strip()
    summary, sections = split_docstring(docstring)
    worked = [text for _, text in task.examples] if not parse_choice(choice)[1] else []
    drawn = [task.text(batch, row) for row in range(len(batch.tokens_BxT))]
    return TaskCard(choice, display("tasks", choice), summary, sections | _facts(choice, task, length), worked, length, drawn)


def split_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """The first paragraph of a task's docstring, and its sections (Format, Input law, Chance, Why) by name."""
    summary, _, rest = docstring.partition("\n\n")
    sections: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if match := SECTION.match(line):
            name, text = match.groups()
            sections[name] = text
        elif name:
            sections[name] += f"\n{line.strip()}"
    return " ".join(summary.split()), {name: text.rstrip() for name, text in sections.items()}


def _facts(choice: str, task: Task, length: int) -> dict[str, str]:
    """What the class states, and what is computed from it."""
    predicted, repeats = suites.expressible(choice), _repeats(task, length)
    longest = task.longest()
    facts = {
        "Vocabulary": f"{task.symbols} symbols" + (", of which sets are predicted" if task.predicts_sets else ""),
        "By chance": _by_chance(task, length),
        "Order": "matters" if task.order_matters else "does not matter: the answer depends on what the input holds, not where",
        "Lengths": "any" if longest is None else f"up to {longest}",
        **({"Sizes": f"{', '.join(task.size_names)}: rpe eval --grid 2:16 evaluates every pair"} if task.size_names else {}),
        **({"Repeats": repeats} if repeats else {}),
        "Defaults": ", ".join(f"{key} {value}" for key, value in task_defaults(choice).items()) or "those of all tasks",
        "Family": task.family,
        "Suites": ", ".join(suites.of_task(choice)) or "none",
        "Source": task.source or MADE_HERE,
    }
    if measured := learned.sentence(choice):
        facts["Learned"] = measured
    if attempts := learned.tried(choice):
        facts["Tried"] = attempts
    if predicted:
        absolute, none = map(PREDICTED.__getitem__, predicted)
        facts["Predicted"] = f"expressible in C-RASP with absolute positions: {absolute}, with none: {none}"
    return facts


def _repeats(task: Task, length: int) -> str:
    """How many of the drawn sequences of a length stand before among them, in words; nothing where they are few."""
    if not task.split("test").has_length(length):  # of the user's rows of this length none is held out
        return ""
    share = duplicates.repeated(list(data.evaluation_blocks(task, length, SEQUENCES, 0)))
    if share < FEW:
        return ""
    return f"{share:.0%} of {SEQUENCES} sequences of length {length} stand before among them".replace("%", " %")


def _by_chance(task: Task, length: int) -> str:
    """What the best guess gets right that does not look at the input, of tokens and of strings, or its perplexity.

    Of strings only where all answers have one length. Tokens that depend on each other are right more often, guessed together.
    """
    chance = task.chance(length)
    text = f"{chance:.1%} of tokens at length {length}".replace("%", " %")
    if task.measure != "accuracy":
        return f"{text}, a perplexity of {math.exp(task.chance_nll(length)):.1f}"
    answers = set(task.sample(np.random.default_rng(0), SEQUENCES, length).answer_mask_BxT.sum(1).tolist())
    if len(answers) > 1:
        return text
    (n_answer,) = answers
    strings = f"{chance**n_answer:.1%} of strings".replace("%", " %")
    return f"{text}, {strings}{' if each token is guessed alone' if n_answer > 1 else ''}"


def text(card: TaskCard) -> str:
    """A card as plain text: summary, facts, examples."""
    worked = ["", "Worked examples", *(f"  {line}" for line in card.worked)] if card.worked else []
    drawn = ["", f"Examples of length {card.length}", *(f"  {line}" for line in card.drawn)]
    return "\n".join([f"{card.title} ({card.choice})", card.summary, "", *fact_lines(card), *worked, *drawn])


def fact_lines(card: TaskCard) -> list[str]:
    """The facts in two columns."""
    width = max(map(len, card.facts)) + 2
    return [f"{name:<{width}}{line}" for fact, value in card.facts.items() for name, line in _lines(fact, value)]


def _lines(name: str, value: str) -> list[tuple[str, str]]:
    """A fact as lines, the first with its name."""
    first, *rest = value.splitlines() or [""]
    return [(name, first), *(("", line) for line in rest)]
