"""Tables behind the verdict, a task at a time: spread over seeds, comparisons with the best, single models, steps, cost."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, median

from rpecli import stats
from rpecli.report import compare, learning
from rpecli.report.frames import Run
from rpecli.report.panels import Panel, Row, natural
from rpecli.report.tables import Table
from rpecli.report.verdict import probability, signed
from rpecli.report.views import MISSING, count, number


def tables(panel: Panel) -> list[Table]:
    """Of one panel; a table without rows is left out."""
    made = [_seeds(panel, "exact_match"), _steps(panel)]
    folded = [_seeds(panel, "token_accuracy"), _best(panel), _strings(panel), _cost(panel)]
    made += [replace(table, folded=True) for table in folded]
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
    columns = ["encoding", "group", "seeds", "solved", "mean", "95 % interval", "median", "lowest", "highest"]
    columns += ["area", *(["length at 95 %", "length at 50 %"] if measure == "exact_match" else [])]
    name = measure.replace("_", " ")
    caption = f"Mean {name} over log2 length beyond training ({', '.join(map(str, compare.beyond(panel)))}), over seeds: "
    caption += f"bootstrap interval of the mean from {stats.SEEDS} seeds. Area: the same over all evaluated lengths. "
    if measure == "exact_match":
        caption += "Length at 95 %: the longest up to which exact match stays at least .95, median over seeds; at 50 % likewise. "
    caption += "Bold: the highest mean, and all whose interval overlaps its."
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
    return [row.label, row.group, str(len(values)), count(row.judged), *shown]


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
    return [pair.first, pair.second, signed(this.mean), between, str(this.pairs), _p(this.p), _p(pair.holm)]


def _p(value: float | None) -> str:
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
    return [top, other, str(each.seed), str(mine), str(others), str(each.n), _p(each.holm)]


# ------------------------------------------------------------------------------------------------------ steps and cost


def _steps(panel: Panel) -> Table:
    rows = [[row.label, row.group, *_targets(row)] for row in panel.rows if compare.steps(row)]
    columns = [
        "encoding",
        "group",
        "steps to 50 %",
        "steps to 90 %",
        "got there",
        "tokens to 90 %",
        "TFLOP to 90 %",
        "steps to 99 %",
        "got there (99 %)",
    ]
    caption = "Training until token accuracy within the training lengths first reaches the target, as often as validated: "
    caption += (
        "Kaplan-Meier median over seeds, runs that never got there censored at their budget ('-': fewer than half did). Compute: "
    )
    caption += "6 x parameters x tokens, attention's own products left out."
    return _table(panel, "sample efficiency", columns, rows, caption)


def _targets(row: Row) -> list[str]:
    runs = [each for each in row.runs if each.info["status"] == "trained" and each.info.get("curve")]
    tokens, compute = _median(runs, "tokens_to_90"), None
    sizes = {each.info.get("parameters") or 0 for each in runs}
    if tokens is not None and len(sizes) == 1 and min(sizes):
        compute = 6 * min(sizes) * tokens / 1e12
    return [
        _count(_half(runs)), _count(_median(runs, "steps_to_90")), _reached(runs, "steps_to_90"), _count(tokens),
        MISSING if compute is None else f"{compute:.3g}", _count(_median(runs, "steps_to_99")), _reached(runs, "steps_to_99"),
    ]  # fmt: skip


def _half(runs: list[Run]) -> float | None:
    """The record has no steps to 50 %: the validations, where they are kept, do."""
    kept = [each for each in runs if learning.lines(each)]
    return stats.median_steps([learning.first_step(each, 0.5) for each in kept], [float(each.config.steps) for each in kept])


def _median(runs: list[Run], key: str) -> float | None:
    values = [each.info["curve"].get(key) for each in runs]
    budgets = [float(each.info["tokens"] if key.startswith("tokens") else each.config.steps) for each in runs]
    return stats.median_steps(values, budgets)


def _reached(runs: Sequence[Run], key: str) -> str:
    return count([each.info["curve"].get(key) is not None for each in runs])


def _count(value: object) -> str:
    return MISSING if not isinstance(value, int | float) else f"{value:,.0f}"


def _cost(panel: Panel) -> Table:
    rows = [[row.label, row.group, *_costs(row.evaluated)] for row in panel.rows if row.evaluated]
    columns = ["encoding", "group", "parameters", "training tokens/s", "training seconds", "evaluation seconds", "machines"]
    caption = "Medians over seeds, from the runs' own records. Speeds compare only on one machine with nothing else on it."
    return _table(panel, "cost", columns, rows, caption)


def _costs(runs: list[Run]) -> list[str]:
    machines = {f"{each.info.get('machine')}, {each.info.get('device')}" for each in runs}
    evaluation = [sum(line.get("seconds") or 0 for line in each.lines.values()) for each in runs]
    kept = [_middle(each.info.get(key) for each in runs) for key in ("parameters", "tokens_per_second", "seconds")]
    return [*kept, f"{median(evaluation):.2f}", str(len(machines))]


def _middle(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):,.0f}" if known else MISSING
