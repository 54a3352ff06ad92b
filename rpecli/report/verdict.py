"""Verdicts: what the runs support of each claim made for relative encodings, by rules fixed in advance.

A claim compares the groups RPE and APE, paired by seed within each task. It is supported or contradicted if the sign-flip test
over all pairs gives p < 0.05, adjusted for the claims tested together (Holm), and the 95 % interval excludes 0. There is no
difference if the whole interval lies within the claim's margin, and the test of equivalence (two one-sided sign-flip tests, TOST)
gives p < 0.05, adjusted with the others. The outcome is mixed if the interval of one task lies wholly on the other side.
Otherwise there is not enough evidence; so too with fewer than three seeds per task or six pairs in total, where no p below 0.05
exists, and where a group learned nothing. Where both groups are at the floor, nothing can be compared, however many pairs there
are. Each claim has one deciding test, chosen in advance: exact match (or perplexity),
predictions kept at later positions, steps to 90 %. Those are the family that Holm corrects; other numbers are exploratory. A
verdict is about the encodings and tasks that were run: the permutation test over labels, beside it, shows how far it depends on
which those are.
"""

import math
from dataclasses import dataclass
from statistics import fmean

from rpecli.report import paired, sample_size, stats, verdict_lines
from rpecli.report.aggregate import TaskResults, by_scoring, none_learned
from rpecli.report.format import describe_difference, p_equation, write_points, write_steps
from rpecli.report.labels import LabelTest, label_test
from rpecli.report.measures import Measure
from rpecli.report.paired import Scores
from rpecli.report.records import Difference, Verdict
from rpecli.report.verdict_text import (
    AT_FLOOR,
    CONTRADICTED,
    MIXED,
    NO_DIFFERENCE,
    NOT_ENOUGH,
    NOT_MEASURED,
    SUPPORTED,
    Sides,
    Words,
    adding,
    beside,
    label_line,
    opposite,
    sentence,
    settling,
    told,
)
from rpecli.table import plural

ADD = {"RPE": "--encoding rope", "APE": "--encoding sinusoidal"}  # what a command needs for an encoding of a group
NOTHING_LEARNED = "no run learned its training length, and comparisons of such runs say nothing."
TRAIN_LONGER = "Train longer (--steps)"
MIN_PAIRS = 6  # with fewer, p < 0.05 cannot be reached, and equivalence is not concluded either
MARGIN = 0.05  # of accuracy: differences within it are negligible
MARGIN_STEPS = math.log2(1.1)  # a tenth more or fewer steps
EXTRAPOLATION, INVARIANCE, EFFICIENCY = "Length extrapolation", "Translation invariance", "Sample efficiency"
MEASURE = {INVARIANCE: "rpe inspect --shift", EFFICIENCY: "train it again"}  # what a claim is measured by, if not by rpe eval
RULES = (
    "The relative (RPE) and absolute (APE) encodings of this study are compared on its tasks, paired by seed, by rules fixed "
    "before any run. Supported or contradicted: the sign-flip test over all pairs gives p < 0.05, and the 95 % interval excludes "
    "0. No difference: the interval lies within 5 points of accuracy, 5 % of perplexity, or a tenth of the steps, and the test "
    "of equivalence gives p < 0.05. Mixed: the interval of one task lies on the other side. All p are adjusted for the claims "
    "tested together (Holm). At least 3 seeds per task and 6 pairs in total are required. Intervals are t intervals over seeds "
    "below 6 seeds per task, "
    "and bootstrap intervals from 6."
)
GROUP_NAMES = {"RPE": "RPE", "APE": "APE", "none": "NoPE"}
ScoresByTask = list[tuple[TaskResults, Scores]]


@dataclass(frozen=True)
class Claim:
    """What a claim is about: the scores of each task (higher is better), their margin and bounds, and its words."""

    name: str
    scores: ScoresByTask
    words: Words
    margin: float = MARGIN
    bounds: tuple[float, float] = stats.SHARE_DIFFERENCES
    together: int = sample_size.CLAIMS  # claims that are tested together with it


def verdicts(tasks: list[TaskResults], kept_shares: dict[str, dict[str, Scores]] | None = None) -> list[Verdict]:
    """Verdicts on the three claims, in the order of the report.

    `kept_shares` holds, by kind of shift and task title, the share of predictions that a shift did not change.
    """
    together = sample_size.CLAIMS + max(0, len(by_scoring(tasks)) - 1)
    claims = [*extrapolations(tasks, together), invariance(tasks, kept_shares or {}, together), efficiency(tasks, together)]
    flags = [flag for task in tasks for flag in task.solved_flags]
    return corrected(list(map(unjudged, claims)) if none_learned(flags) else claims)


def beside_reference(own: list[Verdict], reference: list[TaskResults]) -> list[Verdict]:
    """The claims that the runs do not measure, with what the reference results support at the same lengths."""
    measured = {verdict.claim: verdict for verdict in verdicts(reference) if verdict.difference}
    lacking = {verdict.claim for verdict in own if verdict.difference is None} & measured.keys()
    return [beside(verdict, measured[verdict.claim]) if verdict.claim in lacking else verdict for verdict in own]


def corrected(uncorrected: list[Verdict]) -> list[Verdict]:
    """Holm over the claims that could be tested: of three tests at 0.05, one report in seven would find a false effect.

    Each claim has two hypotheses, no difference and one as large as the margin, of which one at most is true.
    """
    tested = [verdict for verdict in uncorrected if verdict.p_deciding is not None]
    values = [p for verdict in tested for p in (verdict.p_difference, verdict.p_equivalence) if p is not None]
    adjusted = stats.holm(values, most_true=len(tested))
    p_holm = {verdict.claim: adjusted[2 * number + verdict.equivalent] for number, verdict in enumerate(tested)}
    return [told(_corrected(verdict, p_holm.get(verdict.claim), len(tested))) for verdict in uncorrected]


def _corrected(verdict: Verdict, p: float | None, n_claims: int) -> Verdict:
    """A verdict that rests on p and loses it in the correction becomes "not enough evidence", and says so."""
    if p is None or verdict.p_deciding is None or n_claims == 1:
        return verdict.model_copy(update={"p_holm": p})
    before = f"{'equivalence ' if verdict.equivalent else ''}{p_equation(verdict.p_deciding)}"
    note = f"Adjusted for the {n_claims} claims tested (Holm), {before} becomes {p_equation(p)}."
    lost = verdict.outcome in (SUPPORTED, CONTRADICTED, MIXED, NO_DIFFERENCE) and p >= stats.ALPHA
    if lost:
        note += f" Without this correction the outcome would be: {verdict.outcome}."
        needed = sample_size.pairs_needed(n_claims)
        if verdict.difference and verdict.difference.pairs < needed:
            note += f" At least {needed} pairs of seeds are needed for {n_claims} claims."
    outcome = NOT_ENOUGH if lost else verdict.outcome
    return verdict.model_copy(update={"outcome": outcome, "lines": [*verdict.lines, note], "p_holm": p})


def decide(
    difference: Difference | None, margin: float, p_equivalence: float | None = None, by_task: dict[str, Difference] | None = None
) -> str:
    """The outcome by the rules above, before the correction."""
    if difference is None:
        return NOT_MEASURED
    if difference.p is None or difference.interval is None or difference.pairs < MIN_PAIRS:
        return NOT_ENOUGH
    if difference.within(margin):
        return NO_DIFFERENCE if p_equivalence is not None and p_equivalence < stats.ALPHA else NOT_ENOUGH
    if difference.p >= stats.ALPHA or difference.side == 0:
        return NOT_ENOUGH
    if opposite(difference, by_task or {}):
        return MIXED
    return SUPPORTED if difference.mean > 0 else CONTRADICTED


@dataclass(frozen=True)
class Comparison:
    """Two groups of encodings compared by one claim's scores: what differs, on which tasks, and in words."""

    claim: Claim
    sides: Sides
    strata: list[list[float]]
    difference: Difference
    by_task: dict[str, Difference]
    means: tuple[list[float], list[float]]  # one number per encoding that all tasks have

    @property
    def sentence(self) -> str:
        return sentence(self.claim.words, self.difference, self.sides)


def compare(claim: Claim, first: str = "RPE", second: str = "APE") -> Comparison | None:
    """None where no task has encodings of both groups with a seed in common."""
    scores = [(task, paired.group_scores(task, by_label, (first, second))) for task, by_label in claim.scores]
    scores = [(task, members) for task, members in scores if members[0]]
    strata = [paired.group_differences(*members) for _, members in scores]
    overall = paired.difference(strata, claim.bounds)
    if overall is None:
        return None
    by_task = {task.title: one for (task, _), values in zip(scores, strata, strict=True)
               if (one := paired.difference([values], claim.bounds))}  # fmt: skip
    titles = {label: title for task, _ in scores for label, title in task.titles.items()}
    labels = [list(dict.fromkeys(label for _, members in scores for label in members[side])) for side in (0, 1)]
    means = [
        [fmean(fmean(members[side][label].values()) for _, members in scores)
         for label in labels[side] if all(label in members[side] for _, members in scores)]
        for side in (0, 1)
    ]  # fmt: skip
    names = [[titles[label] for label in side] for side in labels]
    sides = Sides((first, second), names[0], names[1], len(strata), (len(means[0]), len(means[1])))
    return Comparison(claim, sides, strata, overall, by_task, (means[0], means[1]))


def judge(claim: Claim) -> Verdict:
    """A claim by the rules, with one sentence over all tasks, one per task, and one about the labels of encodings."""
    comparison = compare(claim)
    if comparison is None:
        return not_measured(claim.name, _why_missing(claim))
    difference, by_task, words = comparison.difference, comparison.by_task, claim.words
    lines = [comparison.sentence[0].upper() + comparison.sentence[1:]]
    if len(by_task) > 1:
        lines += [f"{title}: {describe_difference(one, words.write)}." for title, one in by_task.items()]
    labels = label_test(*comparison.means) if all(comparison.means) else None
    lines += [*([label_line(labels, comparison.sides)] if labels else []), *_too_few(difference, claim.together)]
    p_equivalence = stats.equivalence(comparison.strata, claim.margin)
    seeds = sample_size.seeds_needed(comparison.strata, claim.margin, claim.together)
    return Verdict(
        claim=claim.name, outcome=decide(difference, claim.margin, p_equivalence, by_task), summary="",
        effect=f"{words.write(difference.mean, difference.interval)} {words.of}", compared=comparison.sides.compared,
        reference=None, reference_compared=None, settle=_settling(claim, seeds), lines=lines,
        difference=difference, by_task=by_task,
        margin=claim.margin, p_equivalence=p_equivalence, p_holm=None, seeds_needed=seeds, **_label_fields(labels),
    )  # fmt: skip


def _label_fields(labels: LabelTest | None) -> dict[str, float | None]:
    if labels is None:
        return {"p_labels": None, "p_labels_smallest": None, "p_welch": None}
    return {"p_labels": labels.p, "p_labels_smallest": labels.smallest, "p_welch": labels.p_welch}


def not_measured(claim: str, line: str) -> Verdict:
    return Verdict(claim=claim, outcome=NOT_MEASURED, summary="", effect=None, compared=None, reference=None,
                   reference_compared=None, settle=None, lines=[line], difference=None, by_task={}, margin=MARGIN,
                   p_equivalence=None, p_holm=None, seeds_needed=None, **_label_fields(None))  # fmt: skip


def unjudged(verdict: Verdict) -> Verdict:
    """A claim of runs none of which learned its training length: its numbers are listed and decide nothing.

    Of one that is not measured nothing else is said, since what it lacks (other encodings) would be of no use either.
    """
    without = not_measured(verdict.claim, NOTHING_LEARNED)
    if verdict.difference is None:
        return without
    return without.model_copy(update={"outcome": NOT_ENOUGH, "settle": TRAIN_LONGER, "lines": [*without.lines, *verdict.lines]})


def _too_few(difference: Difference, claims: int) -> list[str]:
    if difference.p is None:
        return [f"A task has only {plural(difference.seeds, 'seed')}; at least {stats.MIN_SEEDS} per task are needed for a test."]
    if difference.pairs < MIN_PAIRS:
        smallest = 2 / 2**difference.pairs
        needed = f"at least {sample_size.pairs_needed(claims)} are needed for {plural(claims, 'claim')}"
        return [f"{difference.pairs} pairs cannot give p < {smallest:.3g}; {needed}."]
    return []


def _why_missing(claim: Claim) -> str:
    tasks = [task for task, _ in claim.scores]
    for group, name in (("RPE", "relative"), ("APE", "absolute")):
        members = [(entry.label, by_label) for task, by_label in claim.scores for entry in task.encodings if entry.group == group]
        if not members:
            return f"no {name} encoding: {adding(ADD[group], tasks, claim.name == INVARIANCE)}"
        if not any(label in by_label for label, by_label in members):
            return f"no {name} encoding was measured: {MEASURE.get(claim.name, 'rpe eval')}"
    return "no seed is shared by all RPE and APE encodings of a task: train them on the same seeds."


def _settling(claim: Claim, seeds: int | None) -> str:
    return settling([task for task, _ in claim.scores], seeds, claim.name == INVARIANCE)


def extrapolations(tasks: list[TaskResults], together: int) -> list[Verdict]:
    """Claim 1, once for each scoring: accuracies and perplexities have no common unit."""
    groups = [members for _, members in by_scoring(tasks)] or [[]]
    names = [EXTRAPOLATION, *(f"{EXTRAPOLATION} ({members[0].scoring.name})" for members in groups[1:])]
    return [extrapolation(members, name, together) for members, name in zip(groups, names, strict=True)]


def _beyond(name: str, tasks: list[TaskResults], measure: Measure, together: int) -> Claim:
    """A measure over the lengths beyond training."""
    higher, lower, equal = tasks[0].scoring.relations
    words = Words(f"{measure.name} over log length beyond training", measure.of, measure.write_difference, higher=higher,
                  lower=lower, equal=equal)  # fmt: skip
    scores = [(task, paired.scores(task, measure)) for task in tasks]
    return Claim(name, scores, words, measure.margin, measure.difference_bounds, together)


def extrapolation(tasks: list[TaskResults], name: str = EXTRAPOLATION, together: int = sample_size.CLAIMS) -> Verdict:
    """Claim 1: relative encodings still work at lengths beyond the training length. The tasks have one scoring."""
    if not any(paired.extrapolation_lengths(task) for task in tasks):
        return not_measured(name, "no length beyond training is evaluated: rpe eval --lengths 1x:8x")
    claim, *others = [_beyond(name, tasks, measure, together) for measure in tasks[0].scoring.compared]
    verdict = judge(claim)
    if verdict.difference is None:
        return verdict
    measure = tasks[0].scoring.decides
    levels = {group: level for group in GROUP_NAMES if (level := verdict_lines.mean_level(claim.scores, group)) is not None}
    means = ", ".join(f"{GROUP_NAMES[group]} {measure.write_score(level)}" for group, level in levels.items())
    lines = [f"Mean {measure.name} beyond training: {means}.", *verdict.lines]
    exploratory = [one.sentence for one in (*map(compare, others), compare(claim, "none", "RPE")) if one]
    lines += [f"Exploratory (uncorrected): {line}" for line in exploratory]
    lines += [*verdict_lines.solved_lines(tasks), *verdict_lines.failed_lines(tasks)]
    lines += [line for task in tasks if (line := verdict_lines.leader(task))]
    return _guarded(verdict.model_copy(update={"lines": lines}), tasks, levels)


def _guarded(verdict: Verdict, tasks: list[TaskResults], levels: dict[str, float]) -> Verdict:
    """No verdict on extrapolation from a group that learned nothing, or where both groups are at the floor, however few pairs."""
    if failed := verdict_lines.groups_that_learned_nothing(tasks):
        settle = f"{TRAIN_LONGER}: no {' and no '.join(failed)} run learned its training length"
        return verdict.model_copy(update={"outcome": NOT_ENOUGH, "settle": settle, "seeds_needed": None})
    at_floor = max(levels["RPE"], levels["APE"]) <= tasks[0].scoring.decides.floor
    return verdict.model_copy(update={"outcome": AT_FLOOR}) if at_floor else verdict


def efficiency(tasks: list[TaskResults], together: int = sample_size.CLAIMS) -> Verdict:
    """Claim 3: relative encodings learn their training lengths in fewer steps; of tasks in which answers can be certain."""
    tasks = [task for task in tasks if task.scoring.reaches_top]
    if not tasks:
        return not_measured(EFFICIENCY, "steps to 90 % of tokens right say nothing of tasks that are measured by perplexity.")
    scores = [(task, paired.log_steps(task)) for task in tasks]
    if not any(by_label for _, by_label in scores):
        return not_measured(EFFICIENCY, "no two runs with the same training budget recorded their steps to 90 %.")
    words = Words(
        "training steps to 90 % token accuracy within the training lengths", "to 90 % token accuracy", write_steps,
        verbs=("needs", "need"),
        higher="fewer training steps than", lower="more training steps than", equal="as many training steps as",
    )  # fmt: skip
    verdict = judge(Claim(EFFICIENCY, scores, words, MARGIN_STEPS, stats.ANY, together))
    if verdict.difference is None:
        return verdict
    steps = [
        (entry.group, steps) for task in tasks for entry in task.encodings if entry.group in ("RPE", "APE")
        for steps, _ in paired.steps_by_seed(entry).values()
    ]  # fmt: skip
    never = [group for group, count in steps if count is None]
    if not never:
        return verdict
    note = f"{len(never)} of {len(steps)} runs never reached 90 % and count their whole budget, {_of_censored(never, verdict)}."
    outcome = AT_FLOOR if len(never) == len(steps) else verdict.outcome
    return verdict.model_copy(update={"outcome": outcome, "lines": [*verdict.lines, note]})


def _of_censored(groups: list[str], verdict: Verdict) -> str:
    """What runs of these groups that count fewer steps than they need do to the difference."""
    mean = verdict.difference.mean if verdict.difference else 0.0
    slower = "APE" if mean > 0 else "RPE"
    if mean != 0 and set(groups) == {slower}:
        return "which can only understate a difference"
    return "so how many steps they need is not known"


def invariance(
    tasks: list[TaskResults], kept_shares: dict[str, dict[str, Scores]], together: int = sample_size.CLAIMS
) -> Verdict:
    """Claim 2: relative encodings predict the same for shifted content. Shifted positions decide; a prefix is exploratory."""
    kinds = {"positions": "kept at later positions", "prefix": "kept after a prefix"}
    claims = {}
    for kind, how in kinds.items():
        scores = [(task, kept_shares.get(kind, {}).get(task.title, {})) for task in tasks]
        if any(by_label for _, by_label in scores):
            words = Words(f"share of predictions {how}", f"of predictions {how}", write_points)
            claims[kind] = Claim(INVARIANCE, scores, words, together=together)
    if not claims:
        return not_measured(INVARIANCE, "measure it with rpe inspect --shift")
    verdict = judge(claims.get("positions") or claims["prefix"])
    prefix = compare(claims["prefix"]) if len(claims) > 1 else None
    more = [f"Exploratory (uncorrected): {prefix.sentence}"] if prefix else []
    return verdict.model_copy(update={"lines": [*verdict.lines, *more]})
