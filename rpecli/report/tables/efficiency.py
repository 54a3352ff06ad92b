"""How much training a target takes: steps, tokens and compute until token accuracy within the training lengths reaches it."""

from rpecli.report import load as report_load
from rpecli.report import stats
from rpecli.report.aggregate import Panel, Row
from rpecli.report.format import MISSING, count
from rpecli.report.load import Run
from rpecli.table import Table

TARGETS = {"50 %": 0.5, "90 %": 0.9, "99 %": 0.99}
RECORDED = {"90 %": "90", "99 %": "99"}  # in run.json; for the others the validations tell
Reached = tuple[float | None, float | None]  # steps and tokens, None for never


def table(panel: Panel) -> Table:
    """A row a target and encoding, so that encodings stand beside each other."""
    rows = [
        [row.label, row.group, target, *_cells(row, target)] for target in TARGETS for row in panel.rows if _known(row, target)
    ]
    columns = ["encoding", "group", "token accuracy", "steps", "tokens", "TFLOP", "got there"]
    caption = "Training until token accuracy within the training lengths first reaches the target, as often as validated: "
    caption += (
        "Kaplan-Meier median over seeds, runs that never got there censored at their budget ('-': fewer than half did). Compute: "
    )
    caption += "6 x parameters x tokens, attention's own products left out."
    mask = [[False] * len(columns) for _ in rows]
    return Table(f"{panel.title}: sample efficiency", columns, "ll" + "r" * 5, rows, mask, caption, [])


def _known(row: Row, target: str) -> list[tuple[Run, Reached]]:
    """Trained runs of which it is known when, or that never, they got there."""
    runs = [each for each in row.runs if each.info["status"] == "trained"]
    if target in RECORDED:
        curves = [(each, each.info["steps_to_accuracy"]) for each in runs if each.info.get("steps_to_accuracy")]
        at = RECORDED[target]
        return [(each, (curve.get(f"steps_to_{at}"), curve.get(f"tokens_to_{at}"))) for each, curve in curves]
    return [(each, report_load.first(each, TARGETS[target])) for each in runs if each.validations]


def _cells(row: Row, target: str) -> list[str]:
    known = _known(row, target)
    steps = stats.median_steps([found[0] for _, found in known], [float(each.config.steps) for each, _ in known])
    budgets = [float(each.info.get("tokens") or 0) for each, _ in known]
    tokens = stats.median_steps([found[1] for _, found in known], budgets) if all(budgets) else None
    sizes = {each.info.get("parameters") or 0 for each, _ in known}
    compute = 6 * min(sizes) * tokens / 1e12 if tokens is not None and len(sizes) == 1 and min(sizes) else None
    reached = count([found[0] is not None for _, found in known])
    return [*map(_whole, (steps, tokens)), MISSING if compute is None else f"{compute:.3g}", reached]


def _whole(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"
