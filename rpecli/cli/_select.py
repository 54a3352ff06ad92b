"""The runs that a command is about: chosen by name, or made from a recipe."""

from pathlib import Path

from rpecli import catalog
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.config.load import RecipeSource
from rpecli.config.recipe import Recipe
from rpecli.run.directory import Run, find_runs
from rpecli.run.provenance import sources


def select(folder: Path, names: list[str] | None) -> list[Run]:
    """Runs by id, path or pattern; all of `folder` unless named. Damaged and foreign directories are warned of and left out."""
    runs, problems = find_runs(folder)
    if not names:
        for problem in problems:
            warn(problem)
        if not runs:
            stop(f"no runs under {folder}: rpe train --encoding rope makes some", FAILURE)
        return runs
    selected: list[Run] = []
    for name in names:
        matches = [run for run in runs if run.path.match(name)] or ([Run(Path(name))] if Path(name).is_dir() else [])
        if not matches:
            hint = catalog.nearest(name, [run.name for run in runs]) if runs else "there is none yet: rpe train makes some"
            stop(f"no run {name!r} under {folder}: {hint}", USAGE)
        selected += [run for run in matches if run.record]  # raises where a directory that was named is not a run
    return list(dict.fromkeys(selected))


def select_trained(folder: Path, names: list[str] | None) -> list[Run]:
    """The selected runs that are trained; the others are warned of."""
    runs = select(folder, names)
    trained = [run for run in runs if run.is_trained]
    for run in runs:
        if run not in trained:
            warn(f"{run.name} is not trained, so it is left out: rpe train {run.recipe_file}")
    if not trained:
        stop(f"no trained run under {folder}: rpe train --encoding rope", FAILURE)
    return trained


def create(recipe: Recipe, source: RecipeSource, folder: Path) -> list[Run]:
    """One directory per run; warns of trained runs whose task or encoding has changed since."""
    runs = []
    for config in recipe.configs():
        try:
            run = Run.create(config, folder, source.name)
        except OSError as error:
            stop(str(error), FAILURE)
        trained_with = run.record.get("sources")
        if run.is_trained and trained_with != sources(config):
            changed = "task" if trained_with and trained_with["tasks"] != sources(config)["tasks"] else "encoding"
            warn(f"{run.name}: the {changed}'s file has changed since; delete {run.path} to train anew")
        runs.append(run)
    return list(dict.fromkeys(runs))
