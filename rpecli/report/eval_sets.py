"""Which evaluations count: runs of one task and training length are compared on one evaluation set per length.

Of several sets the one that most runs have is chosen, runs with the encoding that they were trained with first. A run that lacks
it is left out at that length, with the command that measures it.
"""

import shlex
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rpecli.report import warnings
from rpecli.run.records import EvalLine
from rpecli.run.ways import source_of
from rpecli.table import plural

if TYPE_CHECKING:
    from rpecli.report.load import RunResults

Cell = tuple[str, str, int, int]  # task, data set, training length, length


def on_shared_sets(runs: "list[RunResults]") -> "tuple[list[RunResults], list[str]]":
    """The runs with the evaluations that count, and one message for all that are left out at the same lengths."""
    by_cell: dict[Cell, list[RunResults]] = defaultdict(list)
    for run in runs:
        for length in run.all_evaluations:
            by_cell[_cell(run, length)].append(run)
    chosen = {cell: shared_set(members, cell[-1]) for cell, members in by_cell.items()}
    counted = [replace(run, evaluations=_evaluations_on(run, chosen)) for run in runs]
    rows: dict[Path, int] = defaultdict(int)  # per directory: ways in which it was measured that count
    for run in counted:
        rows[run.path] += bool(run.evaluations)
    shown = [run for run in counted if run.evaluations or not run.is_variant or not rows[run.path]]
    return shown, _left_out(counted, chosen)


def _cell(run: "RunResults", length: int) -> Cell:
    return str(run.record["task"]), source_of(run.measured), run.config.length, length


def shared_set(runs: "list[RunResults]", length: int) -> EvalLine:
    """A line measured on the set of most runs; of equally many, of the most sequences and the latest."""
    holders: dict[str, list[tuple[RunResults, int, EvalLine]]] = defaultdict(list)
    for run in runs:
        ranks = {line["fingerprint"]: (rank, line) for rank, line in enumerate(run.all_evaluations[length])}
        for fingerprint, (rank, line) in ranks.items():
            holders[fingerprint].append((run, rank, line))

    def order(item: "tuple[str, list[tuple[RunResults, int, EvalLine]]]") -> tuple[int, int, int, int, int, str]:
        fingerprint, members = item
        own = sum(not run.is_variant for run, *_ in members)
        line = members[0][2]
        return own, len(members), sum(rank for _, rank, _ in members), line["n"], -line["eval_seed"], fingerprint

    _, members = max(holders.items(), key=order)
    return members[0][2]


def _evaluations_on(run: "RunResults", chosen: dict[Cell, EvalLine]) -> dict[int, EvalLine]:
    """By length, the last evaluation on the chosen set, where there is one."""
    evaluations: dict[int, EvalLine] = {}
    for length, lines in run.all_evaluations.items():
        for line in lines:
            if line["fingerprint"] == chosen[_cell(run, length)]["fingerprint"]:
                evaluations[length] = line
    return evaluations


def _left_out(runs: "list[RunResults]", chosen: dict[Cell, EvalLine]) -> list[str]:
    groups: dict[tuple[str, str, str, str], list[RunResults]] = defaultdict(list)
    for run in runs:
        lengths = [length for length in run.all_evaluations if length not in run.evaluations]
        for wanted in {_conditions(chosen[_cell(run, length)]): None for length in lengths}:
            at = [length for length in lengths if _conditions(chosen[_cell(run, length)]) == wanted]
            line = chosen[_cell(run, at[0])]
            own = _conditions(run.all_evaluations[at[0]][-1])
            groups[run.variant_flags, ",".join(map(str, at)), f"{own}; the others: {wanted}", _flags(line)].append(run)
    return [
        f"{plural(len(members), 'run')} measured at {lengths} on other sequences than the others of the task ({difference}), "
        f"left out there: rpe eval {warnings.paths_of(members)}{variant} --lengths {lengths}{flags}"
        for (variant, lengths, difference, flags), members in groups.items()
    ]


def _conditions(line: EvalLine) -> str:
    """`256 sequences of seed 0`: which set a line was measured on."""
    data = line.get("data")
    return f"{plural(line['n'], 'sequence')} of {data if data else 'seed ' + str(line['eval_seed'])}"


def _flags(line: EvalLine) -> str:
    return " --data FOLDER" if line.get("data") else f" --eval-seed {line['eval_seed']} --samples {line['n']}"


def flags_of(line: EvalLine, encoding: str | None, task: str | None) -> str:
    """The flags of `rpe eval` that measure a run in the way of a line that is not its own: encoding, positions, task."""
    swapped = f" --swap-encoding {shlex.quote(encoding)}" if encoding else ""
    swapped += f" --eval-loops {loops}" if (loops := line.get("loops")) else ""
    swapped += f" --eval-task {shlex.quote(task)}" if task else ""
    return swapped + (f" --eval-positions {line['positions']}" if line["positions"] in ("start", "randomized") else "")
