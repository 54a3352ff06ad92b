"""Reads run directories: the evaluations of each run that can be compared with the others, and a warning for all that cannot.

Runs of one task are compared on one evaluation set per length. Where runs have several, the set that all of them share is chosen;
where they share none, the report is refused.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from rpecli.catalog import GROUPS
from rpecli.choice import ChoiceError, canonical, paths_in
from rpecli.config.recipe import Config
from rpecli.evaluate.scores import rescaled_accuracy
from rpecli.report import stats, warnings
from rpecli.run.directory import Run, Status, group_of
from rpecli.run.files import RunError
from rpecli.run.records import EvalLine
from rpecli.run.ways import source_of, way_of

LABEL_KEYS = ("format", "task", "encoding", "positions", "seed", "length")  # recipe keys that tables show in their own columns
YOURS = "yours"  # the source of a run that a run directory holds
Keep = Callable[[Run, EvalLine], bool]


class ReportError(ValueError):
    """There is nothing to report, or the runs must not be compared; the message says what to type."""


@dataclass(frozen=True)
class RunResults:
    """One run as a report uses it; a run evaluated with another encoding, or at other positions, is one more of these."""

    path: Path
    record: dict[str, Any]
    config: Config
    evaluations: dict[int, EvalLine]  # by length: the one that counts
    all_evaluations: dict[int, list[EvalLine]]  # by length: the one on the most sequences last
    settings: dict[str, Any]  # recipe keys that decide the weights and have no column of their own
    source: str = YOURS  # or `reference (commit, machine)`

    @property
    def id(self) -> str:
        return str(self.record.get("id", self.path.name))

    @property
    def measured(self) -> str:
        """What its label says of how it was measured, as `way_of` does."""
        return str(self.settings.get("measured", ""))

    @property
    def is_reference(self) -> bool:
        """Whether it ships with rpe, so that there is no run directory."""
        return self.source != YOURS

    @property
    def trained(self) -> bool:
        return bool(self.record["status"] == Status.TRAINED)

    @property
    def failed(self) -> bool:
        return bool(self.record["status"] == Status.FAILED)

    def by_length(self, measure: str) -> dict[int, float]:
        """`{length: value}` of one measure, at the lengths that have it. Rescaled accuracy is undefined where chance is 1."""
        values = {length: measure_of(line, measure) for length, line in self.evaluations.items()}
        return {length: value for length, value in values.items() if value is not None}

    @cached_property  # read by the tables and by the figures
    def _validations(self) -> tuple[list[Any], str | None]:
        return _lines_or_problem(Run(self.path).metrics) if self.trained and not self.is_reference else ([], None)

    @cached_property  # read for inspections, similarities and shifts
    def _probes(self) -> tuple[list[Any], str | None]:
        return ([], None) if self.is_reference else _lines_or_problem(Run(self.path).probes)

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The validations of a trained run, oldest first; none for a run without metrics.jsonl, or with a damaged one."""
        return self._validations[0]

    @property
    def probes(self) -> list[dict[str, Any]]:
        """The lines of probes.jsonl, oldest first; none for a run without that file, or with a damaged one."""
        return self._probes[0]

    @property
    def side_problems(self) -> list[str]:
        """What is wrong with the files that only a learning curve or a probe needs."""
        problems = {"learning curve": self._validations[1], "probes": self._probes[1]}
        return [f"{problem} (its {what} left out)" for what, problem in problems.items() if problem]

    @property
    def solved(self) -> bool | None:
        """Whether the run learned its training length; a failed run did not; None where it was not evaluated there."""
        return False if self.failed else stats.solved(self.by_length("exact_match"), self.config.length)


def _lines_or_problem(read: Callable[[], list[Any]]) -> tuple[list[Any], str | None]:
    """The lines of a file that a report can do without, or why there are none."""
    try:
        return read(), None
    except RunError as error:
        return [], str(error)


def measure_of(line: EvalLine, measure: str) -> float | None:
    """One measure of an evaluation; None where it is missing or undefined."""
    if measure != "rescaled_accuracy":
        return cast("dict[str, Any]", line).get(measure)
    chance = line.get("chance")
    return None if chance is None else rescaled_accuracy(line["token_accuracy"], chance)


@dataclass(frozen=True)
class LoadedRuns:
    """The runs of a report, sorted by id, and one warning for all that is missing or wrong with them."""

    runs: list[RunResults]
    warnings: list[str]


def load_runs(paths: Iterable[Path], keep: Keep = lambda _run, _line: True) -> LoadedRuns:
    """The runs in these directories, with the evaluations to `keep`.

    Raises ReportError where no run is evaluated, or where runs cannot be compared.
    """
    unique = sorted({path.resolve(): path for path in paths}.values())
    if not unique:
        raise ReportError("no runs to report: name run directories, or train some first: rpe train")
    runs, messages = _read_all(unique, keep)
    runs, duplicates = _without_duplicates(runs)
    runs = _on_shared_sets(runs)
    messages += duplicates + [problem for run in _one_per_directory(runs) for problem in run.side_problems]
    messages += warnings.incomplete(runs)
    if not any(run.evaluations for run in runs):
        raise ReportError("\n".join(["no run is evaluated, so there is nothing to report:", *messages]))
    return LoadedRuns(runs, messages + warnings.different_code(runs))


def _one_per_directory(runs: list[RunResults]) -> Iterable[RunResults]:
    """The runs, one that was measured in several ways once."""
    return {run.path: run for run in runs}.values()


def _read_all(paths: list[Path], keep: Keep) -> tuple[list[RunResults], list[str]]:
    runs, messages = [], []
    for path in paths:
        try:
            variants, problems = _read(Run(path), keep)
            runs += variants
            messages += problems
        except (RunError, ChoiceError) as error:
            messages.append(f"{error} (left out)")
    return _sorted(runs), messages


def _sorted(runs: Iterable[RunResults]) -> list[RunResults]:
    return sorted(runs, key=lambda run: (run.id, str(run.path)))


def _read(run: Run, keep: Keep) -> tuple[list[RunResults], list[str]]:
    """A run, and one more for each other encoding or position mode that it was evaluated with; and what is wrong."""
    record, config = run.record, run.config
    lines = [line for line in run.evaluations() if keep(run, line)]
    if record.get("group") not in GROUPS:
        raise RunError(f"{run}: unknown group {record.get('group')!r} of its encoding: the groups are {', '.join(GROUPS)}")
    messages = []
    if lines and record["status"] != Status.TRAINED:
        messages.append(f"{run}: {record['status']}, so its evaluations are of unfinished weights and left out")
        lines = []
    current = [line for line in lines if line["weights"] == lines[-1]["weights"]]
    outdated = sorted({line["length"] for line in lines} - {line["length"] for line in current})
    if outdated:
        lengths = ", ".join(map(str, outdated))
        messages.append(f"{run}: evaluated at {lengths} with older weights only, left out: rpe eval {run}")
    ways = [(way_of(line, config), line.get("encoding_override")) for line in current]
    variants = list(dict.fromkeys(ways)) or [("", None)]
    results = []
    for suffix, override in variants:
        evaluations = _by_length([line for line in current if way_of(line, config) == suffix])
        group = {"group": group_of(canonical(override, run.path))} if override else {}
        own = record | group | {"encoding": record["encoding"] + suffix}
        settings = _settings(record, config) | ({"measured": suffix} if suffix else {})
        results.append(RunResults(run.path, own, config, {}, evaluations, settings))
    return results, messages


def _by_length(lines: list[EvalLine]) -> dict[int, list[EvalLine]]:
    """The evaluations of each length, the one on the most sequences last, the later one of equals after the earlier."""
    by_length: dict[int, list[EvalLine]] = defaultdict(list)
    for line in lines:
        by_length[line["length"]].append(line)
    return {length: sorted(by_length[length], key=lambda line: line["n"]) for length in sorted(by_length)}


def _settings(record: dict[str, Any], config: Config) -> dict[str, Any]:
    """The recipe keys that decide the weights: runs that differ here are never averaged."""
    settings = {key: value for key, value in config.identity.items() if key not in LABEL_KEYS}
    if paths_in(config.encoding):
        settings["file"] = record.get("sources", {}).get("encodings")  # two files of one name are two encodings
    if paths_in(config.task):
        settings["task_file"] = record.get("sources", {}).get("tasks")
    return settings


def _without_duplicates(runs: list[RunResults]) -> tuple[list[RunResults], list[str]]:
    """Copies of one run (same recipe, same seed) count once: a copy is not a second seed."""
    unique: dict[str, RunResults] = {}
    messages = []
    for run in sorted(runs, key=lambda run: not run.all_evaluations):
        config = run.config
        key = f"{config.task} {config.encoding} {config.positions} {config.seed} {config.length} {run.settings}"
        if key in unique:
            messages.append(f"{run.path} and {unique[key].path} are the same run (recipe and seed): only the second counts")
        unique.setdefault(key, run)
    return _sorted(unique.values()), messages


def _on_shared_sets(runs: list[RunResults]) -> list[RunResults]:
    """Picks the evaluations that count. Raises ReportError where runs of one task share no evaluation set at a length.

    Runs measured on a data set of other sequences than the drawn ones are compared with each other alone.
    """
    by_cell: dict[tuple[str, str, int], list[RunResults]] = defaultdict(list)
    for run in runs:
        for length in run.all_evaluations:
            by_cell[str(run.record["task"]), source_of(run.measured), length].append(run)
    chosen = {cell: _shared_set(cell[0], cell[2], members) for cell, members in sorted(by_cell.items())}
    return [replace(run, evaluations=_evaluations_on(run, chosen)) for run in runs]


def _shared_set(task: str, length: int, runs: list[RunResults]) -> str | None:
    """The fingerprint of the evaluation set that all these runs share: the one of the most sequences, then the latest."""
    ranks = [{line.get("fingerprint"): rank for rank, line in enumerate(run.all_evaluations[length])} for run in runs]
    shared = set.intersection(*map(set, ranks))
    if not shared:
        raise ReportError(_different_sets(task, length, runs))
    return max(shared, key=lambda fingerprint: (sum(rank[fingerprint] for rank in ranks), str(fingerprint)))


def _evaluations_on(run: RunResults, chosen: dict[tuple[str, str, int], str | None]) -> dict[int, EvalLine]:
    """By length, the last evaluation on the chosen set."""
    evaluations = {}
    for length, lines in run.all_evaluations.items():
        fingerprint = chosen[str(run.record["task"]), source_of(run.measured), length]
        evaluations[length] = [line for line in lines if line.get("fingerprint") == fingerprint][-1]
    return evaluations


def _different_sets(task: str, length: int, runs: list[RunResults]) -> str:
    sets: dict[str, list[RunResults]] = defaultdict(list)
    for run in runs:
        for line in run.all_evaluations[length]:
            sets[f"{line.get('fingerprint')} (n={line['n']}, eval_seed={line.get('eval_seed')})"].append(run)
    message = [f"{task} at length {length} was evaluated on different sets, which cannot be compared:"]
    by_size = sorted(sets.items(), key=lambda item: (-len(item[1]), item[0]))
    message += [f"  set {name}: {warnings.paths_of(members)}" for name, members in by_size]
    where = " ".join(str(run.path) for run in runs) if len(runs) <= warnings.MAX_PATHS else "RUNS"
    return "\n".join([*message, f"evaluate them all on one set: rpe eval {where} --overwrite"])
