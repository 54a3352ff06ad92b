"""Which encoding to use, from the runs of `rpe choose`: the best one, those that cannot be told from it, cost, scalings of RoPE.

Encodings are compared as reports compare them: scores beyond the training length, paired by seed on the same strings, with the
95 % interval of `paired.difference`. The best one is clear where every other lies below it with its whole interval. Where seven
encodings are alike, 1 to 3 % of simulated studies call one clear.
"""

from dataclasses import dataclass, field
from statistics import fmean

from rpecli.report import paired, sample_size
from rpecli.report.aggregate import EncodingResults, TaskResults, none_learned
from rpecli.report.headline_numbers import NEAR_CHANCE
from rpecli.report.measures import Measure
from rpecli.report.paired import Scores
from rpecli.report.records import Difference

CLEAR, EQUAL, OPEN, UNLEARNED, AT_CHANCE = "clear", "equal", "undecided", "not learned", "at chance"


@dataclass(frozen=True)
class Candidate:
    """One encoding: its mean score, and its difference to the best one, negative where it is worse."""

    label: str
    title: str
    group: str
    score: float
    seeds: int
    behind: Difference | None  # None for the best one

    @property
    def is_behind(self) -> bool:
        return self.behind is not None and self.behind.side < 0


@dataclass(frozen=True)
class Scaled:
    """A trained encoding measured with a scaling in its place."""

    encoding: str  # in place of the trained one
    score: float
    gain: Difference | None  # over the same models as they are


@dataclass(frozen=True)
class Pretrained:
    """What a pretrained model with an encoding gets as it is, and with each scaling."""

    title: str
    score: float
    scaled: list[Scaled]

    @property
    def best(self) -> Scaled | None:
        """The scaling with the highest mean among those whose whole interval is above the model as it is."""
        better = [one for one in self.scaled if one.gain is not None and one.gain.side > 0]
        return max(better, key=lambda one: one.score, default=None)


@dataclass(frozen=True)
class Recommendation:
    """The candidates, the best one first; `choice` is the one to use, the cheapest where several are equally good."""

    outcome: str
    measure: Measure
    lengths: list[int]
    beyond: bool  # whether these are beyond the training length
    candidates: list[Candidate]
    choice: Candidate
    seeds_needed: int | None  # to tell all rivals from the best one, where that is open
    pretrained: list[Pretrained] = field(default_factory=list)

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    @property
    def runner_up(self) -> Candidate | None:
        return next((one for one in self.candidates[1:]), None)

    @property
    def rivals(self) -> list[Candidate]:
        """Those that the data do not tell from the best one."""
        return [one for one in self.candidates[1:] if not one.is_behind]


def recommend(task: TaskResults, costs: dict[str, float], lengths: list[int] | None = None) -> Recommendation:
    """The recommendation for one task; `costs` is the time of a step by encoding, which decides between equals.

    Without `lengths`, those beyond training decide, or where there are none the training length. Raises ValueError where no run
    of the task was evaluated.
    """
    own = [encoding for encoding in task.own if encoding.evaluated_runs]
    if not own:
        raise ValueError("no run was evaluated")
    beyond = lengths or paired.extrapolation_lengths(task)
    lengths = beyond or sorted(set.intersection(*(set(run.evaluations) for one in own for run in one.evaluated_runs)))[-1:]
    measure = _measure(task, own, lengths)
    by_label = paired.scores(task, measure, lengths)
    candidates = _candidates(own, by_label, measure)
    outcome = _outcome(task, own, candidates, lengths, measure)
    choice = candidates[0]
    if outcome == EQUAL:
        equals = [one for one in candidates if not one.is_behind]
        choice = min(equals, key=lambda one: costs.get(one.label, 1.0))
    rivals = [one for one in candidates[1:] if not one.is_behind]
    needed = _seeds_needed(candidates[0], rivals, by_label, measure) if outcome == OPEN else None
    pretrained = _pretrained(task, own, lengths, measure)
    return Recommendation(outcome, measure, lengths, bool(beyond), candidates, choice, needed, pretrained)


def _measure(task: TaskResults, own: list[EncodingResults], lengths: list[int]) -> Measure:
    """The first compared measure that is above its floor for some encoding: whole strings, else tokens."""
    for measure in task.scoring.compared:
        by_label = paired.scores(task, measure, lengths)
        if any(fmean(by_label[one.label].values()) > measure.floor for one in own if one.label in by_label):
            return measure
    return task.scoring.compared[-1]


def _candidates(own: list[EncodingResults], by_label: Scores, measure: Measure) -> list[Candidate]:
    """The highest mean first."""
    scored = [one for one in own if one.label in by_label]
    best, *others = sorted(scored, key=lambda one: (-fmean(by_label[one.label].values()), one.label))
    return [_candidate(one, best, by_label, measure) for one in (best, *others)]


def _candidate(one: EncodingResults, best: EncodingResults, by_label: Scores, measure: Measure) -> Candidate:
    behind = None if one is best else _difference(by_label[one.label], by_label[best.label], measure)
    score = fmean(by_label[one.label].values())
    return Candidate(one.label, one.short_title, one.group, score, len(by_label[one.label]), behind)


def _difference(first: dict[int, float], second: dict[int, float], measure: Measure) -> Difference | None:
    return paired.difference([paired.seed_differences(first, second)], measure.difference_bounds)


def _outcome(
    task: TaskResults, own: list[EncodingResults], candidates: list[Candidate], lengths: list[int], measure: Measure
) -> str:
    flags = [flag for encoding in own for flag in encoding.solved_flags]
    if none_learned(flags):
        return UNLEARNED
    above_guess = [
        fmean(paired.area_over(run, lengths, _rescaled(task)) for run in paired.compared_runs(encoding, lengths))
        for encoding in own if all(set(lengths) <= set(run.by_length(task.scoring.rescaled)) for run in encoding.evaluated_runs)
    ]  # fmt: skip
    if above_guess and max(above_guess) <= NEAR_CHANCE:
        return AT_CHANCE
    rivals = [one for one in candidates[1:] if not one.is_behind]
    if not rivals:
        return CLEAR
    return EQUAL if all(one.behind and one.behind.within(measure.margin) for one in rivals) else OPEN


def _rescaled(task: TaskResults) -> Measure:
    """The shown measure with the best blind guess at 0."""
    return Measure(task.scoring.rescaled, "")


def _seeds_needed(best: Candidate, rivals: list[Candidate], by_label: Scores, measure: Measure) -> int | None:
    """For every rival: its 95 % interval decides, uncorrected."""
    differences = [paired.seed_differences(by_label[best.label], by_label[one.label]) for one in rivals]
    needed = [sample_size.seeds_needed([values], measure.margin, claims=1, by_interval=True) for values in differences if values]
    numbers = [number for number in needed if number is not None]
    return max(numbers) if numbers and len(numbers) == len(rivals) else None


def _pretrained(task: TaskResults, own: list[EncodingResults], lengths: list[int], measure: Measure) -> list[Pretrained]:
    """Each encoding that was also measured with others in its place."""
    by_label = paired.scores_of(task.encodings, measure, lengths)
    pretrained = []
    for encoding in own:
        trained = encoding.runs[0].config.encoding
        same = (one for one in task.encodings if one.is_variant and one.runs[0].config.encoding == trained)
        variants = [one for one in same if one.label in by_label]
        if variants and encoding.label in by_label:
            plain = by_label[encoding.label]
            scaled = [_scaled(one, by_label[one.label], plain, measure) for one in variants]
            pretrained.append(Pretrained(encoding.short_title, fmean(plain.values()), sorted(scaled, key=lambda one: -one.score)))
    return pretrained


def _scaled(variant: EncodingResults, values: dict[int, float], plain: dict[int, float], measure: Measure) -> Scaled:
    gain = _difference(values, plain, measure)
    return Scaled(variant.runs[0].measured.removeprefix(" as "), fmean(values.values()), gain)
