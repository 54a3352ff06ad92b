"""`rpe run`: trains, evaluates and reports a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import process
from rpecli.cli import _dry_run
from rpecli.cli import _flags as flags
from rpecli.cli._execute import execute, left_to_do, parse_place, parse_stack, parse_track, stack_jobs, start_server
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._inputs import check_device, check_evaluation_sizes, check_recipe, read_recipe, warn_of_lengths
from rpecli.cli._output import check_report_place, reference_results, write_report
from rpecli.cli._select import create_runs, fail_if_unreadable
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import Job
from rpecli.launch.plan import planned_runs
from rpecli.launch.receipt import is_done
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # seven encodings on three tasks, in minutes
  rpe run quick

  # the same study with eight seeds, so that the tests can decide
  rpe run quick --seed 0:8

  # your own encoding beside those of the recipe
  rpe run quick --add-encoding ./mine.py

  # what your own recipe would run, what of it is done, and how long the rest takes
  rpe run ./mine.yaml --dry-run
"""


@flags.takes_recipe_keys()
def run(
    overrides: dict[str, str],
    recipe: flags.RecipeName,
    sets: flags.Sets = None,
    add_encoding: flags.AddEncoding = None,
    runs: flags.Runs = Path("runs"),
    jobs: flags.Jobs = None,
    on: flags.On = None,
    nproc: flags.Nproc = 1,
    track: flags.Track = None,
    stack: flags.Stack = "auto",
    device: flags.Device = "auto",
    name: flags.Name = None,
    out: flags.Out = Path("results"),
    tables: flags.Tables = False,
    with_reference: flags.WithReference = False,
    no_reference: flags.NoReference = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs, what is left to do, and the time it takes; start nothing.")
    ] = False,
    as_json: flags.Json = False,
) -> None:
    """Train, evaluate and report a recipe.

    Started again, it does only what is missing.
    """
    flags.one_output()
    if process.size() > 1:
        stop("under torchrun: rpe train RECIPE or rpe work RUN, and then rpe run without it", USAGE)
    if dry_run:
        flags.refuse(
            flags.given("--name", "--out", "--tables", "--with-reference", "--no-reference"), "--dry-run writes no report"
        )
    place, trackers = parse_place(on), parse_track(track)
    if place is None:
        check_device(device)
    loaded, source = read_recipe(recipe, overrides, sets, add_encoding)
    name = source.name if name is None else name
    if not dry_run:
        check_report_place(name, out)
    reference = reference_results(with_reference, no_reference)
    configs = {config.id: config for config in loaded.configs()}
    work = {
        id: Job(Run(runs / id), True, EvalRequest(config.eval), probe=True, device=device, nproc=nproc, track=trackers)
        for id, config in configs.items()
    }
    done = {id for id, job in work.items() if is_done(job, configs[id])}
    if len(done) < len(work):
        if not dry_run:
            start_server(0 if place else jobs)
        check_recipe(loaded, source)
        check_evaluation_sizes([(config, config.eval) for config in configs.values()])
        warn_of_lengths([(config, config.eval) for config in configs.values()])
    if dry_run:
        _dry_run.show(planned_runs(work, configs), runs, jobs, device, as_json)
        return
    max_stack = parse_stack(stack, device if len(done) < len(work) else "cpu")  # torch need not be loaded for nothing
    created, unusable = create_runs(list(configs.values()), source.name, runs, done)
    todo = left_to_do(work, created, done)
    failed = execute(stack_jobs(todo, max_stack), jobs, stop_on_failure=False, place=place)
    write_report(created, name, out, as_json, tables, reference)
    fail_if_unreadable(unusable)
    if failed:
        raise SystemExit(FAILURE)
