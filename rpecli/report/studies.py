"""One side of `rpe report --compare`: a report (its report.json is enough), a folder of runs, runs by pattern, or a recipe."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rpecli import catalog
from rpecli.choice import is_path
from rpecli.config import load as config_load
from rpecli.config.recipe import Config
from rpecli.config.yaml_source import RecipeError
from rpecli.report.aggregate import TaskResults, aggregate
from rpecli.report.load import NothingMatchesError, ReportError, RunResults, load_runs, one_per_directory
from rpecli.report.records import FORMAT
from rpecli.report.report_data import RunRecord
from rpecli.run.directory import Run, find_runs
from rpecli.run.files import RunError
from rpecli.run.lr_search import choices
from rpecli.table import plural

REPORT = "report.json"


@dataclass(frozen=True)
class Study:
    """The runs of one side, and what they are."""

    name: str  # as on the command line
    description: str
    runs: list[RunResults]
    tasks: list[TaskResults]
    warnings: list[str]


def load_study(name: str, runs: Path, out: Path) -> Study:
    """The study of this name. Raises ReportError; NothingMatchesError, with what there is, for a name of none."""
    path = Path(name)
    for file in (path, path / REPORT, out / name / REPORT):
        if file.is_file() and file.name == REPORT:
            return _from_report(name, file)
    if path.is_dir():
        paths = [path] if Run(path).record_file.is_file() else _run_paths(path)
        if not paths:
            raise NothingMatchesError(
                f"{name}: contains neither a report.json nor runs: name a report, a folder of runs or a recipe"
            )
        return _from_runs(name, f"{plural(len(paths), 'run')} in {path}", paths)
    known_paths = _run_paths(runs)
    matches = [path for path in known_paths if path.match(name)]
    if matches:
        return _from_runs(name, f"{plural(len(matches), 'run')} under {runs}", matches)
    if is_path(name) or name in catalog.names("recipes"):
        return _from_recipe(name, runs, known_paths)
    reports = sorted(file.parent.name for file in out.glob(f"*/{REPORT}"))
    hint = catalog.nearest(name, [*reports, *catalog.names("recipes"), *(path.name for path in known_paths)])
    raise NothingMatchesError(f"{name!r} is not a report in {out}, a folder, a run in {runs} or a recipe: {hint}")


def _run_paths(folder: Path) -> list[Path]:
    return [run.path for run in find_runs(folder)[0]]


def _from_recipe(name: str, runs: Path, paths: list[Path]) -> Study:
    try:
        ids = {config.id for config in choices(config_load.load(name)[0], runs).configs}
    except RecipeError as error:
        raise NothingMatchesError(str(error)) from None
    except RunError as error:
        raise ReportError(str(error)) from None
    members = [path for path in paths if path.name in ids]
    if not members:
        raise ReportError(f"no run of the recipe {name} under {runs}: rpe run {name}")
    return _from_runs(name, f"{len(members)} of {len(ids)} runs of the recipe {name} under {runs}", members)


def _from_runs(name: str, description: str, paths: list[Path]) -> Study:
    loaded = load_runs(paths)
    return Study(name, description, loaded.runs, aggregate(loaded.runs), loaded.warnings)


def _from_report(name: str, file: Path) -> Study:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        written = data.get("format")
    except (ValueError, AttributeError):
        raise ReportError(f"{file}: damaged, or not a report of rpe") from None
    remedy = f"make it again: {data.get('command') or 'rpe report RUNS'}"
    if written != FORMAT:
        raise ReportError(f"{file}: written by another version of rpe (report format {written}; this is {FORMAT}): {remedy}")
    try:
        records = TypeAdapter(list[RunRecord]).validate_python(data["runs"])
        runs = [_run_results(dict(record)) for record in records]
    except (ValidationError, ValueError, KeyError, TypeError):
        raise ReportError(f"{file}: damaged report: {remedy}") from None
    description = f"the report {file.parent} of {plural(len(one_per_directory(runs)), 'run')}"
    return Study(name, description, runs, aggregate(runs), data.get("warnings", []))


def _run_results(record: dict[str, Any]) -> RunResults:
    """A run as the report recorded it."""
    config, settings, lines = Config.from_keys(**record.pop("recipe")), record.pop("settings"), record.pop("evaluations")
    evaluations = {line["length"]: line for line in lines}
    every = {length: [line] for length, line in evaluations.items()}
    return RunResults(Path(record.pop("path")), record, config, evaluations, every, settings)
