"""Table of the learning rates that were tried for a task, and which one each encoding took."""

from rpecli.report.aggregate import TaskResults
from rpecli.run.records import LrSearch, LrTrials
from rpecli.table import MISSING, Table, few

DIVERGED = "not finite"
SEEDS = 6  # that a caption names


def tables(task: TaskResults) -> list[Table]:
    """One row per encoding whose learning rate was searched, one column per rate; none without a search."""
    searches = {encoding.title: search for encoding in task.own if (search := encoding.runs[0].record.get("lr_search"))}
    if not searches:
        return []
    rates = sorted({one["lr"] for search in searches.values() for one in search["tried"]})
    rows, bold = [], []
    for title, search in searches.items():
        tried = {one["lr"]: one for one in search["tried"]}
        rows.append([title, *(_cell(tried.get(rate)) for rate in rates), f"{search['taken']:g}"])
        bold.append([False, *(rate == search["taken"] for rate in rates), False])
    columns = ["encoding", *(f"{rate:g}" for rate in rates), "taken"]
    align = "l" + "r" * (1 + len(rates))
    return [Table("learning rates tried", columns, align, rows, bold, _caption(searches), section=task.title, folded=True)]


def _cell(one: LrTrials | None) -> str:
    if one is None:
        return MISSING
    if one["token_accuracy"] is None or one["loss"] is None:
        return DIVERGED
    return f"{100 * one['token_accuracy']:.1f} ({one['loss']:.3g})"


def _caption(searches: dict[str, LrSearch]) -> str:
    seeds = sorted({seed for search in searches.values() for seed in search["seeds"]})
    which = f"seed{'s' if len(seeds) > 1 else ''} {few([str(seed) for seed in seeds], SEEDS)}"
    return (
        f"Last validation of runs with {which}, which {'are' if len(seeds) > 1 else 'is'} not reported: per cent of tokens right "
        "on training lengths (training loss). The rate with the most tokens right is taken, of equal ones that with the lowest "
        "loss; no length beyond training is looked at."
    )
