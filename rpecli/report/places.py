"""Perplexity by place in the sequence: whether a token far from the begin is predicted better or worse than one near it."""

from dataclasses import dataclass

from rpecli.report import stats
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.stats import Summary

MULTIPLES = (1, 2, 4, 8)  # of the training length that are shown


@dataclass(frozen=True)
class Places:
    """The nats per token of one encoding at one length, by the last place of each doubling: 1, 2, 4, 8, ..."""

    encoding: EncodingResults
    length: int
    by_place: dict[int, Summary]


def places_by_length(task: TaskResults) -> dict[int, list[Places]]:
    """Of each shown length, every encoding that recorded its nats by place, from the first place on: not of sliding windows."""
    lengths = [length for length in task.lengths if length in {multiple * task.train_length for multiple in MULTIPLES}]
    shown = {length: [_places(encoding, length) for encoding in task.encodings] for length in lengths}
    return {length: own for length, all_places in shown.items() if (own := [one for one in all_places if 1 in one.by_place])}


def _places(encoding: EncodingResults, length: int) -> Places:
    lines = [run.evaluations[length].get("nll_by_place") or [] for run in encoding.evaluated_runs if length in run.evaluations]
    columns = enumerate(zip(*lines, strict=False))
    summaries = {min(2**number, length): stats.summary(values) for number, values in columns}
    return Places(encoding, length, {place: summary for place, summary in summaries.items() if summary})
