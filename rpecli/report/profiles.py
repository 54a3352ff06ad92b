"""Performance profiles (Agarwal et al. 2021): the share of runs that score above a threshold, over all tasks and seeds.

Where two encodings have the same mean, the profile tells one that is always middling from one that works in half of its runs.
"""

from collections.abc import Sequence

from rpecli.report import paired, stats
from rpecli.report.aggregate import TaskResults
from rpecli.report.measures import Measure
from rpecli.report.records import ProfilePoint

THRESHOLDS = [number / 20 for number in range(20)]  # a score above 1 does not exist


def profile_points(tasks: list[TaskResults], measure: Measure) -> list[ProfilePoint]:
    """One point per encoding that every task has and threshold, with its pointwise interval."""
    by_task = [by_label for task in tasks if (by_label := paired.scores(task, measure))]
    groups = {encoding.label: encoding.group for task in tasks for encoding in task.own}
    labels = [label for label in groups if by_task and all(label in by_label for by_label in by_task)]
    strata = {label: [list(by_label[label].values()) for by_label in by_task] for label in labels}
    return [point for label in labels for point in _points(measure.key, label, groups[label], strata[label])]


def _points(measure: str, label: str, group: str, strata: Sequence[Sequence[float]]) -> list[ProfilePoint]:
    intervals = stats.share_intervals(strata, THRESHOLDS)
    values = [value for stratum in strata for value in stratum]
    return [
        ProfilePoint(measure=measure, label=label, group=group, runs=len(values), threshold=threshold,
                     share=sum(value > threshold for value in values) / len(values), low=low, high=high)
        for threshold, (low, high) in zip(THRESHOLDS, intervals, strict=True)
    ]  # fmt: skip
