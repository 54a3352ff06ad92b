"""The rows of report.json and of the CSV files, from the results of tasks."""

from typing import Any

from rpecli.escape import visible
from rpecli.evaluate.scores import wilson_interval
from rpecli.report import paired, stats
from rpecli.report.aggregate import MEASURES, EncodingResults, TaskResults, by_scoring
from rpecli.report.format import finite_exp
from rpecli.report.grid import Grid, Sizes, grids
from rpecli.report.load import RunResults, measure_of
from rpecli.report.measures import ACCURACY, LIKELIHOOD, PERPLEXITY
from rpecli.report.paired import ALL_TASKS, families
from rpecli.report.records import GridRow, McNemarPair, Pair, Pooled
from rpecli.report.report_data import GroupRow, Range, RunRecord, RunRow, Spread, SpreadInterval, StepsToTarget, SummaryRow
from rpecli.report.stats import Summary
from rpecli.run.records import EvalLine

GROUP_MEASURES = [measure for measure in MEASURES if measure != LIKELIHOOD.rescaled]
STEPS = ("steps_to_90", "tokens_to_90", "steps_to_99", "tokens_to_99")
FROM_EVALUATION = ("exact_match", "exact_match_eos", "token_accuracy", "nll", "chance", "chance_nll", "untrained_positions",
                   "fingerprint", "eval_seed")  # fmt: skip
FROM_RECORD = ("step", "parameters", "tokens", "tokens_per_second", "seconds", "commit", "dirty", "machine", "device", "error")


def summary_rows(tasks: list[TaskResults]) -> list[SummaryRow]:
    """One row per task, encoding and length; an encoding without evaluations has one row."""
    return [
        _summary_row(task, encoding, length)
        for task in tasks for encoding in task.encodings for length in (encoding.by_length or [None])
    ]  # fmt: skip


def _summary_row(task: TaskResults, encoding: EncodingResults, length: int | None) -> SummaryRow:
    summaries = encoding.by_length[length] if length else {}
    steps, flags = encoding.steps_to_90, encoding.solved_flags
    area, exact_area = encoding.area("token_accuracy"), encoding.area("exact_match")

    def interval(measure: str) -> SpreadInterval:
        values = [run.by_length(measure) for run in encoding.evaluated_runs] if length else []
        numbers = [value[length] for value in values if length in value]
        low, high = stats.mean_interval([numbers], stats.SHARES) or (None, None)
        return SpreadInterval(**_parts(summaries.get(measure)), interval_low=low, interval_high=high)

    def spread(measure: str) -> Spread:
        return Spread(**_parts(summaries.get(measure)))

    return SummaryRow(
        task=task.name,
        training_length=task.train_length,
        task_title=task.short_title,
        measure=task.scoring.name,
        encoding=encoding.label,
        title=encoding.title,
        source=encoding.source,
        group=encoding.group,
        length=length,
        factor=length / task.train_length if length else None,
        runs=summaries["token_accuracy"].n if summaries else 0,
        exact_match=interval("exact_match"),
        exact_match_eos=spread("exact_match_eos"),
        token_accuracy=interval("token_accuracy"),
        rescaled_accuracy=spread("rescaled_accuracy"),
        nll=spread("nll"),
        perplexity=_perplexity(summaries.get(PERPLEXITY.key)),
        chance=_chance(encoding, length, ACCURACY.chance),
        chance_nll=_chance(encoding, length, LIKELIHOOD.chance),
        untrained_positions=encoding.untrained_share.get(length or 0, 0.0),
        solved=sum(flags),
        solved_known=len(flags),
        failed=encoding.n_failed,
        effective_length=_range(encoding.effective_length()),
        half_length=_range(encoding.effective_length(half=True)),
        area_mean=area.mean if area else None,
        exact_match_area_mean=exact_area.mean if exact_area else None,
        steps_to_90=StepsToTarget(
            median=stats.censored_median(steps), reached=sum(count is not None for count in steps), runs=len(steps)
        ),
    )


def _parts(summary: Summary | None) -> dict[str, float | None]:
    return {part: getattr(summary, part, None) for part in ("mean", "median", "low", "high")}


def _perplexity(summary: Summary | None) -> Spread:
    """The exponential of nats, of which the mean is geometric."""
    return Spread(**{part: None if nll is None else finite_exp(nll) for part, nll in _parts(summary).items()})


def _chance(encoding: EncodingResults, length: int | None, key: str) -> float | None:
    """What the best guess without the input has, as the first run recorded it."""
    return next((value for run in encoding.evaluated_runs if (value := run.by_length(key).get(length or 0)) is not None), None)


def _range(summary: Summary | None) -> Range:
    return Range(**{part: getattr(summary, part, None) for part in ("mean", "low", "high")})


def group_rows(tasks: list[TaskResults]) -> list[GroupRow]:
    """One row per task, group and length."""
    return [
        GroupRow(
            task=task.name, training_length=task.train_length, group=group.name, encodings=len(group.encodings),
            runs=group.n_runs, solved=sum(group.solved_flags), solved_known=len(group.solved_flags), length=length,
            factor=length / task.train_length,
            **{measure: summaries[measure].mean if measure in summaries else None for measure in GROUP_MEASURES},
        )
        for task in tasks for group in task.groups for length, summaries in group.by_length.items()
    ]  # fmt: skip


def pair_rows(tasks: list[TaskResults]) -> list[Pair]:
    """Every two encodings of a task by all measures that are compared."""
    return [pair for task in tasks for measure in task.scoring.compared for pair in paired.pairs(task, measure)]


def mcnemar_rows(tasks: list[TaskResults]) -> list[McNemarPair]:
    """Every two models of one seed, where their evaluations recorded which sequences were correct."""
    return [pair for task in tasks for pair in paired.mcnemar_pairs(task)]


def grid_rows(tasks: list[TaskResults]) -> list[GridRow]:
    """One row per task, encoding and pair of sizes, of what was evaluated on a grid."""
    return [_grid_row(task, grid, sizes) for task in tasks for grid in grids(task) for sizes in grid.cells]


def _grid_row(task: TaskResults, grid: Grid, sizes: Sizes) -> GridRow:
    (first, second), (first_name, second_name), cell = sizes, grid.names, grid.cells[sizes]
    return GridRow(
        task=task.name, training_length=task.train_length, label=grid.label, first_name=first_name, first=first,
        second_name=second_name, second=second, trained=grid.is_trained(sizes), seeds=cell.n, exact_match=cell.mean,
        low=cell.low, high=cell.high,
    )  # fmt: skip


def pooled_rows(tasks: list[TaskResults]) -> list[Pooled]:
    """Encodings and groups over all tasks of a scoring and over each family, by all measures that are compared."""
    return [
        row
        for scoring, owned in by_scoring(tasks)
        for family, members in ({ALL_TASKS: owned} | families(owned)).items() for measure in scoring.compared
        for row in (*paired.pooled(members, measure, family), *paired.pooled_groups(members, measure, family))
    ]  # fmt: skip


def run_record(run: RunResults) -> RunRecord:
    """A run with all that `rpe report --compare` needs to read it again."""
    record: Any = {
        "id": run.id,
        "path": visible(str(run.path)),
        **run.record,
        "recipe": run.config.to_keys(),
        "settings": run.settings,
    }
    record["evaluations"] = list(run.evaluations.values())
    return record


def run_rows(runs: list[RunResults]) -> list[RunRow]:
    """`runs.csv`: one row per run and length, and one for each run without evaluations."""
    return [_run_row(run, run.evaluations.get(length)) for run in runs for length in (run.evaluations or [0])]


def _run_row(run: RunResults, evaluation: EvalLine | None) -> RunRow:
    record, config = run.record, run.config
    line: Any = evaluation or {}
    row: Any = {"run": run.id, "task": record["task"], "encoding": record["encoding"], "positions": config.positions}
    row |= {"group": record["group"], "seed": config.seed, "status": record["status"], "training_length": config.length}
    length = line.get("length")
    row |= {"length": length, "factor": length / config.length if length else None}
    row |= {"sequence": line.get("sequence"), "n": line.get("n")} | {key: line.get(key) for key in FROM_EVALUATION}
    row["low"], row["high"] = _exact_match_interval(line)
    row["rescaled_accuracy"] = measure_of(line, "rescaled_accuracy")
    row["perplexity"] = None if (nll := line.get("nll")) is None else finite_exp(nll)
    for key in ("accuracy_by_decile", "nll_by_place"):
        row[key] = " ".join(map(str, line.get(key) or [])) or None
    row["weights"] = line.get("weights")
    row |= {key: (record.get("steps_to_accuracy") or {}).get(key) for key in STEPS}
    row |= {key: record.get(key) for key in FROM_RECORD} | {"steps": config.steps}
    row["batch_tokens"] = config.tokens  # the record's `tokens` counts all that was trained on
    row |= {key: value for key, value in run.settings.items() if key not in row}
    return row


def _exact_match_interval(line: Any) -> tuple[float | None, float | None]:
    if not line:
        return None, None
    low, high = line.get("interval") or wilson_interval(round(line["exact_match"] * line["n"]), line["n"])
    return low, high
