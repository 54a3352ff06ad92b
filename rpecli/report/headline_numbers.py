"""The numbers of a report's headline: tokens right, or perplexity, at the first and the last tested length beyond training.

Numbers are means over seeds, then over the encodings of a group, then over tasks. Groups and encodings are compared on the same
tasks: those that have every group compared, and where some run learned the training length. Of their lengths, those that every
run of the task was evaluated at count, and where the tasks share a multiple of the training length, the multiples they share.
A score is what the headline compares: token accuracy, or nats per token with the sign turned, so that higher is better.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rpecli.catalog import GROUPS
from rpecli.report import paired
from rpecli.report.aggregate import EncodingResults, GroupResults, TaskResults, none_learned
from rpecli.report.measures import EXACT, PERPLEXITY, SCORINGS, TOKENS, Scoring
from rpecli.report.records import Record

NEAR_CHANCE = 0.1  # of the score with chance at 0 and perfection at 1: what is below it counts as guessing
NEARLY = 0.1  # of a doubling: a length that is within 7 % of it


class EncodingPoint(Record):
    """One encoding at a point: means over tasks of means over seeds."""

    encoding: str
    """its name as people know it"""
    group: str
    """APE, RPE, content or none"""
    score: float
    """what is compared: token accuracy, or minus nats per token"""
    token_accuracy: float
    """share of tokens right"""
    exact_match: float
    """share of whole strings right"""
    nll: float | None
    """nats per answer token; null where they were not recorded"""


class GroupPoint(Record):
    """One group at a point: means over tasks of means over its encodings."""

    group: str
    """APE, RPE, content or none"""
    encodings: list[str]
    """names of its encodings"""
    solved: int
    """number of its runs that learned their training length"""
    runs: int
    """number of its runs of which that is known"""
    score: float
    """what is compared: token accuracy, or minus nats per token"""
    token_accuracy: float
    """share of tokens right"""
    exact_match: float
    """share of whole strings right"""
    nll: float | None
    """nats per answer token; null where they were not recorded"""


class NopePoint(Record):
    """Runs without an encoding (NoPE) on one task, beside the best encoding there."""

    task: str
    """name of the task"""
    score: float
    """score without an encoding"""
    best_encoding: str
    """name of the encoding with the highest score"""
    best_score: float
    """its score"""
    above_chance: float
    """the score without an encoding, with the best guess at 0 and perfection at 1"""

    def is_as_good(self, margin: float) -> bool:
        """Whether NoPE is no worse than the best encoding, and better than a guess."""
        return self.score >= self.best_score - margin and self.above_chance > NEAR_CHANCE


class Point(Record):
    """One tested length beyond training in every task of the headline."""

    lengths: dict[str, int]
    """the length, by task title"""
    factors: list[float]
    """length divided by the training length, one per task"""
    measure: str
    """what is compared: accuracy or perplexity"""
    chance: float
    """score of the best guess that does not look at the input, mean over tasks"""
    groups: list[GroupPoint]
    """groups, the highest score first"""
    encodings: list[EncodingPoint]
    """encodings that every task has, the highest score first"""
    nope: list[NopePoint]
    """the tasks with runs without an encoding"""

    def group(self, name: str) -> GroupPoint | None:
        return next((group for group in self.groups if group.group == name), None)

    def of_group(self, name: str) -> list[EncodingPoint]:
        return [encoding for encoding in self.encodings if encoding.group == name]

    @property
    def scoring(self) -> Scoring:
        return SCORINGS[self.measure]

    def write(self, score: float) -> str:
        """`84 %`, `7.21`."""
        return self.scoring.shown.write_score(score)

    def is_tie(self, first: float, second: float) -> bool:
        return abs(first - second) <= self.scoring.shown.margin

    def above_chance(self, score: float) -> float:
        """A score with chance at 0 and perfection at 1."""
        rescaled = self.scoring.above_guess(score, self.chance)
        return 0.0 if rescaled is None else rescaled


class Unsolved(Record):
    """An encoding of which not every run learned the training length of a task."""

    task: str
    """name of the task"""
    encoding: str
    """its name"""
    solved: int
    """number of runs that learned the training length"""
    runs: int
    """number of runs of which that is known"""


@dataclass(frozen=True)
class HeadlineNumbers:
    """All that the sentences of a headline are made from."""

    tasks: list[TaskResults]  # that are compared
    left_out: list[TaskResults]  # no run learned them
    other: list[TaskResults]  # they lack a group that others have, or a length beyond training
    compared: list[str]  # RPE and APE, or the only group there is
    first: Point | None
    last: Point | None  # None too where only one length beyond training is tested
    unsolved: list[Unsolved]

    @property
    def farthest(self) -> Point | None:
        """The last point at which some encoding is above chance, else the first."""
        if self.last and any(self.last.above_chance(one.score) > NEAR_CHANCE for one in self.last.encodings):
            return self.last
        return self.first


def headline_numbers(tasks: list[TaskResults]) -> HeadlineNumbers:
    """The numbers of these results."""
    learned = [task for task in tasks if not none_learned(task.solved_flags)]
    beyond = [task for task in learned if paired.extrapolation_lengths(task)]
    groups = [_group_names(task) for task in beyond]
    compared = ["RPE", "APE"] if any({"RPE", "APE"} <= names for names in groups) else _only_group(groups)
    chosen = [task for task, names in zip(beyond, groups, strict=True) if names.issuperset(compared)] if compared else []
    lengths = [_shared_lengths(chosen, last) for last in (False, True)] if chosen else []
    points = [_point(chosen, by_task) for by_task in lengths if by_task]
    return HeadlineNumbers(
        tasks=chosen,
        left_out=[task for task in tasks if task not in learned],
        other=[task for task in learned if task not in chosen],
        compared=compared,
        first=points[0] if points else None,
        last=points[1] if len(points) == 2 and points[1].lengths != points[0].lengths else None,
        unsolved=[one for task in learned for one in _unsolved(task)],
    )


def point_at(tasks: list[TaskResults], lengths: dict[str, int]) -> Point | None:
    """The point of other results, such as references, at given lengths; None unless they have every task and length."""
    chosen = [task for task in tasks if lengths.get(task.title) in paired.extrapolation_lengths(task)]
    return _point(chosen, [lengths[task.title] for task in chosen]) if len(chosen) == len(lengths) else None


@dataclass(frozen=True)
class PartOfReference:
    """A group of the reference results that only some of the tasks have, beside these results on the same tasks."""

    group: GroupPoint
    own: Point
    lacking: list[str]  # names of the other tasks


def parts_of_reference(reference: list[TaskResults], numbers: HeadlineNumbers, whole: Point) -> list[PartOfReference]:
    """Relative and absolute encodings of the reference that no run learned on some of the tasks: what they do on the others."""
    assert numbers.first
    parts = []
    for name in ("RPE", "APE"):
        learned = {task.title for task in reference if name in _group_names(task)}
        lengths = {title: length for title, length in numbers.first.lengths.items() if title in learned}
        if whole.group(name) or not lengths:
            continue
        beside, own = (
            point_at([task for task in tasks if task.title in lengths], lengths) for tasks in (reference, numbers.tasks)
        )
        if beside and own and (group := beside.group(name)):
            lacking = [task.short_title for task in numbers.tasks if task.title not in lengths]
            parts.append(PartOfReference(group, own, lacking))
    return parts


def _group_names(task: TaskResults) -> set[str]:
    return {group.name for group in task.groups if group.by_length}


def _only_group(groups: list[set[str]]) -> list[str]:
    """The first group there is, relative encodings before absolute ones."""
    present: set[str] = set().union(*groups)
    return [name for name in ("RPE", "APE", *GROUPS) if name in present][:1]


def _shared_lengths(tasks: list[TaskResults], last: bool) -> list[int]:
    """Per task its first or last length beyond training, at a multiple that all tasks share if there is one.

    Where there are doublings of the training length, other lengths do not count: 1.1x would say little, and be the first. So too
    where the first could be one that is nearly a doubling.
    """
    options = [
        _doublings({length / task.train_length: length for length in paired.extrapolation_lengths(task)}, nearly=not last)
        for task in tasks
    ]
    shared = set.intersection(*map(set, options))
    choose = max if last else min
    if shared and (choose(shared) != min(shared) or not last):
        return [by_factor[choose(shared)] for by_factor in options]
    return [by_factor[choose(by_factor)] for by_factor in options]


def _doublings(by_factor: dict[float, int], nearly: bool) -> dict[float, int]:
    """The lengths at doublings of the training length, else, if asked, those nearest to one, else all of them."""
    exact = {factor: length for factor, length in by_factor.items() if math.log2(factor).is_integer()}
    distance = {factor: abs(math.log2(factor) - max(1, round(math.log2(factor)))) for factor in by_factor}
    near = {factor: length for factor, length in by_factor.items() if distance[factor] == min(distance.values()) < NEARLY}
    return exact or (near if nearly else {}) or by_factor


def _point(tasks: list[TaskResults], lengths: list[int]) -> Point:
    cells, scoring = list(zip(tasks, lengths, strict=True)), tasks[0].scoring
    return Point(
        lengths={task.title: length for task, length in cells},
        factors=[length / task.train_length for task, length in cells],
        measure=scoring.name,
        chance=fmean(scoring.guess_score(task.chance.get(length, 0.0)) for task, length in cells),
        groups=sorted(_group_points(cells), key=lambda group: -group.score),
        encodings=sorted(_encoding_points(cells), key=lambda encoding: -encoding.score),
        nope=[nope for task, length in cells if (nope := _nope_point(task, length))],
    )


Cells = Collection[tuple[TaskResults, int]]  # a task and one of its lengths


def _encoding_points(cells: Cells) -> list[EncodingPoint]:
    by_name: dict[str, list[tuple[EncodingResults, int]]] = {}
    for task, length in cells:
        for encoding in task.encodings:
            if length in encoding.by_length:
                by_name.setdefault(encoding.short_title, []).append((encoding, length))
    return [
        EncodingPoint(encoding=name, group=entries[0][0].group, **_means(entries, cells))
        for name, entries in by_name.items()
        if len(entries) == len(cells)
    ]


def _group_points(cells: Cells) -> list[GroupPoint]:
    by_name: dict[str, list[tuple[GroupResults, int]]] = {}
    for task, length in cells:
        for group in task.groups:
            if length in group.by_length:
                by_name.setdefault(group.name, []).append((group, length))
    points = []
    for name, entries in by_name.items():
        if len(entries) < len(cells):
            continue
        flags = [flag for group, _ in entries for flag in group.solved_flags]
        names = dict.fromkeys(one.short_title for group, length in entries for one in group.encodings if length in one.by_length)
        points.append(GroupPoint(group=name, encodings=list(names), solved=sum(flags), runs=len(flags), **_means(entries, cells)))
    return points


def _means(entries: Collection[tuple[EncodingResults | GroupResults, int]], cells: Cells) -> dict[str, Any]:
    """The measures, averaged over tasks."""
    means = {
        measure: fmean(summaries[measure].mean for summaries in all_summaries)
        for all_summaries in [[entry.by_length[length] for entry, length in entries]]
        for measure in (TOKENS.key, EXACT.key, PERPLEXITY.key)
        if all(measure in summaries for summaries in all_summaries)
    }
    shown = next(task.scoring.shown for task, _ in cells)
    return {PERPLEXITY.key: None, **means, "score": shown.sign * means[shown.key]}


def _nope_point(task: TaskResults, length: int) -> NopePoint | None:
    """None unless the task has runs without an encoding and others."""
    shown = task.scoring.shown
    scores = [(shown.sign * one.by_length[length][shown.key].mean, one) for one in task.encodings if length in one.by_length]
    without = [score for score, one in scores if one.group == "none"]
    best_score, best = max(
        ((score, one) for score, one in scores if one.group != "none"), key=lambda entry: entry[0], default=(0, None)
    )
    if not without or best is None:
        return None
    above_chance = task.scoring.above_guess(max(without), task.scoring.guess_score(task.chance.get(length, 0.0)))
    return NopePoint(
        task=task.short_title, score=max(without), best_encoding=best.short_title, best_score=best_score,
        above_chance=above_chance or 0.0,
    )  # fmt: skip


def _unsolved(task: TaskResults) -> list[Unsolved]:
    return [
        Unsolved(task=task.short_title, encoding=one.short_title, solved=sum(one.solved_flags), runs=len(one.solved_flags))
        for one in task.encodings
        if not all(one.solved_flags)
    ]
