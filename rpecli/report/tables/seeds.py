"""Tables of one task behind the verdict: scores over seeds, comparisons with the best encoding, single models."""

from dataclasses import replace
from statistics import fmean, median

from rpecli.report import paired, stats
from rpecli.report.aggregate import EncodingResults, TaskResults, natural_key
from rpecli.report.format import format_p
from rpecli.report.measures import Measure
from rpecli.report.records import McNemarPair, Pair
from rpecli.report.tables import efficiency
from rpecli.report.tables.accuracy import effective_lengths
from rpecli.table import MISSING, Table

INTERVAL = "t interval over seeds, bootstrap from 6 seeds"


def tables(task: TaskResults) -> list[Table]:
    """The tables of one task, without those that would be empty."""
    first, *others = [_scores(task, measure) for measure in task.scoring.compared]
    folded = [replace(table, folded=True) for table in (*others, _best(task), _single_models(task))]
    task_tables = [first, *folded, efficiency.table(task)]
    return [table for table in task_tables if table.rows]


def _table(task: TaskResults, title: str, columns: list[str], rows: list[list[str]], caption: str) -> Table:
    return Table(title, columns, "ll" + "r" * (len(columns) - 2), rows, caption=caption, section=task.title)


def _scores(task: TaskResults, measure: Measure) -> Table:
    by_label = paired.scores_of(task.encodings, measure, paired.extrapolation_lengths(task))
    entries = [entry for entry in task.encodings if entry.label in by_label]
    rows = [_scores_row(entry, task, measure, list(by_label[entry.label].values())) for entry in entries]
    columns = ["encoding", "group", "seeds", "mean", "95 % interval", "median", "lowest", "highest", "area"]
    lengths = ", ".join(map(str, paired.extrapolation_lengths(task)))
    caption = f"Mean {measure.name} over log2 length beyond training ({lengths}); the interval is that of the mean ({INTERVAL}), "
    caption += f"from {stats.MIN_SEEDS} seeds. Area: the same mean over all evaluated lengths. "
    if measure is task.scoring.decides:
        columns += task.scoring.thresholds
        caption += f"{task.scoring.threshold_words} "
    caption += f"Bold: the {measure.highest} mean, and those whose interval overlaps its interval."
    best = _overlap_best(paired.scores(task, measure), measure)
    bold = [[entry.label in best, *[False] * (len(columns) - 1)] for entry in entries]
    return replace(_table(task, f"{measure.name} beyond training", columns, rows, caption), bold=bold)


def _overlap_best(by_label: paired.Scores, measure: Measure) -> list[str]:
    """The labels of the best encoding and of those whose interval overlaps its interval; none without intervals."""
    intervals = {label: stats.mean_interval([list(by_seed.values())], measure.bounds) for label, by_seed in by_label.items()}
    best = paired.best_labels(by_label)
    best_interval = intervals[best[0]] if best else None
    if best_interval is None or all(fmean(by_seed.values()) == 0 for by_seed in by_label.values()):
        return []
    return [label for label, own in intervals.items() if label in best or (own is not None and own[1] >= best_interval[0])]


def _scores_row(encoding: EncodingResults, task: TaskResults, measure: Measure, scores: list[float]) -> list[str]:
    mean, middle = map(measure.write_score, (fmean(scores), median(scores)))
    low, high = map(measure.write, sorted(measure.sign * score for score in (min(scores), max(scores))))
    area, interval = encoding.area(measure.key), stats.mean_interval([scores], measure.bounds)
    row = [encoding.title, encoding.group, str(len(scores)), mean, measure.write_interval(interval)]
    row += [middle, low, high, measure.write(area.mean) if area else MISSING]
    halves = (False, True) if measure is task.scoring.decides else ()
    return row + [effective_lengths(encoding, task, half)[0] for half in halves]


def _best(task: TaskResults) -> Table:
    measure = task.scoring.decides
    by_label = paired.scores(task, measure)
    best = paired.best_label(by_label)
    all_pairs = paired.pairs(task, measure)
    own_pairs = paired.pairs_of(best, all_pairs) if best is not None else []
    equal = [task.titles[label] for label in paired.best_labels(by_label) if label != best]
    together = f" together with {', '.join(equal)}" if equal else ""
    columns = ["encoding", "minus", measure.difference_unit, "95 % interval", "seeds", "p", "p (Holm)"]
    caption = (
        f"{measure.name.capitalize()} beyond training: {task.titles.get(str(best))}, which has the {measure.highest} "
        f"mean{together}, minus each other encoding, paired by seed. "
        f"Sign-flip permutation test over seeds, p adjusted for all {len(all_pairs)} pairs (pairs.csv)."
    )
    if any(pair.p is None for pair in own_pairs):
        caption += f" Pairs with fewer than {stats.MIN_SEEDS} seeds are not tested."
    return _table(
        task,
        "the best encoding minus the others",
        columns,
        [_pair_row(pair, task.titles, measure) for pair in own_pairs],
        caption,
    )


def _pair_row(pair: Pair, titles: dict[str, str], measure: Measure) -> list[str]:
    p_values = [format_p(pair.p), format_p(pair.p_holm)]
    return [
        titles[pair.first],
        titles[pair.second],
        measure.bare_difference(pair.mean),
        measure.write_change_interval(pair.interval),
        str(pair.pairs),
        *p_values,
    ]


def _single_models(task: TaskResults) -> Table:
    """Only where seeds are too few for a test over them."""
    by_label = paired.scores(task, task.scoring.decides)
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
