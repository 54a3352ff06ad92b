"""Reads run directories: the evaluations of each run that can be compared with the others, and a warning for all that cannot.

Which of several evaluations of a length counts is decided in eval_sets.py.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from rpecli.catalog import GROUPS
from rpecli.choice import ChoiceError, canonical, map_data, paths_in
from rpecli.config.recipe import Config, label
from rpecli.report import eval_sets, stats, warnings
from rpecli.report.measures import BY_RESCALED, Scoring, scoring_of
from rpecli.run import liveness
from rpecli.run.directory import Run, Status, group_of, of_current_weights
from rpecli.run.files import RunError
from rpecli.run.problems import folded
from rpecli.run.records import EvalLine
from rpecli.run.ways import tested_with, way_of

LABEL_KEYS = ("format", "task", "encoding", "positions", "seed", "length")  # recipe keys that tables show in their own columns
MARK = " in "  # between the name of own data and what tells it from other data of that name
YOURS = "yours"  # the source of a run that a run directory holds
Keep = Callable[[Run, EvalLine], bool]


class ReportError(ValueError):
    """There is nothing to report, or no place to write it; the message says what to type."""


class NothingMatchesError(ReportError):
    """A name, or a length, that nothing in the runs or reports matches."""


class Validation(NamedTuple):
    """What a report needs of a line of metrics.jsonl: a tenth of the memory."""

    step: int
    tokens: int
    token_accuracy: float


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
    variant_flags: str = ""  # of `rpe eval`, that measured it with another encoding, or at other positions
    grid: dict[tuple[int, int], EvalLine] = field(default_factory=dict)  # by two sizes: the latest evaluation

    @cached_property  # asked for once a table by every comparison
    def is_variant(self) -> bool:
        """Whether it was measured with another encoding, at other positions or on other data than it was trained with."""
        return bool(self.measured) or self.other_task

    @property
    def other_task(self) -> bool:
        """Whether it was measured on its task with other options: among the results of that task."""
        return _unmarked(str(self.record["task"])) != _unmarked(label(self.config.task))

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
    def state(self) -> str:
        """Its status, or that the process that trained it has ended without a word."""
        return str(self.record["status"]) if self.is_reference else liveness.state(Run(self.path), self.record)

    @property
    def trained(self) -> bool:
        return bool(self.record["status"] == Status.TRAINED)

    @property
    def failed(self) -> bool:
        return bool(self.record["status"] == Status.FAILED)

    @property
    def scoring(self) -> Scoring:
        return scoring_of(self.record)

    @cached_property  # asked for by every comparison
    def scored(self) -> frozenset[int]:
        """The evaluated lengths at which the deciding measure is a number: nats per token may not be."""
        return frozenset(self.by_length(self.scoring.decides.key))

    def effective_length(self, half: bool = False) -> int:
        """The longest length that still counts, or counts by half, as its scoring says; 0 where none does."""
        scoring = self.scoring
        undefined = {length: 0.0 for length in self.evaluations.keys() - self.scored if length > self.config.length}
        quality = {**scoring.quality(self.by_length(scoring.decides.key), self.config.length), **undefined}
        return stats.effective_length(quality, scoring.effective[half])

    def by_length(self, measure: str) -> dict[int, float]:
        """`{length: value}` of one measure, at the lengths that have it. Rescaled accuracy is undefined where chance is 1."""
        if measure not in self._values:
            values = {length: measure_of(line, measure) for length, line in self.evaluations.items()}
            self._values[measure] = {length: value for length, value in values.items() if value is not None}
        return self._values[measure]

    @cached_property
    def _values(self) -> dict[str, dict[int, float]]:
        """What `by_length` gave before, by measure: tables and figures ask for the same ones."""
        return {}

    @cached_property  # read by the tables and by the figures
    def _validations(self) -> tuple[list[Validation], str | None]:
        lines, problem = _lines_or_problem(Run(self.path).metrics) if self.trained and not self.is_reference else ([], None)
        return [Validation(line["step"], line["tokens"], line["token_accuracy"]) for line in lines], problem

    @cached_property  # read for inspections, similarities and shifts
    def _probes(self) -> tuple[list[Any], str | None]:
        lines, problem = ([], None) if self.is_reference else _lines_or_problem(Run(self.path).probes)
        return list(map(_without_pictures, lines)), problem

    def pictured_probes(self) -> list[Any]:
        """`probes` with what is drawn of single heads too; read again, because it is most of such a file."""
        return _lines_or_problem(Run(self.path).probes)[0]

    @property
    def validations(self) -> list[Validation]:
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

    @cached_property  # asked for by every table and every sentence
    def solved(self) -> bool | None:
        """Whether the run learned its training length; a failed run did not; None where it was not evaluated there."""
        values = self.by_length(self.scoring.learned_by)
        return False if self.failed else stats.solved(values, self.config.length, self.scoring.learned_from)


def _lines_or_problem(read: Callable[[], list[Any]]) -> tuple[list[Any], str | None]:
    """The lines of a file that a report can do without, or why there are none."""
    try:
        return read(), None
    except RunError as error:
        return [], str(error)


def _without_pictures(line: Any) -> Any:
    """A line of probes.jsonl in a fifth of the memory: without its map, and the weights by distance of the last layer alone."""
    if "attention_map" in line:
        line["attention_map"] = None
    for *layers, last in (at["layers"] for at in line.get("lengths", [])):
        for head in (head for layer in layers for head in layer):
            head["by_distance"] = []
        for head in last:
            head["by_distance"] = array("d", head["by_distance"])
    return line


def measure_of(line: EvalLine, measure: str) -> float | None:
    """One measure of an evaluation; None where it is missing or undefined."""
    scoring = BY_RESCALED.get(measure)
    values = cast("dict[str, Any]", line)
    if scoring is None:
        return values.get(measure)
    value, chance = values.get(scoring.shown.key), values.get(scoring.chance)
    if value is None or chance is None:
        return None
    return scoring.above_guess(scoring.shown.sign * value, scoring.guess_score(chance))


@dataclass(frozen=True)
class LoadedRuns:
    """The runs of a report, sorted by id, and one warning for all that is missing or wrong with them."""

    runs: list[RunResults]
    warnings: list[str]


def load_runs(paths: Iterable[Path], keep: Keep = lambda _run, _line: True) -> LoadedRuns:
    """The runs in these directories, with the evaluations to `keep`. Raises ReportError where no run is evaluated."""
    unique = distinct(paths)
    if not unique:
        raise ReportError("no runs to report: name run directories, or train some first: rpe train")
    runs, messages = _read_all(unique, keep)
    runs = _apart_by_data(runs)
    runs, duplicates = _without_duplicates(runs)
    runs, left_out = eval_sets.on_shared_sets(runs)
    messages += duplicates + left_out
    trained = one_per_directory(runs)
    messages += folded((run.path, problem) for run in trained for problem in run.side_problems)
    messages += warnings.incomplete(trained) + warnings.chosen_beyond(trained) + warnings.ends_of_search(trained)
    if not any(run.evaluations for run in runs):
        raise ReportError("\n".join(["no run is evaluated, so there is nothing to report:", *messages]))
    return LoadedRuns(runs, messages + warnings.different_code(runs))


def distinct(paths: Iterable[Path]) -> list[Path]:
    """Every directory once, in the order in which runs count: of copies of a run, the first that is evaluated does."""
    return sorted({path.resolve(): path for path in paths}.values(), key=_near)


def _near(path: Path) -> Path:
    """The path relative to the working folder, where it lies inside: a report is for others too."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


def one_per_directory(runs: Iterable[RunResults]) -> list[RunResults]:
    """The runs, one that was measured in several ways once: as it was trained, where it was measured so."""
    unique: dict[Path, RunResults] = {}
    for run in runs:
        if run.path not in unique or (unique[run.path].is_variant and not run.is_variant):
            unique[run.path] = run
    return list(unique.values())


def _read_all(paths: list[Path], keep: Keep) -> tuple[list[RunResults], list[str]]:
    runs = list[RunResults]()
    messages = list[tuple[Path, str]]()
    for path in paths:
        try:
            variants, problems = _read(Run(_near(path)), partial(keep, Run(path)))
            runs += variants
            messages += [(_near(path), problem) for problem in problems]
        except (RunError, ChoiceError, OSError) as error:
            messages.append((_near(path), f"{error} (left out)"))
    return _sorted(runs), folded(messages)


def _sorted(runs: Iterable[RunResults]) -> list[RunResults]:
    return sorted(runs, key=lambda run: (run.id, run.path))


def _read(run: Run, keep: Callable[[EvalLine], bool]) -> tuple[list[RunResults], list[str]]:
    """A run, and one more for each other encoding or position mode that it was evaluated with; and what is wrong."""
    record, config = run.record, run.config
    every_line = [line for line in run.all_evaluations() if keep(line)]
    lines, on_grid = ([line for line in every_line if ("grid" in line) is wanted] for wanted in (False, True))
    if record.get("group") not in GROUPS:
        raise RunError(f"{run}: unknown group {record.get('group')!r} of its encoding: the groups are {', '.join(GROUPS)}")
    messages = []
    if lines and record["status"] != Status.TRAINED:
        messages.append(f"{run}: {record['status']}, so its evaluations are of unfinished weights and left out")
        lines = []
    current = of_current_weights(record, lines)
    outdated = sorted({line["length"] for line in lines} - {line["length"] for line in current})
    if outdated:
        lengths = ", ".join(map(str, outdated))
        messages.append(f"{run}: evaluated at {lengths} with older weights only, left out: rpe eval {run}")
    ways = list(dict.fromkeys((way_of(line, config), line.get("encoding_override")) for line in current)) or [("", None)]
    results = []
    for way, override in ways:
        lines = [line for line in current if way_of(line, config) == way]
        cells = [line for line in on_grid if way_of(line, config) == way]
        try:
            swapped = canonical(override, run.path) if override else None
            group = {"group": group_of(swapped)} if swapped else {}
        except ChoiceError as error:
            messages.append(f"{run}: its evaluations with encoding {override} are left out: {error}")
            continue
        named = lines[0].get("task_override") if lines else None
        task = canonical(named, run.path) if named else None
        words = way.replace(tested_with(lines[0]), "") if task else way
        own = record | group | {"encoding": record["encoding"] + words} | ({"task": label(task)} if task else {})
        settings = _settings(record, config) | ({"measured": words} if words else {})
        flags = eval_sets.flags_of(lines[-1], swapped, task) if way else ""
        grid = _by_sizes(lines, cells)
        results.append(RunResults(run.path, own, config, {}, _by_length(lines), settings, variant_flags=flags, grid=grid))
    return results, messages


def _by_length(lines: list[EvalLine]) -> dict[int, list[EvalLine]]:
    """The evaluations of each length, the one on the most sequences last, the later one of equals after the earlier."""
    by_length: dict[int, list[EvalLine]] = defaultdict(list)
    for line in lines:
        by_length[line["length"]].append(line)
    return {length: sorted(by_length[length], key=lambda line: line["n"]) for length in sorted(by_length)}


def _by_sizes(lines: list[EvalLine], cells: list[EvalLine]) -> dict[tuple[int, int], EvalLine]:
    """The latest evaluation of each cell with the weights that the lengths were evaluated with."""
    weights = {line["weights"] for line in lines}
    return {(sizes[0], sizes[1]): line for line in cells if line["weights"] in weights for sizes in [line["grid"]["sizes"]]}


def _settings(record: dict[str, Any], config: Config) -> dict[str, Any]:
    """The recipe keys that decide the weights: runs that differ here are never averaged."""
    names = {"task": label(config.task), "encoding": label(config.encoding)}  # the user's own files may be gone
    identity = config.model_copy(update=names).identity
    settings = {key: value for key, value in identity.items() if key not in LABEL_KEYS}
    if paths_in(config.encoding):
        settings["file"] = record.get("sources", {}).get("encodings")  # two files of one name are two encodings
    if paths_in(config.task):
        settings["task_file"] = record.get("sources", {}).get("tasks")
    return settings


def _apart_by_data(runs: list[RunResults]) -> list[RunResults]:
    """Own data of one name but other content are other tasks: `mine.jsonl in one`; in one folder, `in version 898c3d3a`."""
    contents: dict[str, dict[str, str]] = defaultdict(dict)  # by task: the folder of each content
    for run in runs:
        if data := run.record.get("data"):
            contents[run.record["task"]].setdefault(" ".join(data.values()), Path(next(iter(data))).parent.name)
    return [_marked(run, contents.get(run.record["task"], {})) for run in runs]


def _marked(run: RunResults, folders: dict[str, str]) -> RunResults:
    content = " ".join(run.record.get("data", {}).values())
    if len(folders) < 2 or content not in folders:
        return run
    alone = [*folders.values()].count(folders[content]) == 1
    mark = MARK + (folders[content] if alone else f"version {content}")
    return replace(run, record=run.record | {"task": map_data(run.record["task"], lambda name: name + mark)})


def _unmarked(task: str) -> str:
    return map_data(task, lambda name: name.partition(MARK)[0])


def _without_duplicates(runs: list[RunResults]) -> tuple[list[RunResults], list[str]]:
    """Copies of one run (same recipe, same seed) count once: a copy is not a second seed."""
    unique: dict[str, RunResults] = {}
    messages = []
    for run in sorted(runs, key=lambda run: not run.all_evaluations):
        config = run.config
        key = f"{run.record['task']} {config.task} {config.encoding} {config.positions} {config.seed} {config.length} "
        key += str(run.settings)
        if key in unique:
            messages.append(f"{run.path} and {unique[key].path} are the same run (recipe and seed): only the second counts")
        unique.setdefault(key, run)
    return _sorted(unique.values()), messages
