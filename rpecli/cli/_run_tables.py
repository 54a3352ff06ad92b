"""Tables of runs: one row per run, or per run and evaluated length."""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from textwrap import wrap
from typing import Any, NamedTuple

from rpecli.cli._select import warn_of
from rpecli.report.measures import Measure, Scoring, scoring_of
from rpecli.run.directory import Run, readable_runs
from rpecli.run.files import RunError
from rpecli.run.liveness import state
from rpecli.run.problems import Message
from rpecli.run.records import EvalLine
from rpecli.run.ways import evaluations_by_way, way_of
from rpecli.table import Table, duration, multiple, whole_percent
from rpecli.titles import display, display_trained

FACTORS = (1.0, 2.0, 8.0)  # of the training length at which a list of runs shows the accuracy
BROKEN_WIDTH, ONE_WIDTH = 16, 24  # of names in narrow terminals: of a task or an encoding, and of all that a run is


class Row(NamedTuple):
    """What a list of runs says of one."""

    name: str
    task: str
    encoding: str
    seed: str
    state: str
    numbers: list[str]
    time: str

    @property
    def digits(self) -> str:
        return self.name.rpartition("-")[2]

    def broken(self) -> list[str]:
        """Task, encoding and seed with names of several short lines."""
        return [*("\n".join(wrap(name, BROKEN_WIDTH, break_long_words=False)) for name in (self.task, self.encoding)), self.seed]

    def in_one(self) -> str:
        """Task, encoding, seed and digits in one cell of several short lines."""
        return "\n".join(wrap(f"{self.task}, {self.encoding}, seed {self.seed}, {self.digits}", ONE_WIDTH))


def runs_table(runs: Sequence[Run]) -> Table:
    """One row per run: what it is, its state, its last validation, its accuracy at some multiples of the training length."""
    runs, problems = readable_runs(run.path for run in runs)  # without one that went away in the meantime
    by_factor = [accuracy_by_factor(run, problems) for run in runs]
    factors = shown_factors(by_factor)
    task_title, encoding_title = cache(partial(display, "tasks")), cache(display_trained)  # each looks through the folders
    rows = []
    for run, accuracies in zip(runs, by_factor, strict=True):
        record = run.record
        what = task_title(record["task"]), encoding_title(record["encoding"], record["positions"]), str(record["seed"])
        shares = [_last_validation(run, problems).get("token_accuracy"), *map(accuracies.get, factors)]
        time = duration(record.get("seconds") or 0)
        rows.append(Row(run.name, *what, state(run, record), list(map(whole_percent, shares)), time))
    if problems:
        warn_of(problems, problems[0][0].parent)
    return _of_rows(rows, [multiple(factor) for factor in factors])


def _of_rows(rows: Sequence[Row], multiples: Sequence[str]) -> Table:
    """The table of a list of runs, with narrower ones: names are broken first, and the numbers go last."""
    accuracy, what = ["valid.", *multiples], ["task", "encoding", "seed"]
    align = "r" * len(accuracy)
    at = f", {', '.join(multiples)} at multiples of the training length" if multiples else ""
    caption = f"Per cent of tokens right: valid. in the last validation (training lengths){at}."
    narrowest = Table(
        "", [*what, "state", "run"], "llrll", [[*row[1:5], row.digits] for row in rows],
        caption="A wider terminal shows the accuracy too.",
    )  # fmt: skip
    in_one = Table(
        "", ["run", "state", *accuracy], f"ll{align}", [[row.in_one(), row.state, *row.numbers] for row in rows],
        caption=caption, narrow=narrowest,
    )  # fmt: skip
    columns, sides = [*what, "state", *accuracy, "run"], f"llrl{align}l"
    broken_rows = [[*row.broken(), row.state, *row.numbers, row.digits] for row in rows]
    broken = Table("", columns, sides, broken_rows, caption=caption, narrow=in_one)
    narrow_rows = [[*row[1:5], *row.numbers, row.digits] for row in rows]
    narrow = Table("", columns, sides, narrow_rows, caption=caption, narrow=broken)
    all_rows = [[*row[:5], *row.numbers, row.time] for row in rows]
    return Table("", ["run", *columns[:-1], "time"], f"l{sides[:-1]}r", all_rows, caption=caption, narrow=narrow)


def _last_validation(run: Run, problems: list[Message]) -> Mapping[str, Any]:
    """The latest line of metrics.jsonl, or the one whose weights the run kept.

    Nothing where a trained run lost it, so that an older one is not taken for it.
    """
    if lost := run.lost_validation:
        problems.append((run.path, f"{lost}: left out"))
        return {}
    record, line = run.record, run.last_metrics() or {}
    kept = record["checkpoint"]["step"] if "checkpoint" in record else line.get("step")
    if line.get("step") == kept:
        return line
    try:
        return next((one for one in run.metrics() if one["step"] == kept), {})
    except RunError as error:
        problems.append((run.path, str(error)))
        return {}


def accuracy_by_factor(run: Run, problems: list[Message]) -> dict[float, float]:
    """Token accuracy by multiple of the training length, as the run's recipe says; none, and a problem, from damaged lines."""
    if not (length := run.record.get("length")):
        return {}
    try:
        return {n / length: line["token_accuracy"] for n, line in evaluations_by_way(run).get("", {}).items()}
    except RunError as error:
        problems.append((run.path, str(error)))
        return {}


def shown_factors(by_factor: Sequence[Mapping[float, float]]) -> list[float]:
    """Those of FACTORS that some run has; without one beyond training, the first and the last that there is."""
    known = sorted({factor for values in by_factor for factor in values})
    beyond = [factor for factor in known if factor > 1]
    if not set(beyond) & set(FACTORS):
        return [factor for factor in known if factor == 1] + list(dict.fromkeys([*beyond[:1], *beyond[-1:]]))
    return [factor for factor in known if factor in FACTORS]


def evaluation_tables(evaluations: Mapping[Run, Mapping[int, EvalLine]]) -> list[Table]:
    """One table per measure of these lines of runs by length: one row per run, one column per length."""
    by_scoring: dict[Scoring, dict[Run, Mapping[int, EvalLine]]] = {}
    for run, lines in evaluations.items():
        by_scoring.setdefault(scoring_of(run.record), {})[run] = lines
    return [_evaluation_table(own, measure) for scoring, own in by_scoring.items() for measure in scoring.panels]


def _evaluation_table(evaluations: Mapping[Run, Mapping[int, EvalLine]], measure: Measure) -> Table:
    lengths = sorted({length for lines in evaluations.values() for length in lines})
    rows = []
    for run, lines in evaluations.items():
        way = next((way_of(line, run.config) for line in lines.values()), "")
        values: dict[int, Any] = {length: line[measure.key] for length, line in lines.items()}  # type: ignore[literal-required]
        rows.append([run.name + way, *(measure.exact(values[length]) if length in values else "" for length in lengths)])
    return Table(measure.name, ["run", *map(str, lengths)], "l" + "r" * len(lengths), rows)


def run_data(run: Run) -> dict[str, Any]:
    """All that is recorded of a run, for a program."""
    evaluations: list[EvalLine] = run.evaluations()
    cells = run.grid_evaluations()
    return run.record | {"config": run.config.to_keys(), "eval": evaluations} | ({"grid": cells} if cells else {})
