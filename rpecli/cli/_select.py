"""The runs that a command is about: chosen by name, or made from a recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rpecli import catalog
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.config.load import RecipeSource
from rpecli.config.recipe import Config, Recipe


def select(runs: Path, names: list[str] | None) -> list[Path]:
    """Run directories by id, path or pattern; all of `runs` unless named. Damaged and foreign ones are said, not used."""
    from rpecli.run import directory as run

    found, trouble = run.listing(runs)
    if not names:
        for text in trouble:
            warn(text)
        if not found:
            stop(f"no runs under {runs}: rpe train --encoding rope makes some", FAILURE)
        return found
    chosen: list[Path] = []
    for name in names:
        matches = [path for path in found if path.match(name)] or ([Path(name)] if Path(name).is_dir() else [])
        if not matches:
            hint = catalog.nearest(name, [path.name for path in found]) if found else "there is none yet: rpe train makes some"
            stop(f"no run {name!r} under {runs}: {hint}", USAGE)
        chosen += [path for path in matches if record(path)]
    return list(dict.fromkeys(chosen))


def select_trained(runs: Path, names: list[str] | None) -> list[Path]:
    """The selected runs that are trained; the others are said."""
    paths = select(runs, names)
    ready = [path for path in paths if is_trained(path)]
    for path in paths:
        if path not in ready:
            warn(f"{path.name} is not trained, so it is left out: rpe train {path / 'recipe.yaml'}")
    if not ready:
        stop(f"no trained run under {runs}: rpe train --encoding rope", FAILURE)
    return ready


def create(made: Recipe, source: RecipeSource, runs: Path) -> list[Path]:
    """A directory a run; says which of the finished ones were trained by other code of the task or encoding."""
    from rpecli.run import directory as run
    from rpecli.run import provenance as run_provenance

    paths = []
    for each in made.configs():
        path = _or_stop(run.create, each, runs, source.name)
        old = record(path).get("sources")
        if is_trained(path) and old != run_provenance.sources(each):
            changed = "task" if old and old["tasks"] != run_provenance.sources(each)["tasks"] else "encoding"
            warn(f"{path.name}: the {changed}'s file has changed since; delete {path} to train anew")
        paths.append(path)
    return list(dict.fromkeys(paths))


def record(path: Path) -> dict[str, Any]:
    """What its run.json says."""
    from rpecli.run import directory as run

    return _or_stop(run.read, path)


def config_of(path: Path) -> Config:
    """What its recipe.yaml says."""
    from rpecli.run import directory as run

    return _or_stop(run.config_of, path)


def is_trained(path: Path) -> bool:
    return record(path)["status"] == "trained" and (path / "weights.safetensors").exists()


def _or_stop(function: Callable[..., Any], *arguments: Any) -> Any:
    from rpecli.run.files import RunError

    try:
        return function(*arguments)
    except (RunError, OSError) as error:
        stop(str(error), FAILURE)
