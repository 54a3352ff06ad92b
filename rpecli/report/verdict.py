"""The verdict: what the runs support of each claim made for relative encodings, in plain words, by rules fixed beforehand.

A claim compares the group RPE with the group APE, paired by seed within each task. It is supported or contradicted when the
sign-flip test over all pairs finds p < .05, adjusted for the claims tested beside it (Holm), and the bootstrap interval leaves
out 0. There is no difference when the whole
interval lies within the claim's margin. It is mixed when one task's interval lies wholly on the other side. Anything else is
not enough evidence. Nothing is decided from fewer than three seeds a task or six pairs in all, where no p below .05 exists,
nor when a group learned nothing. Each claim has one test that decides, chosen beforehand: exact match, predictions kept at later
positions, steps to 90 %. Those three are the family that Holm corrects; what a verdict tells beside them decides nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import fmean

from rpecli.report import paired as compare
from rpecli.report import stats
from rpecli.report.aggregate import Panel
from rpecli.report.format import number, probability, signed
from rpecli.report.paired import Difference, Scores

SUPPORTED, CONTRADICTED, MIXED, TIE = "supported", "contradicted", "mixed", "no difference"
UNDECIDED, NEITHER, MISSING = "not enough evidence", "neither group does it", "not measured"
PAIRS = 6  # fewer can never reach p < .05, so fewer never show a tie either
MARGIN = 0.05  # of accuracy: differences within it are none to speak of
MARGIN_STEPS = math.log2(1.1)  # a tenth more or fewer steps
FLOOR = 0.05  # mean exact match beyond training up to which a group does not extrapolate


@dataclass(frozen=True)
class Verdict:
    """One claim: what came out, and the sentences with the numbers."""

    claim: str
    outcome: str
    lines: list[str]
    difference: Difference | None = None
    by_task: dict[str, Difference] = field(default_factory=dict)
    p_holm: float | None = None  # of the test that decides, adjusted for the claims tested in the same report


@dataclass(frozen=True)
class Claim:
    """What a claim is about: scores by panel (higher is better), the margin, and how a difference is written."""

    name: str
    what: str
    scored: list[tuple[Panel, Scores]]
    margin: float
    written: Callable[[float], str]


def verdicts(panels: list[Panel], shifted: dict[str, dict[str, Scores]] | None = None) -> list[Verdict]:
    """Of the three claims, in the order of the report. `shifted` has by kind and panel what stays when content is moved."""
    return corrected([extrapolation(panels), invariance(panels, shifted or {}), efficiency(panels)])


def corrected(made: list[Verdict]) -> list[Verdict]:
    """Holm over the claims that could be tested: of three tests at .05, one in seven reports would find what is not there."""
    tested = {each.claim: each.difference.p for each in made if each.difference and each.difference.p is not None}
    adjusted = dict(zip(tested, stats.holm(list(tested.values())), strict=True))
    return [_corrected(each, adjusted[each.claim], len(tested)) if each.claim in adjusted else each for each in made]


def _corrected(each: Verdict, p: float, claims: int) -> Verdict:
    """A verdict that rested on p alone falls back to not enough evidence, and says so."""
    if claims == 1:
        return replace(each, p_holm=p)
    note = f"p adjusted for the {claims} claims tested (Holm): {probability(p).removeprefix('= ')}."
    fell = each.outcome in (SUPPORTED, CONTRADICTED, MIXED) and p >= stats.LEVEL
    if fell:
        note += f" Alone it would be {each.outcome}; among {claims} claims it is not enough. {_pairs_for(claims)}"
    return replace(each, outcome=UNDECIDED if fell else each.outcome, lines=[*each.lines, note], p_holm=p)


def _pairs_for(claims: int) -> str:
    """The smallest p of n pairs is 2 / 2**n, and Holm asks the smallest of all to be below level / claims."""
    pairs = next(n for n in range(1, 64) if 2 / 2**n < stats.LEVEL / claims)
    return f"That takes at least {pairs} pairs of seeds."


def decide(found: Difference | None, margin: float, by_task: dict[str, Difference] | None = None) -> str:
    """The rules of the page above, as one word or two."""
    if found is None:
        return MISSING
    if found.p is None or found.low is None or found.high is None or found.pairs < PAIRS:
        return UNDECIDED
    if -margin <= found.low and found.high <= margin:
        return TIE
    if found.p >= stats.LEVEL or found.low <= 0 <= found.high:
        return UNDECIDED
    against = [each for each in (by_task or {}).values() if _wholly(each) == -_wholly(found)]
    return MIXED if against else (SUPPORTED if found.mean > 0 else CONTRADICTED)


def _wholly(found: Difference) -> int:
    """1 or -1 where the interval lies wholly above or below 0, else 0."""
    if found.low is None or found.high is None:
        return 0
    return int(found.low > 0) - int(found.high < 0)


def judge(claim: Claim, first: str = "RPE", second: str = "APE") -> Verdict:
    """A claim by the rules, with a sentence for all tasks together and one for each."""
    by_panel = {panel.title: compare.group_difference(panel, found, first, second) for panel, found in claim.scored}
    found = compare.difference(list(by_panel.values()))
    each = {title: this for title, values in by_panel.items() if (this := compare.difference([values]))}
    outcome = decide(found, claim.margin, each)
    if found is None:
        return Verdict(claim.name, MISSING, [_missing(claim.scored, first, second)])
    lines = [f"{first} against {second}, {claim.what}: {said(found, claim.written)}."]
    if len(each) > 1:
        lines += [f"{title}: {said(this, claim.written)}." for title, this in each.items()]
    return Verdict(claim.name, outcome, [*lines, *_too_few(found)], found, each)


def said(found: Difference, written: Callable[[float], str]) -> str:
    """A difference with its interval, p and pairs."""
    text = written(found.mean)
    if found.low is not None and found.high is not None:
        text += f" (95 % interval {written(found.low)} to {written(found.high)})"
    if found.p is not None:
        text += f", p {probability(found.p)}"
    return f"{text}, {found.pairs} pair{'s' * (found.pairs != 1)} of seeds"


def _too_few(found: Difference) -> list[str]:
    if found.p is None:
        seeds = f"{found.seeds} seed{'s' * (found.seeds != 1)}"
        return [f"Only {seeds} for a task: from fewer than {stats.SEEDS} nothing is concluded, and nothing is tested."]
    if found.pairs < PAIRS:
        smallest = f"{2 / 2**found.pairs:.3g}"
        return [f"With {found.pairs} pairs the smallest p there is is {smallest}: {PAIRS} are the fewest that can decide."]
    return []


def _missing(scored: list[tuple[Panel, Scores]], first: str, second: str) -> str:
    for name in (first, second):
        if not any(row.group == name and row.label in found for panel, found in scored for row in panel.rows):
            return f"No {name} run has the numbers for this, so there is nothing to compare with."
    return f"No seed is shared by all {first} and {second} encodings of a task: train them on the same seeds."


def extrapolation(panels: list[Panel]) -> Verdict:
    """Claim 1: relative encodings still work at lengths they were not trained on."""
    what = {"exact_match": "exact match over log length beyond training", "token_accuracy": "token accuracy there"}
    scored = {m: [(panel, compare.scores(panel, m)) for panel in panels] for m in compare.MEASURES}
    first, second = (judge(Claim("Length extrapolation", what[m], scored[m], MARGIN, signed)) for m in compare.MEASURES)
    if first.difference is None:
        lengths = any(compare.beyond(panel) for panel in panels)
        return (
            first
            if lengths
            else Verdict(first.claim, MISSING, ["No length beyond training is evaluated: rpe eval --lengths 1x:8x"])
        )
    levels = {group: _level(scored["exact_match"], group) for group in ("RPE", "APE", "none")}
    known = {group: level for group, level in levels.items() if level is not None}
    lines = [f"Mean exact match beyond training: {', '.join(f'{group} {number(level)}' for group, level in known.items())}."]
    lines += [*first.lines, second.lines[0], *_learned(panels), *_left_out(panels)]
    unpaired = judge(
        Claim("", "exact match over log length beyond training", scored["exact_match"], MARGIN, signed), "none", "RPE"
    )
    lines += [f"Beside the claim, uncorrected, deciding nothing: {unpaired.lines[0]}"] if unpaired.difference else []
    lines += [line for panel in panels if (line := leader(panel))]
    return Verdict(first.claim, _guarded(first.outcome, panels, known), lines, first.difference, first.by_task)


def _level(scored: list[tuple[Panel, Scores]], group: str) -> float | None:
    """The mean of a group: over tasks of means over encodings of means over seeds."""
    tasks = [
        [fmean(found[r.label].values()) for r in panel.rows if r.group == group and r.label in found] for panel, found in scored
    ]
    kept = [means for means in tasks if means]
    return stats.mean(kept) if kept else None


def _guarded(outcome: str, panels: list[Panel], levels: dict[str, float]) -> str:
    """No verdict on extrapolation from a group that learned nothing, or when both are at the floor."""
    if _without_learning(panels):
        return UNDECIDED
    decided = outcome in (SUPPORTED, CONTRADICTED, MIXED, TIE)
    return NEITHER if decided and max(levels["RPE"], levels["APE"]) <= FLOOR else outcome


def _without_learning(panels: list[Panel]) -> list[str]:
    """Which of the two groups has no run that learned its training length."""
    learned = {group.name for panel in panels for group in panel.groups if any(group.judged)}
    return [name for name in ("RPE", "APE") if name not in learned]


def _learned(panels: list[Panel]) -> list[str]:
    """How many runs learned their training length, and how those alone fare beyond it."""
    made = []
    for name in ("RPE", "APE"):
        judged, areas = [], []
        for panel in panels:
            lengths = compare.beyond(panel)
            for each in [run for row in panel.rows if row.group == name for run in row.runs if run.solved is not None]:
                judged.append(each.solved)
                if each.solved and lengths:
                    areas.append(stats.area({n: each.lines[n]["exact_match"] for n in lengths}))
        alone = f", and these alone have {number(fmean(areas))} beyond it" if areas else ""
        made.append(f"{sum(map(bool, judged))} of {len(judged)} {name} runs learned their training length{alone}")
    idle = _without_learning(panels)
    why = f"Since no {' and no '.join(idle)} run learned it, what stands beyond it decides nothing."
    return [". ".join(made) + ".", *([why] if idle else [])]


def _left_out(panels: list[Panel]) -> list[str]:
    """Failed runs have no accuracy, so their seed is compared in no pair of groups: said, since failing is a result too."""
    failed = [f"{row.failed} of {row.label} on {panel.title}" for panel in panels for row in panel.rows if row.failed]
    return [f"Failed runs are in no comparison, nor is their seed in one of groups: {', '.join(failed)}."] if failed else []


def leader(panel: Panel) -> str | None:
    """Which encoding is highest beyond training, and which others the tests set apart from it."""
    found = compare.scores(panel, "exact_match")
    top = compare.best(found)
    if top is None or len(found) < 2:
        return None
    value = fmean(found[top].values())
    if value == 0:
        return f"{panel.title}: no encoding has any exact match beyond the training length."
    rivals = compare.against(top, compare.pairs(found))
    apart = [pair.second for pair in rivals if pair.holm is not None and pair.holm < stats.LEVEL]
    text = f"{panel.title}: {top} has the highest mean exact match beyond training, {number(value)}"
    if all(pair.holm is None for pair in rivals):
        return f"{text}; too few seeds to test."
    others = [pair.second for pair in rivals if pair.second not in apart]
    tested = f" (Holm, {len(compare.pairs(found))} pairs)."
    if not apart:
        return f"{text}, set apart from no other{tested}"
    return f"{text}, set apart from {', '.join(apart)}" + (f"; not from {', '.join(others)}" if others else "") + tested


def efficiency(panels: list[Panel]) -> Verdict:
    """Claim 3: relative encodings learn their training lengths in fewer steps."""
    scored = [(panel, compare.log_steps(panel)) for panel in panels]
    name = "Sample efficiency"
    if not any(found for _, found in scored):
        return Verdict(name, MISSING, ["No two runs of one training budget recorded their learning curves."])
    made = judge(Claim(name, "training steps to 90 % token accuracy within the training lengths", scored, MARGIN_STEPS, _quicker))
    if made.difference is None:
        return made
    all_steps = [
        pair for panel in panels for row in panel.rows if row.group in ("RPE", "APE") for pair in compare.steps(row).values()
    ]
    never = sum(step is None for step, _ in all_steps)
    note = (
        f"{never} of {len(all_steps)} runs never got there and count their whole budget, which can only make a gap look smaller."
    )
    outcome = NEITHER if never == len(all_steps) and made.outcome == TIE else made.outcome
    return Verdict(name, outcome, [*made.lines, *([note] if never else [])], made.difference, made.by_task)


def _quicker(doublings: float) -> str:
    """A difference of log2 steps as how many times fewer."""
    times = 2 ** abs(doublings)
    return "as many steps" if f"{times:.2f}" == "1.00" else f"{times:.2f}x {'fewer' if doublings > 0 else 'more'} steps"


def invariance(panels: list[Panel], shifted: dict[str, dict[str, Scores]]) -> Verdict:
    """Claim 2: relative encodings answer the same when the same content stands elsewhere. Positions decide."""
    name = "Translation invariance"
    whats = {"positions": "share of predictions kept at later positions", "prefix": "share of predictions kept behind a prefix"}
    made = {}
    for kind, what in whats.items():
        scored = [(panel, shifted.get(kind, {}).get(panel.title, {})) for panel in panels]
        if any(found for _, found in scored):
            made[kind] = judge(Claim(name, what, scored, MARGIN, signed))
    if not made:
        return Verdict(name, MISSING, ["Measure it with: rpe inspect RUN --shift"])
    first = made.get("positions") or made["prefix"]
    lines = [*first.lines, *(made["prefix"].lines[:1] if len(made) > 1 else [])]
    return Verdict(name, first.outcome, lines, first.difference, first.by_task)
