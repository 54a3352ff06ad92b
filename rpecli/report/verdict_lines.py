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
    """Which encodings are best beyond training, and which others differ from all of these significantly."""
    measure = task.scoring.decides
    by_label = paired.scores(task, measure)
    best = paired.best_labels(by_label)
    if len(by_label) < 2:
        return None
    mean = fmean(by_label[best[0]].values())
    if mean == 0:
        return f"{task.title}: no encoding has any {measure.name} beyond the training length."
    if len(best) == len(by_label):
        return f"{task.title}: all encodings have the same mean {measure.name} beyond training, {measure.write_score(mean)}."
    all_pairs = paired.pairs(task, measure)
    own_pairs = [pair for label in best for pair in paired.pairs_of(label, all_pairs) if pair.second not in best]
    text = f"{task.title}: {_have(task, best)} the {measure.highest} mean {measure.name} beyond training, "
    text += measure.write_score(mean)
    if all(pair.p_holm is None for pair in own_pairs):
        return f"{text}; too few seeds for a test."
    alike = {pair.second for pair in own_pairs if pair.p_holm is None or pair.p_holm >= stats.ALPHA}
    second = list(dict.fromkeys(pair.second for pair in own_pairs))
    lower = [task.titles[label] for label in second if label not in alike]
    others = [task.titles[label] for label in second if label in alike]
    test = f"(Holm, {plural(len(all_pairs), 'pair')})."
    if not lower:
        return f"{text}, not significantly different from any other {test}"
    rest = f", not from {', '.join(others)}" if others else ""
    return f"{text}, significantly different from {', '.join(lower)}{rest} {test}"


def _have(task: TaskResults, labels: list[str]) -> str:
    """`RoPE has`, `RoPE and ALiBi have`."""
    *titles, last = [task.titles[label] for label in labels]
    return f"{', '.join(titles)} and {last} have" if titles else f"{last} has"
