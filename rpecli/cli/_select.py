"""The runs that a command works on: selected by name, or created from a recipe."""

from pathlib import Path

from rpecli import catalog
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.config.load import RecipeSource
from rpecli.config.recipe import Recipe
from rpecli.run.directory import Run, find_runs
from rpecli.run.provenance import sources


def select_runs(folder: Path, names: list[str] | None) -> list[Run]:
    """Runs by id, path or pattern; without names, all runs of `folder`.

    Warns of directories of `folder` that are damaged, of an older format or not runs, and leaves them out. A directory that
    was named raises RunError instead.
    """
    runs, problems = find_runs(folder)
    if not names:
        for problem in problems:
            warn(problem)
        if not runs:
            stop(f"no runs under {folder}: create some with rpe train --encoding rope", FAILURE)
        return runs
    selected: list[Run] = []
    for name in names:
        matches = [run for run in runs if run.path.match(name)] or ([Run(Path(name))] if Path(name).is_dir() else [])
        if not matches:
            hint = catalog.nearest(name, [run.name for run in runs]) if runs else "there are none yet: rpe train creates some"
            stop(f"no run {name!r} under {folder}: {hint}", USAGE)
        selected += [run for run in matches if run.record]  # raises where a directory is not a run
    return list(dict.fromkeys(selected))


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
