"""Tables of what shifted content changes in a run's predictions, as `rpe inspect RUN --shift` measured it."""

from typing import Any

from rpecli.report import stats
from rpecli.report.aggregate import TaskResults
from rpecli.report.format import format_percent
from rpecli.report.load_probes import probe_lines
from rpecli.report.paired import Scores
from rpecli.report.probe_values import mean_or_none, shift_value
from rpecli.run.records import ShiftLine
from rpecli.table import MISSING, Table

KINDS = {"positions": "the same tokens at later positions", "prefix": "the same tokens after a prefix of random symbols"}
MEASURES = {
    "changed": "changed", "kl_mean": "KL, nats", "logits_mean": "logits", "attention": "attention",
    "exact_match_before": "exact match before", "exact_match": "exact match", "token_accuracy_before": "token acc. before",
    "token_accuracy": "token acc.",
}  # fmt: skip
SHARES = ("changed", "exact_match_before", "exact_match", "token_accuracy_before", "token_accuracy")
TITLES = {"positions": "position shift", "prefix": "random-prefix shift"}
Shifts = dict[tuple[str, int], ShiftLine]  # of one run: by kind and size
TaskShifts = dict[str, dict[int, Shifts]]  # of one task: by label and seed


def load_shifts(tasks: list[TaskResults]) -> dict[str, TaskShifts]:
    """`{task.title: {label: {seed: shifts}}}` of the runs with measured shifts; of several lines of a shift, the last."""
    by_title: dict[str, TaskShifts] = {}
    for task in tasks:
        for encoding in task.encodings:
            for run in encoding.evaluated_runs:
                if shifts := {(line["probe"], line["shift"]): line for line in probe_lines(run, *KINDS)}:
                    by_title.setdefault(task.title, {}).setdefault(encoding.label, {})[run.config.seed] = shifts
    return by_title


def predictions_kept(by_title: dict[str, TaskShifts], kind: str) -> dict[str, Scores]:
    """By task title, the share of predictions that do not change, mean over the shifts that all measured runs of a task have."""
    shares: dict[str, Scores] = {}
    for title, by_label in by_title.items():
        sizes = shared_sizes(by_label, kind)
        if sizes:
            shares[title] = {
                label: {
                    seed: 1 - stats.mean([[shifts[kind, size]["changed"] for size in sizes]]) for seed, shifts in by_seed.items()
                }
                for label, by_seed in by_label.items()
            }
    return shares


def shared_sizes(by_label: TaskShifts, kind: str) -> list[int]:
    """The sizes of shift that every measured run of a task has."""
    sizes = [{size for name, size in shifts if name == kind} for by_seed in by_label.values() for shifts in by_seed.values()]
    return sorted(set.intersection(*sizes)) if sizes else []


def tables(task: TaskResults, by_label: TaskShifts) -> list[Table]:
    """Changed predictions by encoding and shift, one table per kind; then all measures, folded."""
    by_kind = [_changes_table(task, by_label, kind) for kind in KINDS if shared_sizes(by_label, kind)]
    return [*by_kind, _measures_table(task, by_label)] if by_kind else []


def _changes_table(task: TaskResults, by_label: TaskShifts, kind: str) -> Table:
    sizes = shared_sizes(by_label, kind)
    rows = []
    for encoding in task.encodings:
        if encoding.label in by_label:
            runs = list(by_label[encoding.label].values())
            cells = [_change_cell(runs, (kind, size)) for size in sizes]
            rows.append([encoding.title, encoding.group, str(len(runs)), *cells])
    columns = ["encoding", "group", "runs", *(f"+{size}" for size in sizes)]
    caption = f"{KINDS[kind].capitalize()}: share of predictions that changed, and KL divergence in nats; means over seeds."
    align = "ll" + "r" * (len(columns) - 2)
    return Table(TITLES[kind], columns, align, rows, caption=caption, section=task.title)


def _change_cell(runs: list[Shifts], shift: tuple[str, int]) -> str:
    changed, kl = (_mean(runs, shift, measure) for measure in ("changed", "kl_mean"))
    return f"{format_percent(changed)} ({kl:.2g})" if changed is not None and kl is not None else MISSING


def _mean(runs: list[Shifts], shift: tuple[str, int], measure: str) -> float | None:
    """The mean over the runs that have the measure; None if none has it."""
    lines = [shifts[shift] for shifts in runs]
    return mean_or_none(shift_value(line, measure) for line in lines if line.get(measure) not in (None, []))


def _measures_table(task: TaskResults, by_label: TaskShifts) -> Table:
    """One row per encoding and shift, one column per measure."""
    rows = []
    for kind in KINDS:
        for label in [encoding.label for encoding in task.encodings if encoding.label in by_label]:
            runs = list(by_label[label].values())
            for size in shared_sizes(by_label, kind):
                rows.append(
                    [task.titles[label], kind, str(size), *(_measure_cell(runs, (kind, size), measure) for measure in MEASURES)]
                )
    columns = ["encoding", "shift", "by", *MEASURES.values()]
    caption = (
        "Means over seeds, on the evaluation set of the training length: share of predictions that changed, KL divergence, mean "
        "change of a logit and of an attention weight, and accuracies before and after the shift."
    )
    align = "ll" + "r" * (len(columns) - 2)
    return Table("position shift, all measures", columns, align, rows, caption=caption, folded=True, section=task.title)


def _measure_cell(runs: list[Shifts], shift: tuple[str, int], measure: str) -> str:
    value: Any = _mean(runs, shift, measure)
    if value is None:
        return MISSING
    return format_percent(value) if measure in SHARES else f"{value:.2g}"
