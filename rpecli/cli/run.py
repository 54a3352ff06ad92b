"""`rpe run`: trains, evaluates and reports a recipe."""

from pathlib import Path

from rpecli.cli import _flags as flags
from rpecli.cli._execute import execute, parse_stack, stack_jobs
from rpecli.cli._exit import FAILURE
from rpecli.cli._inputs import check_device, checked_recipe, warn_of_lengths
from rpecli.cli._output import check_report_place, reference_results, write_report
from rpecli.cli._select import create_runs, fail_if_unreadable
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import Job

EXAMPLES = """
Examples:
  # seven encodings on three tasks, in minutes
  rpe run quick

  # the same study with eight seeds, so that the tests can decide
  rpe run quick --seed 0:8

  # your own recipe, four runs at a time
  rpe run ./mine.yaml --jobs 4
"""


@flags.takes_recipe_keys()
def run(
    overrides: dict[str, str],
    recipe: flags.RecipeName,
    sets: flags.Sets = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    stack: flags.Stack = "auto",
    device: flags.Device = "auto",
    name: flags.Name = None,
    out: flags.Out = Path("results"),
    tables: flags.Tables = False,
    with_reference: flags.WithReference = False,
    no_reference: flags.NoReference = False,
    as_json: flags.Json = False,
) -> None:
    """Train, evaluate and report a recipe.

    Started again, it does only what is missing.
    """
    flags.one_output()
    check_device(device)
    loaded, source = checked_recipe(recipe, overrides, sets)
    name = source.name if name is None else name
    check_report_place(name, out)
    reference = reference_results(with_reference, no_reference)
    max_stack = parse_stack(stack, device)
    created, unusable = create_runs(loaded, source, runs)
    configs = loaded.configs()
    requests = {config.id: EvalRequest(config.eval) for config in configs}
    warn_of_lengths([(config, config.eval.lengths) for config in configs])
    todo = [Job(run, train=not run.is_trained, request=requests[run.name], probe=True, device=device) for run in created]
    failed = execute(stack_jobs(todo, max_stack), jobs, stop_on_failure=False)
    write_report(created, name, out, as_json, tables, reference)
    fail_if_unreadable(unusable)
    if failed:
        raise SystemExit(FAILURE)
