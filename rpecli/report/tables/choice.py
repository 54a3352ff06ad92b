"""The table of what to use: encodings by result, with what each needs."""

from collections.abc import Sequence
from statistics import median

from rpecli.report import attention_cost, overview
from rpecli.report.aggregate import EncodingResults, TaskResults, by_scoring
from rpecli.report.definitions import Definition, kernel_of
from rpecli.report.format import format_count
from rpecli.report.measures import ACCURACY
from rpecli.report.overview import Entry
from rpecli.table import MISSING, Table

FUSED = "plain"  # the kernel that PyTorch has
NOTHING = "none"  # the group without an encoding
TITLE = "What to use and what it costs"
NO_KERNEL = "no"
LEFT = ("encoding", "group", "source", "special kernel")
CAPTION = (
    "Special kernel: whether attention needs one, and which (see Kernel in the glossary); PyTorch's fused attention serves the "
    "others as it is. The times of a study's runs are not shown: they compete for one machine, so they cannot be compared."
)


def table(tasks: Sequence[TaskResults], reference: Sequence[TaskResults], known: dict[str, Definition]) -> Table:
    """One row per encoding, the best first; without what a run was measured with but not trained."""
    entries = [entry for entry in overview.entries(tasks, reference) if entry.encoding.label in entry.task.own_labels]
    means, parameters, more = overview.means_beyond(entries), _parameters_by_row(entries), bool(_baselines(entries))
    cost = attention_cost.read()
    records = []
    for row in overview.ordered(means):
        own = [entry.encoding for entry in entries if entry.row == row]
        record = {"encoding": own[0].title, "group": row[1]} | ({"source": row[2]} if reference else {})
        record["mean beyond"] = MISSING if (mean := means[row]) is None else f"{100 * mean:.0f}"
        record["solved"] = format_count([flag for encoding in own for flag in encoding.solved_flags])
        record["parameters beyond NoPE" if more else "parameters"] = parameters.get(row, MISSING)
        choice = own[0].runs[0].config.encoding
        record["attention time"] = f"{ratio:.2f}x" if (ratio := cost.ratio.get(choice)) is not None else MISSING
        record["special kernel"] = _kernel(choice, known)
        records.append(record)
    columns = list(records[0]) if records else []
    align = "".join("l" if column in LEFT else "r" for column in columns)
    return Table(TITLE, columns, align, [list(record.values()) for record in records], caption=_caption(entries, cost.note))


def _caption(entries: list[Entry], cost: str) -> str:
    scorings = [scoring for scoring, _ in by_scoring([entry.task for entry in entries])] or [ACCURACY]
    beyond, learned = (" or ".join(texts) for texts in zip(*((one.beyond, one.learned) for one in scorings), strict=True))
    means = f"Mean beyond: {beyond}, over {overview.averaged_over(entries)}. Solved: runs with {learned} at the training length."
    return f"{means} {CAPTION} {cost}"


def _kernel(choice: str, known: dict[str, Definition]) -> str:
    kernel = kernel_of(choice, known)
    return MISSING if kernel is None else NO_KERNEL if kernel == FUSED else kernel


def advice(table: Table) -> str:
    """The two best encodings of the table, and the two best of those that need no kernel of their own; of one, nothing.

    Encodings that learned the training length in no more than half of their runs are not recommended; those whose mean is as high
    as a recommended one's are named last.
    """
    records = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    measured = [record for record in records if record["mean beyond"] != MISSING]
    ranked = [record for record in measured if _learned(record) > 0.5]
    fused = [record for record in ranked if record["special kernel"] == NO_KERNEL][:2]
    if len(ranked) < 2:
        return ""
    text = f"Highest mean beyond training: {_named(ranked[:2])}."
    if fused and fused != ranked[:2]:
        text += f" Without a special kernel: {_named(fused)}."
    least = min(float(record["mean beyond"]) for record in ranked[:2] + fused)
    left_out = [record for record in measured if record not in ranked and float(record["mean beyond"]) >= least]
    return f"{text} Not recommended: {_named(left_out)}." if left_out else text


def _named(records: list[dict[str, str]]) -> str:
    return ", then ".join(f"{record['encoding']} ({record['mean beyond']} %{_unlearned(record)})" for record in records)


def _learned(record: dict[str, str]) -> float:
    """The share of runs that learned their training length; 1 where that is not known."""
    solved, slash, runs = record["solved"].partition("/")
    return int(solved) / int(runs) if slash else 1.0


def _unlearned(record: dict[str, str]) -> str:
    return "" if _learned(record) == 1 else f"; {record['solved'].replace('/', ' of ')} runs learned the training length"


def _baselines(entries: list[Entry]) -> dict[tuple[str, str], float]:
    """The parameters of the model without an encoding, by source and task; empty where a task lacks it."""
    counts = {(entry.row[2], entry.task.title): count for entry in entries
              if entry.row[1] == NOTHING and (count := _parameters(entry.encoding)) is not None}  # fmt: skip
    return counts if {(entry.row[2], entry.task.title) for entry in entries} <= {*counts} else {}


def _parameters_by_row(entries: list[Entry]) -> dict[overview.Row, str]:
    """By row, the parameters that its encoding adds, or all of them where nothing is without one; the median over tasks."""
    baselines = _baselines(entries)
    counts: dict[overview.Row, list[float]] = {}
    for entry in entries:
        if (count := _parameters(entry.encoding)) is not None:
            counts.setdefault(entry.row, []).append(count - baselines.get((entry.row[2], entry.task.title), 0))
    return {row: f"{median(values):,.0f}" for row, values in counts.items()}


def _parameters(encoding: EncodingResults) -> float | None:
    counts = [run.record["parameters"] for run in encoding.runs if run.record.get("parameters")]
    return median(counts) if counts else None
