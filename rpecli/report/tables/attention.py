"""Attention tables of a report: distance and entropy, heads that follow a pattern, score terms, similarity of encodings."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from rpecli.report import probe_values
from rpecli.report.format import format_number, format_percent
from rpecli.report.load_probes import TaskProbes
from rpecli.report.probe_values import FITS, mean_or_none
from rpecli.run.records import SCORE_TERMS
from rpecli.table import MISSING, Table


def tables(probes: TaskProbes) -> list[Table]:
    """The tables of one task, without those that would be empty."""
    task_tables = [_attention(probes), _patterns(probes), _terms(probes), _similarity(probes)]
    return [table for table in task_tables if table.rows]


def _attention(probes: TaskProbes) -> Table:
    rows = []
    for label in probes.labels:
        runs = probes.runs_of(label)
        cells = []
        for name in ("distance", "entropy"):
            means = [probe_values.head_means(probes, label, factor, name) for factor in probes.factors]
            cells += [f"{fmean(values):.2f}" if values else MISSING for values in means]
        cells += [_mean(probe_values.distance_r2(probes, label, factor)) for factor in probes.factors]
        patterned, heads = sum(len(run["patterned_heads"]) for run in runs), sum(len(probe_values.heads_of(run)) for run in runs)
        rows.append([probes.task.titles[label], probes.group_of(label), str(len(runs)), *cells, f"{patterned}/{heads}"])
    head = [f"{name} {factor:g}x" for name in ("distance", "entropy", "f(i-j)") for factor in probes.factors]
    caption = (
        "Rows that predict the answer; means over heads and seeds. Distance attended to; entropy of the attention in nats; "
        "f(i-j): share of the variance of the mean score that a function of i-j explains (small where no distance was learned); "
        "patterned heads: heads that give half of their weight to one position."
    )
    return _table(probes, "attention by distance", ["encoding", "group", "runs", *head, "patterned heads"], rows, caption)


def _patterns(probes: TaskProbes) -> Table:
    rows = []
    for label in probes.labels:
        heads: dict[tuple[int, str], list[dict[float, float]]] = defaultdict(list)
        for run in probes.runs_of(label):
            for head in run["patterned_heads"]:
                shares = {float(length) / run["train_length"]: share for length, share in head["share"].items()}
                heads[head["layer"], head["pattern"]].append(shares)
        for (layer, pattern), shares_by_factor in sorted(heads.items()):
            cells = [_mean(shares[factor] for shares in shares_by_factor if factor in shares) for factor in probes.factors]
            rows.append(
                [probes.task.titles[label], probes.group_of(label), str(layer), pattern, str(len(shares_by_factor)), *cells]
            )
    columns = ["encoding", "group", "layer", "pattern", "heads", *(f"{factor:g}x" for factor in probes.factors)]
    caption = (
        "Heads that give at least half of their weight to one position, over seeds, and the weight that they give it at "
        "multiples of the training length. n: problem length; t: index in the answer; position 0: begin token."
    )
    return _table(probes, "previous-token and copy heads", columns, rows, caption, "llll")


def _terms(probes: TaskProbes) -> Table:
    rows = []
    for label in probes.labels:
        for factor in probes.factors:
            heads = probe_values.term_heads(probes, label, factor)
            if heads:
                shares = [_mean(head["share"][term] for head in heads) for term in SCORE_TERMS]
                fits = [_mean(head["toeplitz"][fit] for head in heads) for fit in FITS]
                rows.append([probes.task.titles[label], probes.group_of(label), f"{factor:g}x", *shares, *fits])
    columns = ["encoding", "group", "length", *SCORE_TERMS, *FITS.values()]
    caption = (
        "Scores of the first layer by term (query-key): shares of the variance within rows, means over heads and seeds. Then the "
        "share of position-position that is a function of i-j, the same with a constant per row, and what noise would have."
    )
    return _table(probes, "attention-logit decomposition", columns, rows, caption)


def _similarity(probes: TaskProbes) -> Table:
    matrix = probe_values.similarity_matrix(probes.pairs, probe_values.pair_labels)
    labels = [label for label in probes.labels if any(label in key for key in matrix)]
    rows = [
        [probes.task.titles[first], probes.group_of(first), *(_cell(matrix.get((first, second))) for second in labels)]
        for first in labels
    ]
    caption = (
        "Similarity of the attention of rows that predict the answer, at the training length: 1 - JS/ln 2 (Jensen-Shannon "
        "divergence), heads paired, means over layers and pairs of runs. Of an encoding with itself: between its seeds."
    )
    return _table(
        probes, "attention similarity", ["encoding", "group", *(probes.task.titles[label] for label in labels)], rows, caption
    )


def _table(probes: TaskProbes, title: str, columns: list[str], rows: list[list[str]], caption: str, left: str = "ll") -> Table:
    align = left + "r" * (len(columns) - len(left))
    return Table(title, columns, align, rows, caption=caption, folded=True, section=probes.task.title)


def _mean(values: Iterable[float | None]) -> str:
    mean = mean_or_none(values)
    return MISSING if mean is None else format_percent(mean)


def _cell(value: float | None) -> str:
    return MISSING if value is None else format_number(value)
