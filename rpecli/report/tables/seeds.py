"""Tables of one task behind the verdict: scores over seeds, comparisons with the best encoding, single models."""

from dataclasses import replace
from statistics import fmean, median

from rpecli.report import paired, stats
from rpecli.report.aggregate import EncodingResults, TaskResults, natural_key
from rpecli.report.format import format_interval, format_p, format_percent, format_points
from rpecli.report.records import McNemarPair, Pair
from rpecli.report.tables import efficiency
from rpecli.report.tables.accuracy import effective_lengths
from rpecli.table import MISSING, Table

INTERVAL = "t interval over seeds, bootstrap from 6 seeds"


def tables(task: TaskResults) -> list[Table]:
    """The tables of one task, without those that would be empty."""
    folded = [replace(table, folded=True) for table in (_scores(task, "token_accuracy"), _best(task), _single_models(task))]
    task_tables = [_scores(task, "exact_match"), *folded, efficiency.table(task)]
    return [table for table in task_tables if table.rows]


def _table(task: TaskResults, title: str, columns: list[str], rows: list[list[str]], caption: str) -> Table:
    return Table(title, columns, "ll" + "r" * (len(columns) - 2), rows, caption=caption, section=task.title)


def _scores(task: TaskResults, measure: str) -> Table:
    by_label = paired.scores(task, measure)
    entries = [entry for entry in task.encodings if entry.label in by_label]
    rows = [_scores_row(entry, task, measure, list(by_label[entry.label].values())) for entry in entries]
    columns = ["encoding", "group", "seeds", "mean", "95 % interval", "median", "lowest", "highest", "area"]
    name = measure.replace("_", " ")
    lengths = ", ".join(map(str, paired.extrapolation_lengths(task)))
    caption = f"Mean {name} over log2 length beyond training ({lengths}); the interval is that of the mean ({INTERVAL}), "
    caption += f"from {stats.MIN_SEEDS} seeds. Area: the same mean over all evaluated lengths. "
    if measure == "exact_match":
        columns += ["to 95 %", "to 50 %"]
        caption += "To 95 %: the longest length up to which exact match is at least 95 %, lower median over seeds; to 50 % "
        caption += "likewise with 50 %. "
    caption += "Bold: the highest mean, and those whose interval overlaps its interval."
    bold = [[flag, *[False] * (len(columns) - 1)] for flag in _overlap_best(by_label)]
    return replace(_table(task, f"{name} beyond training", columns, rows, caption), bold=bold)


def _overlap_best(by_label: paired.Scores) -> list[bool]:
    """Per encoding, whether it is the best or its interval overlaps the best one's; all False without intervals."""
    intervals = {label: stats.mean_interval([list(by_seed.values())], stats.SHARES) for label, by_seed in by_label.items()}
    best = paired.best_label(by_label)
    best_interval = intervals[best] if best is not None else None
    if best_interval is None or all(fmean(by_seed.values()) == 0 for by_seed in by_label.values()):
        return [False] * len(by_label)
    return [label == best or (own is not None and own[1] >= best_interval[0]) for label, own in intervals.items()]


def _scores_row(encoding: EncodingResults, task: TaskResults, measure: str, scores: list[float]) -> list[str]:
    mean, middle, low, high = map(format_percent, (fmean(scores), median(scores), min(scores), max(scores)))
    area = encoding.area(measure)
    row = [encoding.title, encoding.group, str(len(scores)), mean, format_interval(stats.mean_interval([scores], stats.SHARES))]
    row += [middle, low, high, format_percent(area.mean) if area else MISSING]
    thresholds = (stats.EFFECTIVE, stats.EFFECTIVE_HALF) if measure == "exact_match" else ()
    return row + [effective_lengths(encoding, task, threshold)[0] for threshold in thresholds]


def _best(task: TaskResults) -> Table:
    by_label = paired.scores(task, "exact_match")
    best = paired.best_label(by_label)
    all_pairs = paired.pairs(task, "exact_match")
    own_pairs = paired.pairs_of(best, all_pairs) if best is not None else []
    columns = ["encoding", "minus", "points", "95 % interval", "seeds", "p", "p (Holm)"]
    caption = (
        f"Exact match beyond training: {task.titles.get(str(best))}, which has the highest mean, minus each other encoding, "
        f"paired by seed. Sign-flip permutation test over seeds, p adjusted for all {len(all_pairs)} pairs (pairs.csv)."
    )
    if any(pair.p is None for pair in own_pairs):
        caption += f" Pairs with fewer than {stats.MIN_SEEDS} seeds are not tested."
    return _table(
        task, "the best encoding minus the others", columns, [_pair_row(pair, task.titles) for pair in own_pairs], caption
    )


def _pair_row(pair: Pair, titles: dict[str, str]) -> list[str]:
    p_values = [format_p(pair.p), format_p(pair.p_holm)]
    return [
        titles[pair.first],
        titles[pair.second],
        format_points(pair.mean),
        format_interval(pair.interval, format_points),
        str(pair.pairs),
        *p_values,
    ]


def _single_models(task: TaskResults) -> Table:
    """Only where seeds are too few for a test over them."""
    by_label = paired.scores(task, "exact_match")
    best = paired.best_label(by_label)
    few = best is not None and len(by_label[best]) < stats.MIN_SEEDS
    models = [pair for pair in paired.mcnemar_pairs(task) if best in (pair.first, pair.second)] if few else []
    rows = sorted(
        (_model_row(pair, str(best), task.titles) for pair in models), key=lambda row: (natural_key(row[1]), natural_key(row[2]))
    )
    columns = ["encoding", "other", "seed", "only it correct", "only the other correct", "sequences", "p (Holm)"]
    caption = (
        f"Single trained models on the same sequences of length {models[0].length if models else 0}: McNemar's exact test, "
        "adjusted for all pairs of models. The result is about these two models only; another seed may reverse it."
    )
    return _table(task, "single models", columns, rows, caption)


def _model_row(pair: McNemarPair, best: str, titles: dict[str, str]) -> list[str]:
    other, own_only, other_only = pair.second, pair.only_first_correct, pair.only_second_correct
    if pair.first != best:
        other, own_only, other_only = pair.first, other_only, own_only
    return [titles[best], titles[other], str(pair.seed), str(own_only), str(other_only), str(pair.n), format_p(pair.p_holm)]
