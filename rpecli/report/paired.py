"""Encodings and groups compared seed by seed and sequence by sequence: differences, their intervals, tests and ranks.

What is compared is fixed in advance, so that no number is picked after the fact: each run's mean exact match (first) and token
accuracy (second), or its mean nats per token with the sign turned where perplexity is measured, over log2 of the lengths beyond
the training length, at the lengths that every run of the task has. Runs are paired by seed: the same seed has the same training
data and the same evaluation sequences under every encoding.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from statistics import fmean
from typing import TypeVar

from rpecli.catalog import GROUPS
from rpecli.report import stats
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.load import RunResults
from rpecli.report.measures import EXACT, Measure
from rpecli.report.records import Difference, McNemarPair, Pair, Pooled
from rpecli.report.warnings import paths_of
from rpecli.table import plural

ALL_TASKS = "all"  # the family of every task
AnyDifference = TypeVar("AnyDifference", bound=Difference)
Scores = dict[str, dict[int, float]]  # label -> seed -> score
Strata = tuple[tuple[float, ...], ...]


def extrapolation_lengths(task: TaskResults) -> list[int]:
    """The lengths beyond the training length that comparisons are made at: those that every run evaluated beyond it has.

    Where the runs share no length, the one that most of them have decides which runs are compared.
    """
    by_run = [_beyond(run, task) for encoding in task.own for run in encoding.evaluated_runs]
    tested = [lengths for lengths in by_run if lengths]
    if not tested:
        return []
    if not set.intersection(*tested):
        counts = Counter(length for lengths in tested for length in lengths)
        most = max(counts, key=lambda length: (counts[length], -length))
        tested = [lengths for lengths in tested if most in lengths]
    return sorted(set.intersection(*tested))


def _beyond(run: RunResults, task: TaskResults) -> set[int]:
    return {length for length in run.evaluations if length > task.train_length}


def compared_runs(encoding: EncodingResults, lengths: list[int]) -> list[RunResults]:
    """The runs of an encoding that have a score at all of these lengths."""
    return [run for run in encoding.evaluated_runs if run.scored.issuperset(lengths)]


def left_out(task: TaskResults) -> list[str]:
    """Messages about the runs that comparisons leave out, and about the lengths: those that a run was not evaluated at."""
    lengths = extrapolation_lengths(task)
    own = [run for encoding in task.own for run in encoding.evaluated_runs if not run.is_reference]
    compared = [run for run in own if _was_evaluated(run, lengths)]
    having = Counter(length for run in compared for length in _beyond(run, task))
    lost = sorted({length for length, n in having.items() if 2 * n > len(compared)} - {*lengths})
    return [
        *_not_evaluated(task, own, lengths, "as the others are, so in no comparison"),
        *_not_evaluated(task, compared, lost, "as most are, so comparisons leave out what was measured there"),
    ]


def _was_evaluated(run: RunResults, lengths: Sequence[int]) -> bool:
    """Whether a run was evaluated at all of these lengths, on whichever sequences."""
    return all(length in run.all_evaluations for length in lengths)


def _not_evaluated(task: TaskResults, runs: Sequence[RunResults], lengths: Sequence[int], why: str) -> list[str]:
    """One message for all of the runs that lack one of these lengths and are measured in one way, with the command for them."""
    by_way: dict[str, list[RunResults]] = defaultdict(list)
    for run in runs:
        if not _was_evaluated(run, lengths):
            by_way[run.variant_flags].append(run)
    at = ",".join(map(str, lengths))
    return [
        f"{plural(len(members), 'run')} of {task.title}, not evaluated at {at} {why}: "
        f"rpe eval {paths_of(members)}{flags} --lengths {at}"
        for flags, members in by_way.items()
    ]


def scores(task: TaskResults, measure: Measure, lengths: list[int] | None = None) -> Scores:
    """The area of a measure's score over log2 length, by label and seed; of the lengths beyond training unless some are given.

    Encodings without a run are left out. Each run counts once, as it was trained.
    """
    return scores_of(task.own, measure, extrapolation_lengths(task) if lengths is None else lengths)


def scores_of(encodings: Sequence[EncodingResults], measure: Measure, lengths: list[int]) -> Scores:
    """The scores of these encodings at these lengths."""
    if not lengths:
        return {}
    by_label = {
        encoding.label: {
            run.config.seed: measure.sign * area_over(run, lengths, measure) for run in compared_runs(encoding, lengths)
        }
        for encoding in encodings
    }
    return {label: by_seed for label, by_seed in by_label.items() if by_seed}


def area_over(run: RunResults, lengths: list[int], measure: Measure) -> float:
    """The area of a measure over log2 of these lengths."""
    by_length = run.by_length(measure.key)
    return stats.area({length: by_length[length] for length in lengths})


def shared_seeds(*by_seed: dict[int, float]) -> list[int]:
    """The seeds that all of these have."""
    return sorted(set.intersection(*map(set, by_seed))) if by_seed else []


def seed_differences(first: dict[int, float], second: dict[int, float]) -> list[float]:
    """The first minus the second, at the seeds that both have."""
    return [first[seed] - second[seed] for seed in shared_seeds(first, second)]


def difference(strata: Sequence[Sequence[float]], bounds: tuple[float, float] = stats.SHARE_DIFFERENCES) -> Difference | None:
    """The mean of paired differences, one stratum per task; None without differences."""
    return _difference(_frozen([values for values in strata if len(values)]), bounds)


@lru_cache(maxsize=100_000)  # tables, files and verdicts need the same pairs: 60 encodings of a task are 1,770
def _difference(strata: Strata, bounds: tuple[float, float]) -> Difference | None:
    if not strata:
        return None
    low, high = stats.mean_interval(strata, bounds) or (None, None)
    sizes = [len(values) for values in strata]
    return Difference(mean=stats.mean(strata), low=low, high=high, p=stats.sign_flip(strata),
                      pairs=sum(sizes), seeds=min(sizes), tasks=len(strata))  # fmt: skip


def group_scores(task: TaskResults, by_label: Scores, groups: tuple[str, str]) -> tuple[Scores, Scores]:
    """The scores of the encodings of two groups on the seeds that all of them have; empty where a group or a seed is missing."""
    first, second = (
        {entry.label: by_label[entry.label] for entry in task.own if entry.group == group and entry.label in by_label}
        for group in groups
    )
    seeds = shared_seeds(*first.values(), *second.values()) if first and second else []
    if not seeds:
        return {}, {}
    first, second = (
        {label: {seed: by_seed[seed] for seed in seeds} for label, by_seed in side.items()} for side in (first, second)
    )
    return first, second


def group_differences(first: Scores, second: Scores) -> list[float]:
    """Per seed: the mean of the first group's encodings minus that of the second's."""
    seeds = shared_seeds(*first.values(), *second.values())
    return [fmean(score[seed] for score in first.values()) - fmean(score[seed] for score in second.values()) for seed in seeds]


def pairs(task: TaskResults, measure: Measure) -> list[Pair]:
    """Every two encodings on the seeds that they share; Holm over all pairs that could be tested."""
    by_label = scores(task, measure)
    differences = []
    for first, second in combinations(by_label, 2):
        paired = difference([seed_differences(by_label[first], by_label[second])], measure.difference_bounds)
        if paired:
            differences.append((first, second, paired))
    adjusted = iter(stats.holm([paired.p for *_, paired in differences if paired.p is not None]))
    return [
        Pair(task=task.name, training_length=task.train_length, measure=measure.key, first=first, second=second,
             p_holm=None if paired.p is None else next(adjusted), **dict(paired))
        for first, second, paired in differences
    ]  # fmt: skip


def best_label(by_label: Scores) -> str | None:
    """The label of the highest mean, the first of those that tie."""
    return next(iter(best_labels(by_label)), None)


def best_labels(by_label: Scores) -> list[str]:
    """The labels of all that have the highest mean."""
    means = {label: fmean(by_seed.values()) for label, by_seed in by_label.items()}
    return [label for label, mean in means.items() if mean == max(means.values())]


def pairs_of(label: str, all_pairs: list[Pair]) -> list[Pair]:
    """The pairs of one encoding, reversed where needed so that it stands first."""
    own = [pair for pair in all_pairs if label in (pair.first, pair.second)]
    return [pair if pair.first == label else reverse(pair) for pair in own]


def reverse(pair: Pair) -> Pair:
    """The second encoding minus the first."""
    return turned(pair).model_copy(update={"first": pair.second, "second": pair.first})


def turned(difference: AnyDifference) -> AnyDifference:
    """A difference with its sign turned."""
    low, high = (None, None) if difference.low is None or difference.high is None else (-difference.high, -difference.low)
    return difference.model_copy(update={"mean": -difference.mean, "low": low, "high": high})


def mcnemar_pairs(task: TaskResults) -> list[McNemarPair]:
    """McNemar's test of every two runs of one seed at the first length beyond training, Holm over all of them."""
    lengths = extrapolation_lengths(task)
    if not lengths or task.scoring.decides is not EXACT:
        return []
    length = lengths[0]
    correct = {}
    for encoding in task.own:
        for run in compared_runs(encoding, [length]):
            line = run.evaluations[length]
            if line.get("correct") and 4 * len(line["correct"]) >= line["n"]:
                correct[encoding.label, run.config.seed] = stats.correct_flags(line["correct"], line["n"])
    rows = []
    for (first, seed), (second, other_seed) in combinations(correct, 2):
        if seed == other_seed and first != second:
            a, b = correct[first, seed], correct[second, seed]
            rows.append((first, second, seed, len(a), int((a & ~b).sum()), int((b & ~a).sum())))
    values = [stats.mcnemar(only_first, only_second) for *_, only_first, only_second in rows]
    return [
        McNemarPair(task=task.name, training_length=task.train_length, first=first, second=second, seed=seed, length=length,
                    n=n, only_first_correct=only_first, only_second_correct=only_second, p=p, p_holm=p_holm)
        for (first, second, seed, n, only_first, only_second), p, p_holm in zip(rows, values, stats.holm(values), strict=True)
    ]  # fmt: skip


def seed_ranks(by_label: Scores) -> dict[str, list[float]]:
    """The rank of each encoding within each seed that all encodings have; ties share the mean of their ranks."""
    seeds = shared_seeds(*by_label.values())
    by_seed = [stats.ranks([values[seed] for values in by_label.values()]) for seed in seeds]
    return {label: [ranks[index] for ranks in by_seed] for index, label in enumerate(by_label)}


def families(tasks: list[TaskResults]) -> dict[str, list[TaskResults]]:
    """The tasks of each family, sorted, and all of them at the end where there are several families."""
    names = sorted({task.family for task in tasks})
    by_family = {name: [task for task in tasks if task.family == name] for name in names}
    return by_family | ({ALL_TASKS: tasks} if len(names) > 1 else {})


def pooled(tasks: list[TaskResults], measure: Measure, family: str = ALL_TASKS) -> list[Pooled]:
    """The encodings that every task with lengths beyond training has, the highest interquartile mean first."""
    by_task = [(task, by_label) for task in tasks if (by_label := scores(task, measure))]
    labels = [label for label in by_task[0][1] if all(label in by_label for _, by_label in by_task)] if by_task else []
    common = [{label: by_label[label] for label in labels} for _, by_label in by_task]
    ranks = [seed_ranks(by_label) for by_label in common]
    groups = {encoding.label: encoding.group for task, _ in by_task for encoding in task.own}
    rows = []
    for label in labels:
        strata = [list(by_label[label].values()) for by_label in common]
        rank_strata = [by_label[label] for by_label in ranks if by_label[label]]
        low, high = stats.mean_interval(rank_strata, (1, len(labels))) or (None, None)
        rows.append(Pooled(
            family=family, measure=measure.key, label=label, group=groups[label], tasks=len(strata), runs=sum(map(len, strata)),
            rank=stats.mean(rank_strata) if rank_strata else None, rank_low=low, rank_high=high, **_iqm(_frozen(strata)),
        ))  # fmt: skip
    return sorted(rows, key=lambda row: (-row.iqm, row.label))


def pooled_groups(tasks: list[TaskResults], measure: Measure, family: str = ALL_TASKS) -> list[Pooled]:
    """Each group over all runs of its encodings, resampled within each task and encoding; without a rank."""
    by_task = [(task, scores(task, measure)) for task in tasks]
    rows = []
    for group in GROUPS:
        members = {
            (task.title, encoding.label): list(by_label[encoding.label].values())
            for task, by_label in by_task for encoding in task.own
            if encoding.group == group and encoding.label in by_label
        }  # fmt: skip
        if members:
            rows.append(Pooled(
                family=family, measure=measure.key, label="", group=group, tasks=len({title for title, _ in members}),
                runs=sum(map(len, members.values())), rank=None, rank_low=None, rank_high=None,
                **_iqm(_frozen(list(members.values()))),
            ))  # fmt: skip
    return rows


def _frozen(strata: Sequence[Sequence[float]]) -> Strata:
    return tuple(tuple(values) for values in strata)


@lru_cache(maxsize=10_000)  # tables and files need the same ones; of a thousand runs each costs half a second
def _iqm(strata: Strata) -> dict[str, float | None]:
    """The interquartile mean and the ends of its interval, as keys of Pooled."""
    low, high = stats.interquartile_interval(strata) or (None, None)
    return {"iqm": stats.interquartile_mean([value for values in strata for value in values]), "iqm_low": low, "iqm_high": high}


def steps_by_seed(encoding: EncodingResults, key: str = "steps_to_90") -> dict[int, tuple[float | None, float]]:
    """`{seed: (steps to the target or None for never, budget)}` of the trained runs that recorded it.

    Of a run that `stop_at` ended before the target, it is not known how many steps it needs; it is left out.
    """
    runs = [run for run in encoding.runs if run.trained and key in (run.record.get("steps_to_accuracy") or {})]
    steps = {run.config.seed: (run.record["steps_to_accuracy"][key], run.record.get("step", run.config.steps)) for run in runs}
    budgets = {run.config.seed: run.config.steps for run in runs}
    return {seed: (reached, float(budgets[seed])) for seed, (reached, taken) in steps.items()
            if reached is not None or taken >= budgets[seed]}  # fmt: skip


def log_steps(task: TaskResults) -> Scores:
    """-log2 of the steps to 90 %, so that higher is faster; a run that never reached it counts its whole budget.

    That understates how much slower such a run is, never overstates it. {} where budgets differ: they cannot be compared.
    """
    by_label = {encoding.label: steps_by_seed(encoding) for encoding in task.own}
    budgets = {budget for by_seed in by_label.values() for _, budget in by_seed.values()}
    if len(budgets) != 1:
        return {}
    return {
        label: {
            seed: -math.log2(budget if steps is None else min(budget, max(steps, 1))) for seed, (steps, budget) in by_seed.items()
        }
        for label, by_seed in by_label.items()
        if by_seed
    }
