"""Tables behind the verdict, a task at a time: spread over seeds, comparisons with the best, single models, cost."""

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean, median

from rpecli.report import paired as compare
from rpecli.report import stats
from rpecli.report.aggregate import Panel, Row, natural
from rpecli.report.format import MISSING, number, probability, signed
from rpecli.report.load import Run
from rpecli.report.tables import efficiency as targets
from rpecli.table import Table

NARROW = "Of few seeds an interval is narrower than its name says (docs/protocol.md); tests decide, intervals do not."


def tables(panel: Panel) -> list[Table]:
    """Of one panel; a table without rows is left out."""
    folded = [replace(table, folded=True) for table in (_seeds(panel, "token_accuracy"), _best(panel), _strings(panel))]
    made = [_seeds(panel, "exact_match"), *folded, targets.table(panel), _cost(panel)]
    return [table for table in made if table.rows]


def _table(
    panel: Panel, title: str, columns: list[str], rows: list[list[str]], caption: str, bold: list[bool] | None = None
) -> Table:
    mask = [[mark and i == 0 for i in range(len(columns))] for mark in bold or [False] * len(rows)]
    return Table(f"{panel.title}: {title}", columns, "ll" + "r" * (len(columns) - 2), rows, mask, caption, [])


def interval(found: tuple[float, float] | None) -> str:
    return f"{number(found[0])}-{number(found[1])}" if found else MISSING


# -------------------------------------------------------------------------------------------------------- over seeds


def _seeds(panel: Panel, measure: str) -> Table:
    found = compare.scores(panel, measure)
    rows = [_seeds_line(row, panel, measure, found[row.label]) for row in panel.rows if row.label in found]
    columns = ["encoding", "group", "seeds", "mean", "95 % interval", "median", "lowest", "highest"]
    columns += ["area", *(["to 95 %", "to 50 %"] if measure == "exact_match" else [])]
    name = measure.replace("_", " ")
    caption = f"Mean {name} over log2 length beyond training ({', '.join(map(str, compare.beyond(panel)))}), over seeds: "
    caption += f"bootstrap interval of the mean from {stats.SEEDS} seeds. Area: the same over all evaluated lengths. "
    if measure == "exact_match":
        caption += "To 95 %: the longest length up to which exact match stays at least .95, median over seeds; at 50 % likewise. "
    caption += f"Bold: the highest mean, and all whose interval overlaps its. {NARROW}"
    return _table(panel, f"{name} beyond training", columns, rows, caption, _level_with_best(found))


def _level_with_best(found: compare.Scores) -> list[bool]:
    """Whether each row is the best or, by intervals, level with it; without intervals none is said to be either."""
    intervals = {label: stats.mean_interval([list(values.values())]) for label, values in found.items()}
    top = compare.best(found)
    edge = intervals[top] if top is not None else None
    if edge is None or all(fmean(values.values()) == 0 for values in found.values()):
        return [False] * len(found)
    return [label == top or (own is not None and own[1] >= edge[0]) for label, own in intervals.items()]


def _seeds_line(row: Row, panel: Panel, measure: str, found: dict[int, float]) -> list[str]:
    values = list(found.values())
    spread = [fmean(values), median(values), min(values), max(values)]
    mean, middle, low, high = map(number, spread)
    areas = stats.summary(stats.area(each.measure(measure)) for each in row.evaluated)
    lengths = [_length(row, panel, at) for at in (stats.EFFECTIVE, stats.HALF) if measure == "exact_match"]
    over = interval(stats.mean_interval([values]))
    shown = [mean, over, middle, low, high, number(areas.mean) if areas else MISSING, *lengths]
    return [row.label, row.group, str(len(values)), *shown]


def _length(row: Row, panel: Panel, at: float) -> str:
    """The lower median over seeds: an evaluated length, never one between two."""
    reached = sorted(stats.effective_length(each.measure("exact_match"), at) for each in row.evaluated)
    middle = reached[(len(reached) - 1) // 2]
    return f"{middle}" if middle else f"<{panel.lengths[0]}"


# ------------------------------------------------------------------------------------------------------- comparisons


def _best(panel: Panel) -> Table:
    found = compare.scores(panel, "exact_match")
    top = compare.best(found)
    every = compare.pairs(found)
    rivals = compare.against(top, every) if top is not None else []
    rows = [_pair_line(pair) for pair in rivals]
    columns = ["encoding", "against", "difference", "95 % interval", "seeds", "p", "p (Holm)"]
    caption = (
        f"Exact match beyond training: what {top}, the highest mean, has over each other encoding on the same seeds and strings. "
    )
    caption += f"Sign-flip permutation test over seeds, p adjusted for all {len(every)} pairs (pairs.csv). "
    if any(pair.difference.p is None for pair in rivals):
        caption += f"Pairs with fewer than {stats.SEEDS} seeds are not tested."
    return _table(panel, "the highest against the others", columns, rows, caption.strip())


def _pair_line(pair: compare.Pair) -> list[str]:
    this = pair.difference
    between = MISSING if this.low is None or this.high is None else f"{signed(this.low)} to {signed(this.high)}"
    return [pair.first, pair.second, signed(this.mean), between, str(this.pairs), p_value(this.p), p_value(pair.holm)]


def p_value(value: float | None) -> str:
    return MISSING if value is None else probability(value).removeprefix("= ")


def _strings(panel: Panel) -> Table:
    """Only where seeds are too few for a test over them: there is nothing better to show."""
    found = compare.scores(panel, "exact_match")
    top = compare.best(found)
    few = [each for each in compare.strings(panel) if top in (each.first, each.second) and len(found[top]) < stats.SEEDS]
    rows = sorted((_string_line(each, str(top)) for each in few), key=lambda line: (natural(line[1]), natural(line[2])))
    length = few[0].length if few else 0
    columns = ["encoding", "against", "seed", "only it right", "only the other", "strings", "p (Holm)"]
    caption = (
        f"Single trained models on the same strings of length {length}: McNemar's exact test, adjusted for all pairs of models. "
    )
    caption += "About these two trained models only: another seed may turn it round."
    return _table(panel, "single models", columns, rows, caption)


def _string_line(each: compare.Strings, top: str) -> list[str]:
    mine, others = each.first_alone, each.second_alone
    if each.first != top:
        mine, others = others, mine
    other = each.second if each.first == top else each.first
    return [top, other, str(each.seed), str(mine), str(others), str(each.n), p_value(each.holm)]


# ---------------------------------------------------------------------------------------------------------------- cost


def _cost(panel: Panel) -> Table:
    memory = any(each.info.get("peak_memory") for row in panel.rows for each in row.evaluated)
    rows = [[row.label, row.group, *_costs(row.evaluated, memory)] for row in panel.rows if row.evaluated]
    columns = ["encoding", "group", "parameters", "training tokens/s", "training seconds", "evaluation seconds"]
    columns += [*(["peak memory, MB"] if memory else []), "machines"]
    caption = "Medians over seeds, from the runs' own records. Speeds compare only on one machine with nothing else on it."
    return _table(panel, "cost", columns, rows, caption)


def _costs(runs: list[Run], memory: bool) -> list[str]:
    machines = {f"{each.info.get('machine')}, {each.info.get('device')}" for each in runs}
    evaluation = [sum(line.get("seconds") or 0 for line in each.lines.values()) for each in runs]
    kept = [_middle(each.info.get(key) for each in runs) for key in ("parameters", "tokens_per_second", "seconds")]
    peaks = [each.info["peak_memory"] / 1e6 for each in runs if each.info.get("peak_memory")]
    return [*kept, f"{median(evaluation):.2f}", *([_middle(peaks)] if memory else []), str(len(machines))]


def _middle(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):,.0f}" if known else MISSING
