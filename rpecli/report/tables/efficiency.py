"""Table of the training that a target accuracy takes: steps, tokens and compute."""

from rpecli.report import stats
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.format import format_count
from rpecli.report.load import RunResults
from rpecli.table import MISSING, Table

TARGETS = {"50 %": 0.5, "90 %": 0.9, "99 %": 0.99}
RECORDED = {"90 %": "90", "99 %": "99"}  # targets in run.json; the others are read from the validations
Cost = tuple[float | None, float | None]  # steps and tokens, None for never


def table(task: TaskResults) -> Table:
    """One row per target and encoding, so that encodings stand below each other."""
    rows = [
        [encoding.title, encoding.group, target, *_cells(costs)]
        for target in TARGETS for encoding in task.own if (costs := _costs(encoding, target))
    ]  # fmt: skip
    columns = ["encoding", "group", "token accuracy", "steps", "tokens", "TFLOP", "reached"]
    caption = (
        "Training until the validation token accuracy within the training lengths first reaches the target. Kaplan-Meier median "
        "over seeds; runs that never reached it are censored at their budget ('-': no more than half reached it). Compute: "
        "6 x parameters x tokens, without the attention products."
    )
    return Table("sample efficiency", columns, "ll" + "r" * 5, rows, caption=caption, section=task.title)


def _costs(encoding: EncodingResults, target: str) -> list[tuple[RunResults, Cost]]:
    """The trained runs of which it is known when they reached the target, or that they never did."""
    runs = [run for run in encoding.runs if run.trained]
    if target in RECORDED:
        key = RECORDED[target]
        recorded = [(run, run.record["steps_to_accuracy"]) for run in runs if run.record.get("steps_to_accuracy")]
        return [(run, (steps.get(f"steps_to_{key}"), steps.get(f"tokens_to_{key}"))) for run, steps in recorded]
    return [(run, _first_validation(run, TARGETS[target])) for run in runs if run.validations]


def _first_validation(run: RunResults, target: float) -> Cost:
    """Steps and tokens of the first validation that reached the target."""
    return next(((line.step, line.tokens) for line in run.validations if line.token_accuracy >= target), (None, None))


def _cells(costs: list[tuple[RunResults, Cost]]) -> list[str]:
    taken = [float(run.record.get("step") or run.config.steps) for run, _ in costs]  # stop_at may have ended a run
    steps = stats.median_steps([cost[0] for _, cost in costs], taken)
    budgets = [float(run.record.get("tokens") or 0) for run, _ in costs]
    tokens = stats.median_steps([cost[1] for _, cost in costs], budgets) if all(budgets) else None
    parameters = {run.record.get("parameters") or 0 for run, _ in costs}
    compute = 6 * min(parameters) * tokens / 1e12 if tokens is not None and len(parameters) == 1 and min(parameters) else None
    numbers = [MISSING if number is None else f"{number:,.0f}" for number in (steps, tokens)]
    reached = format_count([cost[0] is not None for _, cost in costs])
    return [*numbers, MISSING if compute is None else f"{compute:.3g}", reached]
