"""How tasks are scored: the measures that a report shows, compares and tests, which way is better, and how numbers are written.

A score is a value of a measure with the sign that makes higher better. Means of perplexity are means of nats per token, so that
they are geometric.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rpecli.report import stats
from rpecli.report.format import (
    Interval,
    Writer,
    bits,
    change_percent,
    finite_exp,
    format_percent,
    format_points,
    format_range,
    percent,
    perplexity,
    write_perplexity_change,
    write_points,
)
from rpecli.report.stats import Summary
from rpecli.table import MISSING, whole_percent

ByLength = Mapping[int, float]


@dataclass(frozen=True)
class Measure:
    """One number of an evaluation."""

    key: str  # of its values in evaluations and summaries
    name: str
    title: str = ""  # at the start of a sentence
    sign: int = 1  # -1 where lower values are better
    perfect: float = 1.0  # the best score there is
    write: Callable[[float], str] = format_percent  # a value, with its unit
    bare: Callable[[float], str] = percent  # without it
    cell: Callable[[float | None], str] = whole_percent  # in a narrow table whose legend says what it is
    exact: Callable[[float], str] = "{:.3f}".format
    short: str = ""  # a name of at most ten letters
    unit: str = "%"  # of bare values, behind the name on an axis
    write_difference: Writer = write_points  # of scores, in a sentence
    of: str = ""  # behind such a difference
    bare_difference: Callable[[float], str] = format_points
    difference_unit: str = "points"
    margin: float = 0.05  # differences of scores within it are negligible
    margin_words: str = "5 points"
    floor: float = 0.05  # the mean score beyond training up to which a group does not extrapolate
    bounds: tuple[float, float] = stats.SHARES  # of scores
    difference_bounds: tuple[float, float] = stats.SHARE_DIFFERENCES

    @property
    def highest(self) -> str:
        """What the best value is called."""
        return "highest" if self.sign > 0 else "lowest"

    @property
    def axis(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def write_score(self, score: float) -> str:
        return self.write(self.sign * score)

    def write_range(self, summary: Summary | None) -> str:
        """`84 % (80 to 88)`: the mean and, where the values differ, their range."""
        return format_range(summary, self.write, self.bare)

    def write_interval(self, interval: Interval) -> str:
        """The ends of an interval of scores, `61 to 93`, the lower value first."""
        return MISSING if interval is None else " to ".join(self.bare(self.sign * end) for end in interval[:: self.sign])

    def write_with_interval(self, score: float, interval: Interval) -> str:
        """`60 % [52, 71]`."""
        ends = "" if interval is None else f" [{', '.join(self.bare(self.sign * end) for end in interval[:: self.sign])}]"
        return self.write_score(score) + ends

    def write_change_interval(self, interval: Interval) -> str:
        """The ends of an interval of differences of scores, in the order of the differences."""
        return MISSING if interval is None else " to ".join(map(self.bare_difference, interval[:: self.sign]))


EXACT = Measure("exact_match", "exact match", "Whole strings right", short="Strings", of="of exact match beyond training")
EXACT_EOS = Measure("exact_match_eos", "exact match with the end token")
TOKENS = Measure("token_accuracy", "token accuracy", "Tokens right", short="Tokens", of="of token accuracy beyond training")
RESCALED = Measure("rescaled_accuracy", "token accuracy rescaled for chance")
PERPLEXITY = Measure(
    "nll", "perplexity", "Perplexity", sign=-1, perfect=0.0, write=perplexity, bare=perplexity, unit="",
    cell=lambda nll: MISSING if nll is None else perplexity(nll), exact=lambda nll: f"{finite_exp(nll):.3f}", short="Perplexity",
    write_difference=write_perplexity_change, of="beyond training", bare_difference=change_percent,
    difference_unit="% of perplexity", margin=math.log(1.05), margin_words="5 %", floor=-math.inf, bounds=(-math.inf, 0.0),
    difference_bounds=stats.ANY,
)  # fmt: skip
BITS = Measure("nll", "bits per token", "Bits per token", sign=-1, perfect=0.0, write=bits, bare=bits, unit="",
               bounds=(-math.inf, 0.0))  # fmt: skip


def exact_quality(by_length: ByLength, trained: int) -> ByLength:
    return by_length


def perplexity_kept(by_length: ByLength, trained: int) -> ByLength:
    """Perplexity at the training length divided by that at it and longer ones: 1 where nothing is lost."""
    own = by_length.get(trained)
    return {} if own is None else {n: finite_exp(own - nll) for n, nll in by_length.items() if n >= trained}


@dataclass(frozen=True, eq=False)
class Scoring:
    """How one kind of task is scored."""

    name: str  # the value of Task.measure
    shown: Measure  # in the headline, the overview, the heat map
    aside: Measure  # the second number of the headline
    compared: Sequence[Measure]  # seed by seed; the first decides claims
    further: Mapping[Measure, str]  # measures with tables of their own, and what there is to say about them
    panels: Sequence[Measure]  # of the figure by length
    chance: str  # the key of the best guess that does not look at the input, a value of `shown`
    rescaled: str  # the key of the score of `shown` with that guess at 0 and perfection at 1
    fallback: str  # the key of what takes its place where it is not known
    beyond: str  # the mean of that beyond the training length, in words
    learned_by: str  # the key of what decides whether a run learned its training length
    learned_from: float
    learned: str  # the same in words
    unlearned: str  # its opposite
    quality: Callable[[ByLength, int], ByLength]  # from the values of the deciding measure: what counts for the effective length
    effective: tuple[float, float]  # quality from which a length counts towards the effective length, and towards the half length
    effective_name: str
    effective_words: str
    thresholds: tuple[str, str]  # headings of the two lengths
    threshold_words: str
    title: str  # over an overview
    legend: str  # of the cells of an overview
    verbs: tuple[str, str]  # of one encoding and of several, before a value of `shown`
    value: str  # of `shown` in a sentence
    best: str  # behind a verb: what the best encodings have
    relations: tuple[str, str, str]  # of two means in the words of a claim: better, worse, equal
    heading: str  # of a heat map
    top: str  # the far end of its colors: perfection, or the best that there is
    reaches_top: bool  # whether models can be perfect
    tasks: str  # what kind of tasks they are, in words

    @property
    def decides(self) -> Measure:
        return self.compared[0]

    def guess_score(self, chance: float) -> float:
        return self.shown.sign * chance

    def above_guess(self, score: float, guess: float) -> float | None:
        """A score of `shown` with that of the best guess at 0 and perfection at 1; None where the guess is perfect."""
        return None if guess >= self.shown.perfect else (score - guess) / (self.shown.perfect - guess)


ACCURACY = Scoring(
    name="accuracy",
    shown=TOKENS,
    aside=EXACT,
    compared=(EXACT, TOKENS),
    further={
        EXACT_EOS: "As exact match, and the end token must stand where the answer ends (tasks without one count as before). "
        "Area: this measure averaged over log2 length, median over seeds.",
        RESCALED: "Token accuracy with 0 % at chance, 100 % if perfect; below 0 % it is worse than the best guess without the "
        "input.",
    },
    panels=(TOKENS, EXACT),
    chance="chance",
    rescaled="rescaled_accuracy",
    fallback="token_accuracy",
    beyond="accuracy beyond the training length with chance at 0, in per cent",
    learned_by="exact_match",
    learned_from=stats.SOLVED,
    learned=f"an exact match of at least {format_percent(stats.SOLVED)}",
    unlearned=f"exact match below {stats.SOLVED}",
    quality=exact_quality,
    effective=(stats.EFFECTIVE, stats.EFFECTIVE_HALF),
    effective_name="effective length",
    effective_words=f"Effective length: the longest evaluated length up to which exact match is at least "
    f"{format_percent(stats.EFFECTIVE)}",
    thresholds=("to 95 %", "to 50 %"),
    threshold_words="To 95 %: the longest length up to which exact match is at least 95 %, lower median over seeds; to 50 % "
    "likewise with 50 %.",
    title="tokens right, in per cent",
    legend="Per cent of tokens right, mean over seeds.",
    verbs=("gets", "get"),
    value="{} of tokens right",
    best="the most tokens right",
    relations=("a higher mean than", "a lower mean than", "the same mean as"),
    heading="Token accuracy, %",
    top="100 %",
    reaches_top=True,
    tasks="synthetic tasks",
)
LIKELIHOOD = Scoring(
    name="perplexity",
    shown=PERPLEXITY,
    aside=BITS,
    compared=(PERPLEXITY,),
    further={
        BITS: "Nats per token divided by ln 2: of a text in bytes, bits per byte.",
        TOKENS: "How often the likeliest token is the one that comes.",
    },
    panels=(PERPLEXITY, TOKENS),
    chance="chance_nll",
    rescaled="explained",
    fallback="explained",
    beyond="nats per token saved beyond the training length, in per cent of those of the best guess without the input",
    learned_by="explained",
    learned_from=stats.LEARNED,
    learned=f"nats per token at least {format_percent(stats.LEARNED)} below those of the best guess without the input",
    unlearned=f"nats less than {format_percent(stats.LEARNED)} below the best guess",
    quality=perplexity_kept,
    effective=(1 / (1 + stats.HOLDS), 1 / (1 + stats.HOLDS_HALF)),
    effective_name="holds to",
    effective_words="Holds to: the longest evaluated length up to which perplexity is at most "
    f"{format_percent(stats.HOLDS)} above that at the training length",
    thresholds=("to +1 %", "to +10 %"),
    threshold_words="To +1 %: the longest length up to which perplexity is at most 1 % above that at the training length, lower "
    "median over seeds; to +10 % likewise with 10 %.",
    title="perplexity",
    legend="Perplexity (lower is better), geometric mean over seeds.",
    verbs=("has", "have"),
    value="a perplexity of {}",
    best="the lowest perplexity",
    relations=("a lower mean than", "a higher mean than", "the same mean as"),
    heading="Perplexity",
    top="lowest",
    reaches_top=False,
    tasks="running text",
)
COMPARED = {measure.key: measure for scoring in (ACCURACY, LIKELIHOOD) for measure in scoring.compared}
SCORINGS = {scoring.name: scoring for scoring in (ACCURACY, LIKELIHOOD)}
BY_RESCALED = {scoring.rescaled: scoring for scoring in SCORINGS.values()}


def scoring_of(record: Mapping[str, Any]) -> Scoring:
    """How the task of a run is scored; a record without that key is older than perplexity."""
    return SCORINGS[record.get("measure") or ACCURACY.name]


def measures_of(scorings: Iterable[Scoring]) -> list[Measure]:
    """The measures that these compare, in the order of COMPARED."""
    keys = {measure.key for scoring in scorings for measure in scoring.compared}
    return [measure for key, measure in COMPARED.items() if key in keys]
