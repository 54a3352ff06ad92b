"""`rpe train`, `rpe eval` and `rpe run`: the commands that start jobs."""

from pathlib import Path

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._execute import execute, most_together, together
from rpecli.cli._inputs import asked_recipe
from rpecli.cli._output import _say_next, print_runs
from rpecli.cli._select import create
from rpecli.launch.job import Job

EXAMPLES = """
Examples:
  # two encodings with three seeds each on the default tasks
  rpe train --encoding rope,alibi --seed 0:3

  # a recipe with one key changed
  rpe train quick --steps 200

  # your own encoding beside a shipped one, on one task
  rpe train --task copy --encoding ./mine.py,rope
"""


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
    """Train runs: one for every combination of task, encoding, positions and seed.

    Flags override the recipe, which overrides the defaults. Every recipe key except by_task is a flag.
    """
    made, source = asked_recipe(recipe, given, sets)
    most = most_together(stack, device)
    created = create(made, source, runs)
    todo = [Job(run, train=True, device=device) for run in created if not run.is_trained]
    if len(todo) < len(created):
        typer.echo(f"{len(created) - len(todo)} of {len(created)} runs are trained already.")
    execute(together(todo, most), jobs)
    print_runs(created)
    _say_next("rpe eval --lengths 512:4096", runs)
