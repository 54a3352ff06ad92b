"""`rpe train`, `rpe eval` and `rpe run`: the commands that start jobs."""

from pathlib import Path

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._execute import execute, most_together, together
from rpecli.cli._exit import FAILURE, warn
from rpecli.cli._inputs import asked_order, asked_recipe, order_by_run
from rpecli.cli._output import print_lengths, print_runs
from rpecli.cli._select import config_of, create, is_trained, select_trained
from rpecli.cli.report import write_report
from rpecli.config.recipe import NOT_IDENTITY, parse_lengths
from rpecli.launch.job import Job, Order


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


@flags.takes_recipe_keys("lengths", "samples", "eval_tokens", "eval_seed", "eval_positions")
def evaluate(
    given: dict[str, str],
    names: flags.RunNames = None,
    again: flags.Again = False,
    data: flags.Data = None,
    encoding: flags.As = None,
    rope_scaling: flags.RopeScaling = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    device: flags.Device = "auto",
) -> None:
    """Evaluate runs at lengths, and always at the training length. What has been evaluated is not evaluated again."""
    asked = asked_order(given, again, data)
    paths = select_trained(runs, names)
    orders = order_by_run(asked, paths, encoding, rope_scaling)
    _warn_of_lengths(paths, given.get("lengths"))
    execute([Job(path, train=False, order=orders[path], device=device) for path in paths], jobs)
    print_lengths(paths)
    _say_next("rpe report", runs)


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
    orders = {config.id: Order(tuple((k, getattr(config, k)) for k in sorted(NOT_IDENTITY))) for config in made.configs()}
    todo = [Job(path, train=not is_trained(path), order=orders[path.name], device=device) for path in paths]
    failed = execute(together(todo, most), jobs, end=False)
    write_report(paths, name or source.name, out, as_json)
    if failed:
        raise SystemExit(FAILURE)


def _say_next(command: str, runs: Path) -> None:
    typer.echo(f"Next: {command}{'' if runs == Path('runs') else f' --runs {runs}'}")


def _warn_of_lengths(paths: list[Path], lengths: str | None) -> None:
    """Says, once for each task, which of the lengths asked for it has no problem of."""
    from rpecli import task

    said = set()
    for config in map(config_of, paths):
        longest = task.build(config.task).longest()
        past = [n for n in parse_lengths(lengths or config.lengths, config.length) if longest and n > longest]
        if past and config.task not in said:
            said.add(config.task)
            warn(f"{config.task} has no problem longer than {longest}: left out at {', '.join(map(str, past))}")
