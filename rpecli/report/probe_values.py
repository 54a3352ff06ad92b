"""Numbers of inspected runs, read from the lines of probes.jsonl, for the tables and figures of `rpe inspect` and of a report."""

import math
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any, Literal

from rpecli.report.format import format_factor
from rpecli.report.load_probes import InspectedRun, SimilarityPair, TaskProbes
from rpecli.run.records import HeadTerms, LengthAttention, ShiftLine

FitKey = Literal["r2", "r2_row_centered", "r2_chance"]
FITS: dict[FitKey, str] = {"r2": "f(i-j)", "r2_row_centered": "f(i-j) + g(i)", "r2_chance": "chance"}  # R^2 of a function of i-j
SHIFT_KINDS = {"positions": "at later positions", "prefix": "after a prefix"}
SHIFT_MEASURES = {
    "logits_mean": "mean change of a logit",
    "kl_mean": "KL divergence of predictions (nats)",
    "changed": "predictions changed",
    "exact_match": "exact match (0: not shifted)",
    "attention": "attention weight that moved, mean over layers",
}
ROUNDING = {"logits": 1e-4, "kl": 1e-8}  # smaller changes are float32 rounding
ShiftLines = dict[str, list[ShiftLine]]  # by run: one line per kind and size of shift
Matrix = dict[tuple[str, str], float]


def run_name(run: Mapping[str, Any]) -> str:
    """The run's directory, and the encoding put in place of the trained one."""
    return str(run["run"]) + (f" as {run['encoding_override']}" if run["encoding_override"] else "")


def factors_of(runs: list[InspectedRun]) -> list[str]:
    """The inspected lengths of several runs, as multiples of each run's training length."""
    lengths = {(line["length"], run["train_length"]) for run in runs for line in run["lengths"]}
    ordered = sorted(lengths, key=lambda pair: pair[0] / pair[1])
    return list(dict.fromkeys(format_factor(*pair) for pair in ordered))


def heads_of(run: InspectedRun) -> list[tuple[int, int]]:
    """`(layer, head)` of every head, from 0."""
    return [(layer, head) for layer, heads in enumerate(run["lengths"][0]["layers"]) for head in range(len(heads))]


def mean_or_none(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are there."""
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None  # as fmean, in half of the time: 200,000 times a report


def line_at(run: InspectedRun, factor: float) -> LengthAttention | None:
    """What was measured at a multiple of the training length."""
    return next((line for line in run["lengths"] if line["length"] == factor * run["train_length"]), None)


def lines_at(probes: TaskProbes, label: str, factor: float) -> list[tuple[InspectedRun, LengthAttention]]:
    """The runs of an encoding that have this length, each with what was measured there."""
    return [(run, line) for run in probes.runs_of(label) if (line := line_at(run, factor))]


def head_means(probes: TaskProbes, label: str, factor: float, name: Literal["distance", "entropy", "uniform"]) -> list[float]:
    """Per run, the mean over all heads of `distance`, `entropy` or `uniform`."""
    lines = lines_at(probes, label, factor)
    return [fmean(head[name] for layer in line["layers"] for head in layer) for _, line in lines]


def distance_r2(probes: TaskProbes, label: str, factor: float) -> list[float]:
    """Per run, the mean over heads of the share of the mean score that is a function of i-j."""
    means = [
        mean_or_none(head["r2"] for layer in line["scores"] for head in layer)
        for _, line in lines_at(probes, label, factor) if line["scores"]
    ]  # fmt: skip
    return [mean for mean in means if mean is not None]


def pattern_shares(probes: TaskProbes, label: str, factor: float) -> list[float]:
    """Per run, the mean over the heads that follow a pattern of the weight they give it."""
    means = [
        mean_or_none(head["share"][str(line["length"])] for head in run["patterned_heads"])
        for run, line in lines_at(probes, label, factor)
    ]
    return [mean for mean in means if mean is not None]


def term_heads(probes: TaskProbes, label: str, factor: float) -> list[HeadTerms]:
    """First-layer heads of an encoding's runs, where positions are added to the embeddings."""
    return [head for _, line in lines_at(probes, label, factor) for head in line["terms"] or []]


def similarity(pair: SimilarityPair) -> float:
    """Similarity of two runs: the mean over layers of their paired heads."""
    return fmean(layer["paired"] for layer in pair["layers"])


def pair_names(pair: SimilarityPair) -> list[str]:
    """The names of both runs, as `run_name` gives them."""
    return [
        name + (f" as {override}" if override else "")
        for name, override in zip(pair["runs"], pair["encoding_overrides"], strict=True)
    ]


def pair_labels(pair: SimilarityPair) -> list[str]:
    """The encodings of both runs."""
    return pair["labels"]


def similarity_matrix(pairs: list[SimilarityPair], names: Callable[[SimilarityPair], list[str]]) -> Matrix:
    """Mean similarity of all pairs with the same two names, in both orders; of a name with itself only between its runs."""
    values: dict[tuple[str, str], list[float]] = {}
    for pair in pairs:
        first, second = names(pair)
        for key in dict.fromkeys([(first, second), (second, first)]):
            values.setdefault(key, []).append(similarity(pair))
    return {key: fmean(cell) for key, cell in values.items()}


def shift_value(line: Mapping[str, Any], measure: str) -> float:
    """One measure of a shift, nan where a model gave no number; of attention, which is measured per layer, the mean."""
    value = line[measure]
    if isinstance(value, list):
        return fmean(math.nan if part is None else part for part in value)
    return math.nan if value is None else float(value)
