"""The runs that a command works on: selected by name, or created from a recipe."""

from pathlib import Path

from rpecli import catalog
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.config.load import RecipeSource
from rpecli.config.recipe import Recipe
from rpecli.run.directory import Run, find_runs
from rpecli.run.files import RunError
from rpecli.run.provenance import sources


def select_runs(folder: Path, names: list[str] | None) -> list[Run]:
    """Runs by id, path or pattern; without names, all runs of `folder`.

    Directories that are damaged, of another format or not runs are left out with a warning each. Where a name stands for
    nothing else, they are an error.
    """
    if not names:
        runs, problems = find_runs(folder)
        for problem in problems:
            warn(problem)
        if not runs:
            stop(f"no runs under {folder}: create some with rpe train --encoding rope", FAILURE)
        return runs
    return list(dict.fromkeys(run for name in names for run in _usable_runs(find_directories(folder, name))))


def find_directories(folder: Path, name: str) -> list[Path]:
    """The directories of an id, path or pattern; stops where there is none."""
    paths = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    matches = [path for path in paths if path.match(name)] or [path for path in [Path(name)] if path.is_dir()]
    if not matches:
        hint = catalog.nearest(name, [path.name for path in paths]) if paths else "there are none yet: rpe train creates some"
        stop(f"no run {name!r} under {folder}: {hint}", USAGE)
    return matches


def _usable_runs(directories: list[Path]) -> list[Run]:
    runs, problems = [], []
    for run in map(Run, directories):
        try:
            run.record  # noqa: B018 - raises where the directory is not a run
            runs.append(run)
        except RunError as error:
            problems.append(str(error))
    if not runs:
        stop("\n".join(problems), FAILURE)
    for problem in problems:
        warn(problem)
    return runs


def select_trained_runs(folder: Path, names: list[str] | None) -> list[Run]:
    """The selected runs that are trained; warns of the others."""
    runs = select_runs(folder, names)
    trained = [run for run in runs if run.is_trained]
    for run in runs:
        if run not in trained:
            warn(f"{run.name} is not trained and is left out: rpe train {run.recipe_file}")
    if not trained:
        stop(f"no trained run under {folder}: rpe train --encoding rope", FAILURE)
    return trained


def create_runs(recipe: Recipe, source: RecipeSource, folder: Path) -> list[Run]:
    """One run per config of a recipe; warns of trained runs whose task's or encoding's file has changed since."""
    runs = []
    for config in recipe.configs():
        try:
            run = Run.create(config, folder, source.name)
        except OSError as error:
            stop(str(error), FAILURE)
        recorded, current = run.record.get("sources"), sources(config)
        if run.is_trained and recorded != current:
            changed = "task" if recorded and recorded["tasks"] != current["tasks"] else "encoding"
            warn(f"{run.name}: the file of its {changed} has changed since; delete {run.path} to train again")
        runs.append(run)
    return list(dict.fromkeys(runs))
