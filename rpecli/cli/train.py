"""`rpe train`, `rpe eval` and `rpe run`: the commands that start jobs."""

from pathlib import Path

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._execute import execute, most_together, together
from rpecli.cli._inputs import asked_recipe
from rpecli.cli._output import _say_next, print_runs
from rpecli.cli._select import create, is_trained
from rpecli.launch.job import Job


@flags.takes_recipe_keys()
def train(
    given: dict[str, str],
    recipe: flags.MaybeRecipeName = None,
    sets: flags.Sets = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    stack: flags.Stack = "auto",
    device: flags.Device = "auto",
) -> None:
    """Train: every task x encoding x positions x seed is a run. Defaults < recipe < flags; every key but by_task is a flag."""
    made, source = asked_recipe(recipe, given, sets)
    most = most_together(stack, device)
    paths = create(made, source, runs)
    todo = [Job(path, train=True, device=device) for path in paths if not is_trained(path)]
    if len(todo) < len(paths):
        typer.echo(f"{len(paths) - len(todo)} of {len(paths)} runs are trained already.")
    execute(together(todo, most), jobs)
    print_runs(paths)
    _say_next("rpe eval --lengths 512:4096", runs)
