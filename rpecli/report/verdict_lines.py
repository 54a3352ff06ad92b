"""What a report says beside a verdict on extrapolation: levels of groups, runs that learned or failed, the leading encoding."""

from statistics import fmean

from rpecli.report import paired, stats
from rpecli.report.aggregate import TaskResults, none_learned
from rpecli.report.paired import Scores
from rpecli.table import plural


def mean_level(scores: list[tuple[TaskResults, Scores]], group: str) -> float | None:
    """The mean score of a group: over tasks of means over encodings of means over seeds."""
    means = [
        [fmean(by_label[entry.label].values()) for entry in task.encodings if entry.group == group and entry.label in by_label]
        for task, by_label in scores
    ]
    strata = [values for values in means if values]
    return stats.mean(strata) if strata else None


def groups_that_learned_nothing(tasks: list[TaskResults]) -> list[str]:
    """The groups of which it is known that no run learned its training length."""
    flags = {name: [flag for task in tasks for group in task.groups if group.name == name for flag in group.solved_flags]
             for name in ("RPE", "APE")}  # fmt: skip
    return [name for name in flags if none_learned(flags[name])]


def solved_lines(tasks: list[TaskResults]) -> list[str]:
    """How many runs learned their training length, and how those fare beyond it."""
    sentences, measure = [], tasks[0].scoring.decides
    for group in ("RPE", "APE"):
        flags, areas = [], []
        for task in tasks:
            lengths = paired.extrapolation_lengths(task)
            for run in [run for entry in task.encodings if entry.group == group for run in entry.runs if run.solved is not None]:
                flags.append(run.solved)
                if run.solved and lengths and run.scored.issuperset(lengths):
                    areas.append(paired.area_over(run, lengths, measure))
        beyond = f"; their mean {measure.name} beyond training is {measure.write(fmean(areas))}" if areas else ""
        if flags:
            sentences.append(f"{sum(map(bool, flags))} of {len(flags)} {group} runs learned their training length{beyond}.")
    failed = groups_that_learned_nothing(tasks)
    lines = [" ".join(sentences)] if sentences else []
    if failed:
        lines.append(f"No {' and no '.join(failed)} run learned its training length, so extrapolation cannot be judged.")
    return lines


def failed_lines(tasks: list[TaskResults]) -> list[str]:
    """Failed runs have no accuracy, so their seed drops out of the comparison of groups; failing is a result too."""
    failed = [
        f"{entry.n_failed} of {entry.title} on {task.title}" for task in tasks for entry in task.encodings if entry.n_failed
    ]
    if not failed:
        return []
    return [f"Failed runs are excluded from all comparisons, and their seeds from those of groups: {', '.join(failed)}."]


def leader(task: TaskResults) -> str | None:
    """Which encoding is best beyond training, and which others differ from it significantly."""
    measure = task.scoring.decides
    by_label = paired.scores(task, measure)
    best = paired.best_label(by_label)
    if best is None or len(by_label) < 2:
        return None
    mean = fmean(by_label[best].values())
    if mean == 0:
        return f"{task.title}: no encoding has any {measure.name} beyond the training length."
    all_pairs = paired.pairs(task, measure)
    own_pairs = paired.pairs_of(best, all_pairs)
    text = f"{task.title}: {task.titles[best]} has the {measure.highest} mean {measure.name} beyond training, "
    text += measure.write_score(mean)
    if all(pair.p_holm is None for pair in own_pairs):
        return f"{text}; too few seeds for a test."
    second = {task.titles[pair.second]: pair.p_holm for pair in own_pairs}
    lower = [title for title, p in second.items() if p is not None and p < stats.ALPHA]
    others = [title for title in second if title not in lower]
    test = f"(Holm, {plural(len(all_pairs), 'pair')})."
    if not lower:
        return f"{text}, not significantly different from any other {test}"
    rest = f", not from {', '.join(others)}" if others else ""
    return f"{text}, significantly different from {', '.join(lower)}{rest} {test}"
