"""`rpe run`: trains, evaluates and reports a recipe."""

from pathlib import Path

from rpecli.cli import _flags as flags
from rpecli.cli._execute import execute, most_together, together
from rpecli.cli._exit import FAILURE
from rpecli.cli._inputs import asked_recipe
from rpecli.cli._output import write_report
from rpecli.cli._select import create, is_trained
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import Job


@flags.takes_recipe_keys()
def run(
    given: dict[str, str],
    recipe: flags.RecipeName,
    sets: flags.Sets = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    stack: flags.Stack = "auto",
    device: flags.Device = "auto",
    name: flags.Name = None,
    out: flags.Out = Path("results"),
    as_json: flags.Json = False,
) -> None:
    """Train, evaluate and report a recipe; started again it does only what is missing."""
    made, source = asked_recipe(recipe, given, sets)
    most = most_together(stack, device)
    paths = create(made, source, runs)
    requests = {config.id: EvalRequest(config.eval) for config in made.configs()}
    todo = [Job(path, train=not is_trained(path), request=requests[path.name], device=device) for path in paths]
    failed = execute(together(todo, most), jobs, end=False)
    write_report(paths, name or source.name, out, as_json)
    if failed:
        raise SystemExit(FAILURE)
