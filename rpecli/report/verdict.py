"""Verdicts: what the runs support of each claim made for relative encodings, by rules fixed in advance.

A claim compares the groups RPE and APE, paired by seed within each task. It is supported or contradicted if the sign-flip test
over all pairs gives p < 0.05, adjusted for the claims tested together (Holm), and the bootstrap interval excludes 0. There is no
difference if the whole interval lies within the claim's margin. The outcome is mixed if the interval of one task lies wholly on
the other side. Otherwise there is not enough evidence; so too with fewer than three seeds per task or six pairs in total, where
no p below 0.05 exists, and where a group learned nothing. Each claim has one deciding test, chosen in advance: exact match,
predictions kept at later positions, steps to 90 %. Those three are the family that Holm corrects; other numbers are exploratory.
"""

import math
from dataclasses import dataclass
from statistics import fmean

from rpecli.report import paired, stats
from rpecli.report.aggregate import TaskResults
from rpecli.report.format import Writer, describe_difference, format_number, format_p, plural, write_accuracy, write_steps
from rpecli.report.paired import Scores
from rpecli.report.records import Difference, Verdict

SUPPORTED, CONTRADICTED, MIXED, NO_DIFFERENCE = "supported", "contradicted", "mixed", "no difference"
NOT_ENOUGH, AT_FLOOR, NOT_MEASURED = "not enough evidence", "both at floor", "not measured"
MIN_PAIRS = 6  # with fewer, p < 0.05 cannot be reached, and equivalence is not concluded either
MARGIN = 0.05  # of accuracy: differences within it are negligible
MARGIN_STEPS = math.log2(1.1)  # a tenth more or fewer steps
FLOOR = 0.05  # mean exact match beyond training up to which a group does not extrapolate
EXTRAPOLATION, INVARIANCE, EFFICIENCY = "Length extrapolation", "Translation invariance", "Sample efficiency"
RULES = (
    "Relative (RPE) and absolute (APE) encodings are compared, paired by seed within each task, by rules fixed before any run. "
    "Supported or contradicted: the sign-flip test over all pairs gives p < 0.05, adjusted for the claims tested together "
    "(Holm), and the 95 % bootstrap interval excludes 0. No difference: the interval lies within 0.05 of accuracy, or a tenth of "
    "the steps. Mixed: the interval of one task lies on the other side. At least 3 seeds per task and 6 pairs in total are "
    "required."
)
GROUP_NAMES = {"RPE": "RPE", "APE": "APE", "none": "NoPE"}
ScoresByTask = list[tuple[TaskResults, Scores]]


@dataclass(frozen=True)
class Claim:
    """What a claim is about: the scores of each task (higher is better), the margin, and how a difference is written."""

    name: str
    measure: str
    scores: ScoresByTask
    margin: float
    write: Writer
    relation: str = "minus"  # between the names of two groups


def accuracy_claim(name: str, measure: str, scores: ScoresByTask) -> Claim:
    """A claim about shares, with the margin and the notation of accuracies."""
    return Claim(name, measure, scores, MARGIN, write_accuracy)


def verdicts(tasks: list[TaskResults], kept_shares: dict[str, dict[str, Scores]] | None = None) -> list[Verdict]:
    """Verdicts on the three claims, in the order of the report.

    `kept_shares` holds, by kind of shift and task title, the share of predictions that a shift did not change.
    """
    return corrected([extrapolation(tasks), invariance(tasks, kept_shares or {}), efficiency(tasks)])


def corrected(uncorrected: list[Verdict]) -> list[Verdict]:
    """Holm over the claims that could be tested: of three tests at 0.05, one report in seven would find a false effect."""
    tested = {v.claim: v.difference.p for v in uncorrected if v.difference and v.difference.p is not None}
    adjusted = dict(zip(tested, stats.holm(list(tested.values())), strict=True))
    return [_corrected(v, adjusted[v.claim], len(tested)) if v.claim in adjusted else v for v in uncorrected]


def _corrected(verdict: Verdict, p: float, n_claims: int) -> Verdict:
    """A verdict that rests on p and loses it in the correction becomes "not enough evidence", and says so."""
    if n_claims == 1:
        return verdict.model_copy(update={"p_holm": p})
    note = f"p adjusted for the {n_claims} claims tested (Holm): {format_p(p)}."
    lost = verdict.outcome in (SUPPORTED, CONTRADICTED, MIXED) and p >= stats.ALPHA
    if lost:
        note += f" Without this correction the outcome would be: {verdict.outcome}. {_pairs_needed(n_claims)}"
    outcome = NOT_ENOUGH if lost else verdict.outcome
    return verdict.model_copy(update={"outcome": outcome, "lines": [*verdict.lines, note], "p_holm": p})


def _pairs_needed(n_claims: int) -> str:
    """The smallest p of n pairs is 2 / 2**n, and Holm compares the smallest of all p with alpha / claims."""
    pairs = next(n for n in range(1, 64) if 2 / 2**n < stats.ALPHA / n_claims)
    return f"At least {pairs} pairs of seeds are needed for {n_claims} claims."


def decide(difference: Difference | None, margin: float, by_task: dict[str, Difference] | None = None) -> str:
    """The outcome by the rules above, before the correction."""
    if difference is None:
        return NOT_MEASURED
    if difference.p is None or difference.low is None or difference.high is None or difference.pairs < MIN_PAIRS:
        return NOT_ENOUGH
    if -margin <= difference.low and difference.high <= margin:
        return NO_DIFFERENCE
    if difference.p >= stats.ALPHA or difference.low <= 0 <= difference.high:
        return NOT_ENOUGH
    if any(_side(other) == -_side(difference) for other in (by_task or {}).values()):
        return MIXED
    return SUPPORTED if difference.mean > 0 else CONTRADICTED


def _side(difference: Difference) -> int:
    """1 or -1 where the interval lies wholly above or below 0, else 0."""
    if difference.low is None or difference.high is None:
        return 0
    return int(difference.low > 0) - int(difference.high < 0)


def judge(claim: Claim, first: str = "RPE", second: str = "APE") -> Verdict:
    """A claim by the rules, with one sentence over all tasks and one per task."""
    by_title = {task.title: paired.group_differences(task, by_label, first, second) for task, by_label in claim.scores}
    overall = paired.difference(list(by_title.values()))
    by_task = {title: one for title, values in by_title.items() if (one := paired.difference([values]))}
    if overall is None:
        return not_measured(claim.name, _why_missing(claim.scores, first, second))
    note = " (95 % interval in brackets)" if overall.interval else ""
    lines = [claim_line(claim, overall, first, second, note)]
    if len(by_task) > 1:
        lines += [f"{title}: {describe_difference(one, claim.write)}." for title, one in by_task.items()]
    outcome = decide(overall, claim.margin, by_task)
    return Verdict(claim=claim.name, outcome=outcome, lines=[*lines, *_too_few(overall)], difference=overall, by_task=by_task,
                   p_holm=None)  # fmt: skip


def claim_line(claim: Claim, difference: Difference, first: str = "RPE", second: str = "APE", note: str = "") -> str:
    """`RPE minus APE, exact match ...: +0.70 [+0.63, +0.77], p = 0.031, 6 pairs of seeds.`"""
    groups = f"{GROUP_NAMES[first]} {claim.relation} {GROUP_NAMES[second]}"
    return f"{groups}, {claim.measure}{note}: {describe_difference(difference, claim.write)}."


def not_measured(claim: str, line: str) -> Verdict:
    return Verdict(claim=claim, outcome=NOT_MEASURED, lines=[line], difference=None, by_task={}, p_holm=None)


def _too_few(difference: Difference) -> list[str]:
    if difference.p is None:
        return [f"A task has only {plural(difference.seeds, 'seed')}; at least {stats.MIN_SEEDS} per task are needed for a test."]
    if difference.pairs < MIN_PAIRS:
        smallest = 2 / 2**difference.pairs
        return [f"{difference.pairs} pairs cannot give p < {smallest:.3g}; at least {MIN_PAIRS} are needed."]
    return []


def _why_missing(scores: ScoresByTask, first: str, second: str) -> str:
    for group in (first, second):
        if not any(entry.group == group and entry.label in by_label for task, by_label in scores for entry in task.encodings):
            return f"No {group} run has the numbers for this claim."
    return f"No seed is shared by all {first} and {second} encodings of a task: train them on the same seeds."


def extrapolation(tasks: list[TaskResults]) -> Verdict:
    """Claim 1: relative encodings still work at lengths beyond the training length."""
    if not any(paired.extrapolation_lengths(task) for task in tasks):
        return not_measured(EXTRAPOLATION, "No length beyond training is evaluated: rpe eval --lengths 1x:8x")
    exact, token = ([(task, paired.scores(task, measure)) for task in tasks] for measure in paired.MEASURES)
    claim = accuracy_claim(EXTRAPOLATION, "exact match over log length beyond training", exact)
    secondary = accuracy_claim(EXTRAPOLATION, "token accuracy over log length beyond training", token)
    verdict = judge(claim)
    if verdict.difference is None:
        return verdict
    levels = {group: level for group in GROUP_NAMES if (level := _mean_level(exact, group)) is not None}
    means = ", ".join(f"{GROUP_NAMES[group]} {format_number(level)}" for group, level in levels.items())
    lines = [f"Mean exact match beyond training: {means}.", *verdict.lines]
    if (difference := judge(secondary).difference) is not None:
        lines.append(claim_line(secondary, difference))
    lines += [*_solved_lines(tasks), *_failed_lines(tasks)]
    if (difference := judge(claim, "none", "RPE").difference) is not None:
        lines.append(f"Exploratory (uncorrected): {claim_line(claim, difference, 'none', 'RPE')}")
    lines += [line for task in tasks if (line := leader(task))]
    outcome = _guarded(verdict.outcome, tasks, levels)
    return verdict.model_copy(update={"outcome": outcome, "lines": lines})


def _mean_level(scores: ScoresByTask, group: str) -> float | None:
    """The mean score of a group: over tasks of means over encodings of means over seeds."""
    means = [
        [fmean(by_label[entry.label].values()) for entry in task.encodings if entry.group == group and entry.label in by_label]
        for task, by_label in scores
    ]
    strata = [values for values in means if values]
    return stats.mean(strata) if strata else None


def _guarded(outcome: str, tasks: list[TaskResults], levels: dict[str, float]) -> str:
    """No verdict on extrapolation from a group that learned nothing, or where both groups are at the floor."""
    if _groups_that_learned_nothing(tasks):
        return NOT_ENOUGH
    decided = outcome in (SUPPORTED, CONTRADICTED, MIXED, NO_DIFFERENCE)
    return AT_FLOOR if decided and max(levels["RPE"], levels["APE"]) <= FLOOR else outcome


def _groups_that_learned_nothing(tasks: list[TaskResults]) -> list[str]:
    learned = {group.name for task in tasks for group in task.groups if any(group.solved_flags)}
    return [name for name in ("RPE", "APE") if name not in learned]


def _solved_lines(tasks: list[TaskResults]) -> list[str]:
    """How many runs learned their training length, and how those fare beyond it."""
    sentences = []
    for group in ("RPE", "APE"):
        flags, areas = [], []
        for task in tasks:
            lengths = paired.extrapolation_lengths(task)
            for run in [run for entry in task.encodings if entry.group == group for run in entry.runs if run.solved is not None]:
                flags.append(run.solved)
                if run.solved and lengths:
                    areas.append(paired.area_over(run, lengths, "exact_match"))
        beyond = f"; their mean exact match beyond training is {format_number(fmean(areas))}" if areas else ""
        sentences.append(f"{sum(map(bool, flags))} of {len(flags)} {group} runs learned their training length{beyond}.")
    failed = _groups_that_learned_nothing(tasks)
    lines = [" ".join(sentences)]
    if failed:
        lines.append(f"No {' and no '.join(failed)} run learned its training length, so extrapolation cannot be judged.")
    return lines


def _failed_lines(tasks: list[TaskResults]) -> list[str]:
    """Failed runs have no accuracy, so their seed drops out of the comparison of groups; failing is a result too."""
    failed = [
        f"{entry.n_failed} of {entry.title} on {task.title}" for task in tasks for entry in task.encodings if entry.n_failed
    ]
    if not failed:
        return []
    return [f"Failed runs are excluded from all comparisons, and their seeds from those of groups: {', '.join(failed)}."]


def leader(task: TaskResults) -> str | None:
    """Which encoding is highest beyond training, and which others differ from it significantly."""
    by_label = paired.scores(task, "exact_match")
    best = paired.best_label(by_label)
    if best is None or len(by_label) < 2:
        return None
    mean = fmean(by_label[best].values())
    if mean == 0:
        return f"{task.title}: no encoding has any exact match beyond the training length."
    all_pairs = paired.pairs(task, "exact_match")
    own_pairs = paired.pairs_of(best, all_pairs)
    text = f"{task.title}: {task.titles[best]} has the highest mean exact match beyond training, {format_number(mean)}"
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


def efficiency(tasks: list[TaskResults]) -> Verdict:
    """Claim 3: relative encodings learn their training lengths in fewer steps."""
    scores = [(task, paired.log_steps(task)) for task in tasks]
    if not any(by_label for _, by_label in scores):
        return not_measured(EFFICIENCY, "No two runs with the same training budget recorded their steps to 90 %.")
    what = "training steps to 90 % token accuracy within the training lengths"
    verdict = judge(Claim(EFFICIENCY, what, scores, MARGIN_STEPS, write_steps, relation="compared with"))
    if verdict.difference is None:
        return verdict
    steps = [
        steps for task in tasks for entry in task.encodings if entry.group in ("RPE", "APE")
        for steps, _ in paired.steps_by_seed(entry).values()
    ]  # fmt: skip
    never = sum(count is None for count in steps)
    if not never:
        return verdict
    note = (
        f"{never} of {len(steps)} runs never reached 90 % and count their whole budget, which can only understate a difference."
    )
    outcome = AT_FLOOR if never == len(steps) and verdict.outcome == NO_DIFFERENCE else verdict.outcome
    return verdict.model_copy(update={"outcome": outcome, "lines": [*verdict.lines, note]})


def invariance(tasks: list[TaskResults], kept_shares: dict[str, dict[str, Scores]]) -> Verdict:
    """Claim 2: relative encodings predict the same for shifted content. Shifted positions decide; a prefix is exploratory."""
    measures = {"positions": "share of predictions kept at later positions", "prefix": "share of predictions kept after a prefix"}
    by_kind = {}
    for kind, what in measures.items():
        scores = [(task, kept_shares.get(kind, {}).get(task.title, {})) for task in tasks]
        if any(by_label for _, by_label in scores):
            by_kind[kind] = judge(accuracy_claim(INVARIANCE, what, scores))
    if not by_kind:
        return not_measured(INVARIANCE, "Measure it with: rpe inspect RUN --shift")
    verdict = by_kind.get("positions") or by_kind["prefix"]
    more = by_kind["prefix"].lines[:1] if len(by_kind) > 1 else []
    return verdict.model_copy(update={"lines": [*verdict.lines, *more]})
