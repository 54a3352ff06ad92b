"""Studies with a known truth, simulated: how often a verdict is wrong, and how often an interval holds the true mean.

Pairs of (task, seed) are independent, as the seeds of data and weights make them. A study tests three claims at once, and is
wrong if any of its verdicts is. Where nothing differs, "supported", "contradicted" and "mixed" are wrong; where the difference
is as large as the margin, "no difference", "contradicted" and "mixed" are. Bounds allow for four standard errors of the
simulation, since there are 36 of them.
"""

import math
from statistics import fmean

import numpy as np
import pytest
from helpers.fake_runs import GROUP, fake_run

from rpecli.report import stats, verdict
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.format import write_points
from rpecli.report.verdict_text import CONTRADICTED, MIXED, NO_DIFFERENCE, SUPPORTED, Words

RELATIVE, ABSOLUTE = ("rope", "alibi", "t5"), ("learned", "sinusoidal")
WORDS = Words("exact match", "of exact match", write_points)
WRONG = {0.0: {SUPPORTED, CONTRADICTED, MIXED}, verdict.MARGIN: {NO_DIFFERENCE, CONTRADICTED, MIXED}}
TRUTHS = {"nothing differs": (0.0,) * 3, "all at the margin": (verdict.MARGIN,) * 3, "both": (0.0, verdict.MARGIN, 0.0)}
SPREADS = {"even": [0.12], "one task noisy": [0.12, 0.01, 0.01]}  # of the seeds of a task, repeated over tasks
DESIGNS = [(tasks, seeds) for tasks in (3, 6) for seeds in (3, 5, 10)]
FEW, MANY = 4, 1000  # studies of a design: in every run of the tests, and in those that are marked slow
TASKS = ("copy", "sort", "parity", "recall", "reverse", "addition")
ENCODINGS = {
    task: [EncodingResults(label, GROUP[label], [fake_run(label, 0, {}, task=task)], {}, {}) for label in (*RELATIVE, *ABSOLUTE)]
    for task in TASKS
}


def null_claim(rng: np.random.Generator, truth: float, n_tasks: int, n_seeds: int, spread: list[float]) -> verdict.Claim:
    """Scores of every encoding, task and seed. Encodings of a group differ from each other; the two groups by `truth`."""
    levels = {}
    for group, shift in ((RELATIVE, truth), (ABSOLUTE, 0.0)):
        effects = rng.normal(0, 0.1, len(group))
        levels |= dict(zip(group, 0.4 + shift + effects - effects.mean(), strict=True))
    scores = []
    for number, task in enumerate(TASKS[:n_tasks]):
        scale = spread[number % len(spread)]
        by_label = {label: dict(enumerate(level + scale * rng.normal(size=n_seeds))) for label, level in levels.items()}
        scores.append((TaskResults(task, 16, ENCODINGS[task], [], [16, 32], {}), by_label))
    return verdict.Claim("claim", scores, WORDS)


def upper_bound(share: float, n: int) -> float:
    return share + 4 * math.sqrt(share * (1 - share) / n)


def share_wrong(truths: tuple[float, ...], n_tasks: int, n_seeds: int, spread: list[float], n_studies: int) -> float:
    """The share of studies with a wrong verdict on any of their claims."""
    rng = np.random.default_rng([n_tasks, n_seeds, len(spread)])
    wrong = 0
    for _ in range(n_studies):
        judged = [verdict.judge(null_claim(rng, truth, n_tasks, n_seeds, spread)) for truth in truths]
        numbered = [result.model_copy(update={"claim": str(number)}) for number, result in enumerate(judged)]
        outcomes = [result.outcome for result in verdict.corrected(numbered)]
        wrong += any(outcome in WRONG[truth] for outcome, truth in zip(outcomes, truths, strict=True))
    return wrong / n_studies


def test_one_study_in_twenty_is_wrong_at_most():
    """All designs and truths together: too few studies to tell them apart."""
    shares = [share_wrong(truths, *design, spread, FEW)
              for truths in TRUTHS.values() for design in DESIGNS for spread in SPREADS.values()]  # fmt: skip
    assert fmean(shares) <= upper_bound(stats.ALPHA, FEW * len(shares))


@pytest.mark.slow
@pytest.mark.parametrize(("n_tasks", "n_seeds"), DESIGNS)
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("truth", TRUTHS)
def test_one_study_in_twenty_is_wrong_at_most_in_every_design(truth, spread, n_tasks, n_seeds):
    share = share_wrong(TRUTHS[truth], n_tasks, n_seeds, SPREADS[spread], MANY)
    assert share <= upper_bound(stats.ALPHA, MANY)


@pytest.mark.parametrize("n_samples", [500, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_tasks", [1, 3, 6])
def test_the_intervals_of_three_seeds_hold_the_true_mean(n_tasks, n_samples):
    rng = np.random.default_rng(n_tasks)
    samples = rng.normal(0, 1, (n_samples, n_tasks, 3)).tolist()
    held = sum(low <= 0 <= high for low, high in map(stats.mean_interval, samples)) / n_samples
    assert held >= 0.93 - 4 * math.sqrt(0.93 * 0.07 / n_samples)


def test_the_simulation_notices_tests_without_correction(monkeypatch):
    """Three claims that are each tested at 0.05: more than a tenth of studies are wrong."""
    monkeypatch.setattr(stats, "holm", lambda values, most_true: values)
    assert share_wrong(TRUTHS["nothing differs"], 3, 5, SPREADS["even"], 200) > upper_bound(stats.ALPHA, 200)
