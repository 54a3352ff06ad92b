"""Verdicts in words: what was compared, the sentence of a difference, what would settle the claim, and the summary."""

from collections.abc import Sequence
from dataclasses import dataclass

from rpecli.report import retrain, sample_size
from rpecli.report.aggregate import TaskResults
from rpecli.report.format import Writer, describe_difference, format_p, p_equation
from rpecli.report.labels import LabelTest
from rpecli.report.load import RunResults
from rpecli.report.records import Difference, Verdict

SUPPORTED, CONTRADICTED, MIXED, NO_DIFFERENCE = "supported", "contradicted", "mixed", "no difference"
NOT_ENOUGH, AT_FLOOR, NOT_MEASURED = "not enough evidence", "both at floor", "not measured"
ADJECTIVES = {"RPE": "relative", "APE": "absolute", "content": "content-dependent"}
MOST_NAMES = 8  # encodings of a group that a sentence names


@dataclass(frozen=True)
class Words:
    """How a claim puts a difference: what is measured, in full and behind a number, and the three ways it can go."""

    measure: str
    of: str
    write: Writer
    verbs: tuple[str, str] = ("has", "have")  # of one encoding and of several
    higher: str = "a higher mean than"
    lower: str = "a lower mean than"
    equal: str = "the same mean as"


@dataclass(frozen=True)
class Sides:
    """The titles of the encodings of two groups, and the number of tasks on which they are compared."""

    groups: tuple[str, str]
    first: list[str]
    second: list[str]
    tasks: int
    in_all: tuple[int, int]  # how many of each all tasks have

    @property
    def compared(self) -> str:
        """`these 4 relative encodings against these 2 absolute ones on these 3 tasks`."""
        first, second = these(self.groups[0], len(self.first)), these(self.groups[1], len(self.second), "one")
        return f"{first} against {second} on {self.on}"

    @property
    def alike(self) -> bool:
        """Whether all tasks have the same encodings."""
        return self.in_all == (len(self.first), len(self.second))

    @property
    def on(self) -> str:
        tasks = "this task" if self.tasks == 1 else f"these {self.tasks} tasks"
        return tasks if self.alike else f"{tasks} (not every encoding on each)"


def these(group: str, number: int, noun: str = "encoding") -> str:
    """`these 4 relative encodings`, `this absolute one`, `NoPE`."""
    if group == "none":
        return "NoPE"
    return f"this {ADJECTIVES[group]} {noun}" if number == 1 else f"these {number} {ADJECTIVES[group]} {noun}s"


def sentence(words: Words, difference: Difference, sides: Sides) -> str:
    """`these 4 relative encodings (...) have a higher mean than these 2 absolute ones (...) on these 3 tasks: ...`."""
    verb = words.verbs[len(sides.first) > 1 and sides.groups[0] != "none"]
    relation = words.equal if difference.mean == 0 else words.higher if difference.mean > 0 else words.lower
    first = these(sides.groups[0], len(sides.first)) + _names(sides.groups[0], sides.first)
    second = these(sides.groups[1], len(sides.second), "one") + _names(sides.groups[1], sides.second)
    numbers = describe_difference(difference, words.write)
    return f"{first} {verb} {relation} {second} on {sides.on}: {words.measure}, {numbers}."


def _names(group: str, titles: list[str]) -> str:
    return "" if group == "none" or len(titles) > MOST_NAMES else f" ({', '.join(titles)})"


def label_line(test: LabelTest, sides: Sides) -> str:
    """The permutation test over labels, with the smallest p that exists, and Welch's test."""
    first, second = sides.in_all
    if test.smallest == 1:
        of = "" if sides.alike else " that all tasks have"
        return f"With one encoding in each group{of}, nothing can be said about encodings in general."
    differ = "differs" if test.extreme == 1 else "differ"
    every = f"these {first + second} encodings" if sides.alike else f"the {first + second} encodings that all tasks have"
    ways = f"{test.relabellings:,} {'' if test.exact else 'random '}ways to call {first} of {every}"
    line = (
        f"Labels: of the {ways} relative, {test.extreme:,} {differ} as much: permutation {p_equation(test.p)} (the "
        f"smallest that exists for {first} and {second} encodings: {format_p(test.smallest)})."
    )
    if test.p_welch is None:
        return line
    return f"{line} Encodings in general (exploratory): Welch's t over the means of encodings, {p_equation(test.p_welch)}."


def settling(tasks: Sequence[TaskResults], seeds: int | None, shifted: bool = False) -> str:
    """The commands with so many seeds; without a number, that none within reach is expected to decide."""
    if seeds is None:
        return f"More than {sample_size.MOST} seeds per task would be needed: the effect is small against its spread over seeds"
    runs = _own_runs(tasks)
    first = min(run.config.seed for run in runs)
    lines = retrain.more(runs, [{"seed": seed} for seed in range(first, first + seeds)], shifted)
    return f"To settle it: {lines or f'the commands that trained these runs, with --seed {first}:{first + seeds}'}"


def _own_runs(tasks: Sequence[TaskResults]) -> list[RunResults]:
    runs = [run for task in tasks for encoding in task.encodings for run in encoding.runs]
    return [run for run in runs if not run.is_reference] or runs


def adding(flag: str, tasks: Sequence[TaskResults], shifted: bool = False) -> str:
    """The commands that train and measure another encoding, as a flag gives it, as these runs were, with their seeds."""
    if not (runs := _own_runs(tasks)):
        return f"rpe train {flag}"
    lines = retrain.more(runs, [{"encoding": flag.split()[1], "positions": "start"}], shifted)
    return lines or f"the commands that trained these runs, with {flag}"


def told(verdict: Verdict) -> Verdict:
    """The verdict with its summary, and without the way to settle it where it is settled."""
    undecided = verdict.outcome == NOT_ENOUGH
    update = {"summary": summary(verdict)} | ({} if undecided else {"settle": None, "seeds_needed": None})
    return verdict.model_copy(update=update)


def summary(verdict: Verdict, compared: bool = True, settle: bool = True) -> str:
    """A verdict in a sentence or two; with what was compared, and what would settle it, unless that is said elsewhere."""
    outcome, sides = verdict.outcome.capitalize(), f"; {verdict.compared}" if compared else ""
    if verdict.difference is None:
        return f"{outcome}: {verdict.lines[0]}"
    if verdict.outcome == AT_FLOOR:
        return f"{outcome}, so nothing can be compared: {verdict.effect}{sides}."
    text = f"{outcome}: {verdict.effect}, {_p(verdict)}{sides}"
    if verdict.outcome == MIXED:
        text += f", the other way round on {'; '.join(opposite(verdict.difference, verdict.by_task))}"
    return f"{text}. {verdict.settle}." if settle and verdict.settle and verdict.outcome == NOT_ENOUGH else f"{text}."


def beside(verdict: Verdict, reference: Verdict) -> Verdict:
    """A verdict with `Supported (reference): +29 points [20, 37] of exact match beyond training, p = 0.001 (Holm)`."""
    outcome, _, numbers = summary(reference, compared=False, settle=False).partition(": ")
    compared = (reference.compared or "").replace("these ", "")  # they are not listed here
    text = f"{outcome} (reference): {numbers.removesuffix('.')}"
    return verdict.model_copy(update={"reference": text, "reference_compared": compared})


def opposite(difference: Difference, by_task: dict[str, Difference]) -> list[str]:
    """The tasks whose interval lies wholly on the other side."""
    return [title for title, one in by_task.items() if one.side and one.side == -difference.side]


def _p(verdict: Verdict) -> str:
    """`p = 0.012 (Holm)`, where several claims were tested; that of equivalence is called so."""
    p = verdict.p_deciding if verdict.p_holm is None else verdict.p_holm
    if p is None:
        return "too few seeds for a test"
    name = "equivalence " if verdict.equivalent else ""
    return f"{name}{p_equation(p)}{'' if verdict.p_holm in (None, verdict.p_deciding) else ' (Holm)'}"
