"""What our runs of a cell came to, and whether that agrees with what was published.

The rule, fixed before any run: ours agree with a published mean if they differ by no more than `TOLERANCE`, or than what two
samples of so many seeds differ by in 95 of 100 cases, t sqrt(1/ours + 1/theirs) s, where s is the larger of the two standard
deviations over seeds (of ours alone where a single seed was published). Below three seeds there is no verdict.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student

from rpecli.evaluate.asked import agreeing_lines, config_of
from rpecli.evaluate.request import EvalRequest
from rpecli.reproduce.paper import Cell, Paper
from rpecli.run.directory import Run
from rpecli.run.records import EvalLine
from rpecli.table import plural

TOLERANCE = 0.005  # half a point: the standard error of 2,000 strings of which 95 % are right; nearer to half it is up to 0.011
MIN_SEEDS = 3
NOT_RUN, AGREES, ORDER_ONLY = "not run", "agrees", "order only"


@dataclass(frozen=True)
class Bin:
    """One bin of a cell: the published mean, ours over the seeds that count, over all, and how far apart chance may put them."""

    name: str
    published: float
    ours: float | None
    of_all: float | None
    allowed: float | None

    @property
    def agrees(self) -> bool | None:
        """None where there is too little to tell."""
        return None if self.ours is None or self.allowed is None else abs(self.ours - self.published) <= self.allowed


@dataclass(frozen=True)
class Outcome:
    """A cell with the runs that it has: how many, how many of them count, and its bins."""

    cell: Cell
    n_runs: int
    n_kept: int
    bins: list[Bin]
    order_only: bool = False  # values of another size, which are not to agree

    @property
    def verdict(self) -> str:
        if not self.n_runs:
            return NOT_RUN
        if self.n_kept < MIN_SEEDS:
            learned = "" if self.n_kept == self.n_runs else f"; {self.n_kept} of {plural(self.n_runs, 'run')} learned it"
            return f"not enough seeds ({self.n_kept} of at least {MIN_SEEDS}{learned})"
        if self.order_only:
            return ORDER_ONLY
        differing = [part.name for part in self.bins if part.agrees is False]
        return f"differs at {', '.join(differing)}" if differing else AGREES


@dataclass(frozen=True)
class SeedResult:
    """One run of a cell: what the paper measures, in each bin, and whether it got every validation string right."""

    seed: int
    bins: list[float]
    perfect: bool


def seed_result(paper: Paper, run: Run) -> SeedResult | None:
    """What a run came to; None while it is not trained, or not evaluated at every length of every bin."""
    last = run.last_metrics()
    if last is None or not run.is_trained:
        return None
    lines = {part.task: _lines(run, part.task) for part in paper.bins}
    means = list[float]()
    for part in paper.bins:
        lengths = part.lengths_of(run.config)
        if not lengths or not lines[part.task].keys() >= set(lengths):
            return None
        means.append(fmean(_value(lines[part.task][length], paper.measure) for length in lengths))
    return SeedResult(run.config.seed, means, last["exact_match"] == 1)


def _value(line: EvalLine, measure: str) -> float:
    if measure != "perplexity":
        return line[measure]  # type: ignore[literal-required]
    return math.inf if line["nll"] is None else math.exp(line["nll"])


def _lines(run: Run, task: str | None) -> dict[int, EvalLine]:
    """The evaluation of each length on a task as the protocol asks: what `rpe eval` measured otherwise does not count."""
    config = run.config
    settings = config.eval if task is None else config.eval.model_copy(update={"eval_task": task})
    request = EvalRequest(settings)
    lines = agreeing_lines(run, config_of(run, request), str(run.record["weights"]), request)
    of_lengths = [line for line in lines if "grid" not in line]
    most = {line["length"]: line["n"] for line in sorted(of_lengths, key=lambda line: min(line["n"], settings.samples))}
    return {line["length"]: line for line in of_lengths if line["n"] == most[line["length"]]}


def outcome(paper: Paper, cell: Cell, results: Iterable[SeedResult]) -> Outcome:
    """A cell with the results of its seeds."""
    every = list(results)
    kept = [result for result in every if result.perfect or cell.keep == "all"]
    bins = [
        _bin(name, cell.published(k), [result.bins[k] for result in kept], [result.bins[k] for result in every])
        for k, name in enumerate(paper.bin_names)
    ]
    return Outcome(cell, len(every), len(kept), bins, paper.compare == "order")


def _bin(name: str, published: list[float], kept: list[float], every: list[float]) -> Bin:
    ours, of_all = (fmean(values) if values else None for values in (kept, every))
    return Bin(name, fmean(published), ours, of_all, _allowed(published, kept) if len(kept) >= MIN_SEEDS else None)


def _allowed(published: list[float], ours: list[float]) -> float:
    """How far apart two means of so many seeds are by chance, and at least TOLERANCE."""
    deviation = max(stdev(ours), stdev(published) if len(published) >= MIN_SEEDS else 0.0)
    n = len(ours) + (len(published) if len(published) >= MIN_SEEDS else 1)
    spread = deviation * (1 / len(ours) + 1 / len(published)) ** 0.5
    return max(TOLERANCE, float(student.ppf(0.975, n - 2)) * spread)
