"""Rows and groups of panels compared seed by seed and string by string: differences, their intervals, tests and ranks.

What is compared is fixed beforehand, so that no number is picked because it came out well: each run's mean exact match (first)
and token accuracy (second) over log2 of the lengths beyond the training length, at lengths that every run of the panel has.
Seeds are paired: the same seed has the same training data and the same evaluation strings under every encoding.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from statistics import fmean

from rpecli.report import stats
from rpecli.report.aggregate import Panel, Row
from rpecli.report.load import GROUPS, Run

MEASURES = ("exact_match", "token_accuracy")
Scores = dict[str, dict[int, float]]  # label -> seed -> number
Scored = Callable[[Panel], Scores]


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences; interval and p from three seeds a task, None below."""

    mean: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int
    seeds: int  # of the task that has fewest
    tasks: int


@dataclass(frozen=True)
class Pair:
    """Two rows of a panel: what the first has over the second, and p adjusted for all pairs of the panel."""

    first: str
    second: str
    difference: Difference
    holm: float | None


@dataclass(frozen=True)
class Strings:
    """Two trained models on the same strings: how many each alone got right. Says nothing of other seeds."""

    first: str
    second: str
    seed: int
    length: int
    n: int
    first_alone: int
    second_alone: int
    p: float
    holm: float


@dataclass(frozen=True)
class Pooled:
    """A row, or a group (label ""), over all tasks that have it: interquartile mean and mean rank, each with its interval."""

    label: str
    group: str
    tasks: int
    runs: int
    middle: float
    middle_interval: tuple[float, float] | None
    rank: float
    rank_interval: tuple[float, float] | None


# ------------------------------------------------------------------------------------------------------------------ scores


def beyond(panel: Panel) -> list[int]:
    """Lengths beyond the training length at which every evaluated run of the panel was measured."""
    runs = [each for row in panel.rows for each in row.evaluated]
    return [n for n in panel.lengths if n > panel.length and all(n in each.lines for each in runs)]


def scores(panel: Panel, measure: str) -> Scores:
    """`area` of each run beyond the training length, `{label: {seed: area}}`; rows without a run are left out."""
    lengths = beyond(panel)
    if not lengths:
        return {}
    found = {row.label: {each.config.seed: _area(each, lengths, measure) for each in row.evaluated} for row in panel.rows}
    return {label: seeds for label, seeds in found.items() if seeds}


def _area(each: Run, lengths: list[int], measure: str) -> float:
    return stats.area({n: each.lines[n][measure] for n in lengths})


def shared_seeds(*seeds: dict[int, float]) -> list[int]:
    """Seeds that all of these have."""
    return sorted(set.intersection(*map(set, seeds))) if seeds else []


# ------------------------------------------------------------------------------------------------------------- differences


def difference(strata: Sequence[Sequence[float]]) -> Difference | None:
    """Of paired differences, a stratum a task; None of none."""
    return _difference(_frozen([values for values in strata if len(values)]))


@lru_cache(maxsize=100_000)  # tables, files and verdict ask for the same pairs: 60 encodings of a task are 1,770
def _difference(kept: tuple[tuple[float, ...], ...]) -> Difference | None:
    if not kept:
        return None
    low, high = stats.mean_interval(kept) or (None, None)
    sizes = [len(values) for values in kept]
    return Difference(stats.mean(kept), low, high, stats.sign_flip(kept), sum(sizes), min(sizes), len(kept))


def group_difference(panel: Panel, found: Scores, first: str, second: str) -> list[float]:
    """By seed that every row of both groups has: the mean of the first group's rows minus that of the second's."""
    members = {
        name: [found[row.label] for row in panel.rows if row.group == name and row.label in found] for name in (first, second)
    }
    if not all(members.values()):
        return []
    seeds = shared_seeds(*members[first], *members[second])
    return [fmean(row[s] for row in members[first]) - fmean(row[s] for row in members[second]) for s in seeds]


def pairs(found: Scores) -> list[Pair]:
    """Every two rows on the seeds they share, Holm over all that could be tested."""
    made = []
    for first, second in combinations(found, 2):
        seeds = shared_seeds(found[first], found[second])
        this = difference([[found[first][s] - found[second][s] for s in seeds]])
        if this:
            made.append((first, second, this))
    adjusted = iter(stats.holm([this.p for _, _, this in made if this.p is not None]))
    return [Pair(*each, None if each[2].p is None else next(adjusted)) for each in made]


def best(found: Scores) -> str | None:
    """The row of the highest mean, the first of those that tie."""
    return max(found, key=lambda label: fmean(found[label].values()), default=None)


def against(best_label: str, all_pairs: list[Pair]) -> list[Pair]:
    """The pairs of one row, turned so that it stands first."""
    mine = [pair for pair in all_pairs if best_label in (pair.first, pair.second)]
    return [pair if pair.first == best_label else _turned(pair) for pair in mine]


def _turned(pair: Pair) -> Pair:
    this = pair.difference
    low, high = (None, None) if this.low is None or this.high is None else (-this.high, -this.low)
    turned = Difference(-this.mean, low, high, this.p, this.pairs, this.seeds, this.tasks)
    return Pair(pair.second, pair.first, turned, pair.holm)


# ----------------------------------------------------------------------------------------------------------------- strings


def strings(panel: Panel) -> list[Strings]:
    """McNemar's test of every two runs of one seed at the first length beyond training, Holm over all of them."""
    lengths = beyond(panel)
    if not lengths:
        return []
    length = lengths[0]
    right = {}
    for row in panel.rows:
        for each in row.evaluated:
            line = each.lines[length]
            if line.get("correct") and 4 * len(line["correct"]) >= line["n"]:
                right[row.label, each.config.seed] = stats.bits(line["correct"], line["n"])
    made = []
    for (first, seed), (second, other) in combinations(right, 2):
        if seed == other and first != second:
            a, b = right[first, seed], right[second, seed]
            one, two = int((a & ~b).sum()), int((b & ~a).sum())
            made.append((first, second, seed, length, len(a), one, two, stats.mcnemar(one, two)))
    adjusted = stats.holm([each[-1] for each in made])
    return [Strings(*each, holm) for each, holm in zip(made, adjusted, strict=True)]


# ------------------------------------------------------------------------------------------------------------------ pooled


def seed_ranks(found: Scores) -> dict[str, list[float]]:
    """The rank of each row within each seed that all rows have; ties share the mean of their places."""
    seeds = shared_seeds(*found.values())
    by_seed = [stats.ranks([values[s] for values in found.values()]) for s in seeds]
    return {label: [ranked[i] for ranked in by_seed] for i, label in enumerate(found)}


def pooled(panels: list[Panel], measure: str) -> list[Pooled]:
    """Rows that every panel with lengths beyond training has, best interquartile mean first."""
    found = [(panel, scores(panel, measure)) for panel in panels]
    found = [(panel, each) for panel, each in found if each]
    labels = [row.label for row in found[0][0].rows if all(row.label in each for _, each in found)] if found else []
    kept = [{label: each[label] for label in labels} for _, each in found]
    ranked = [seed_ranks(each) for each in kept]
    groups = {row.label: row.group for panel, _ in found for row in panel.rows}
    made = [_pooled(label, groups[label], kept, ranked) for label in labels]
    return sorted(made, key=lambda each: (-each.middle, each.label))


def pooled_groups(panels: list[Panel], measure: str) -> list[Pooled]:
    """Each group over all runs of its encodings, drawn again within each task and encoding; without a rank."""
    found = [(panel, scores(panel, measure)) for panel in panels]
    made = []
    for name in GROUPS:
        mine = {(panel.title, row.label): list(each[row.label].values())
                for panel, each in found for row in panel.rows if row.group == name and row.label in each}  # fmt: skip
        if mine:
            strata, tasks = list(mine.values()), len({title for title, _ in mine})
            made.append(Pooled("", name, tasks, sum(map(len, strata)), *_middle(_frozen(strata)), math.nan, None))
    return made


def _frozen(strata: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(values) for values in strata)


@lru_cache(maxsize=10_000)  # tables and files ask for the same ones; of a thousand runs each costs half a second
def _middle(strata: tuple[tuple[float, ...], ...]) -> tuple[float, tuple[float, float] | None]:
    """The interquartile mean and its interval."""
    everything = [value for values in strata for value in values]
    return stats.interquartile_mean(everything), stats.interquartile_interval(strata)


def _pooled(label: str, group: str, found: list[Scores], ranked: list[dict[str, list[float]]]) -> Pooled:
    strata = [list(each[label].values()) for each in found]
    places = [each[label] for each in ranked if each[label]]
    rank = stats.mean(places) if places else math.nan
    middle, interval = _middle(_frozen(strata))
    return Pooled(label, group, len(strata), sum(map(len, strata)), middle, interval, rank, stats.mean_interval(places))


# ---------------------------------------------------------------------------------------------------------------- learning


def steps(row: Row, key: str = "steps_to_90") -> dict[int, tuple[float | None, float]]:
    """`{seed: (steps to the target or None, budget)}` of the trained runs that recorded their curve."""
    runs = [each for each in row.runs if each.info["status"] == "trained" and key in (each.info.get("steps_to_accuracy") or {})]
    return {each.config.seed: (each.info["steps_to_accuracy"][key], float(each.config.steps)) for each in runs}


def log_steps(panel: Panel) -> Scores:
    """-log2 of steps to 90 %, so that higher is quicker; a run that never got there counts its whole budget.

    That understates how much slower such a run is, never overstates it. {} where budgets differ: nothing to compare then.
    """
    found = {row.label: steps(row) for row in panel.rows}
    budgets = {budget for row in found.values() for _, budget in row.values()}
    if len(budgets) != 1:
        return {}
    return {
        label: {seed: -math.log2(min(budget, budget if step is None else max(step, 1))) for seed, (step, budget) in row.items()}
        for label, row in found.items()
        if row
    }
