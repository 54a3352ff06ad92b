"""`rpe run`: trains, evaluates and reports a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import process
from rpecli.cli import _dry_run, _search
from rpecli.cli import _flags as flags
from rpecli.cli._execute import Workplace, left_to_do
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._inputs import check_evaluation_sizes, check_recipe, read_recipe, warn_of_lengths
from rpecli.cli._output import check_report_place, reference_results, write_report
from rpecli.cli._select import create_runs, fail_if_unreadable
from rpecli.config.recipe import Config
from rpecli.evaluate.request import EvalRequest
from rpecli.launch.job import Job
from rpecli.launch.plan import planned_runs
from rpecli.launch.receipt import is_done
from rpecli.run import lr_search
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # seven encodings on three tasks, in minutes
  rpe run quick

  # the same study with eight seeds, so that the tests can decide
  rpe run quick --seed 0:8

  # your own encoding beside those of the recipe
  rpe run quick --add-encoding ./mine.py

  # what your own recipe would run, what is done, how long the rest takes
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
    place = Workplace.of(on, device, jobs, nproc, track, stack)
    loaded, source = read_recipe(recipe, overrides, sets, add_encoding)
    name = source.name if name is None else name
    if not dry_run:
        check_report_place(name, out)
    reference = reference_results(with_reference, no_reference)
    known = _search.choices(loaded, runs)
    work, done = _work(known.configs, runs, place)
    if known.undecided or len(done) < len(work):
        if not dry_run:
            place.open()
        configs = [*known.configs, *known.undecided]
        check_recipe(loaded, source)
        check_evaluation_sizes([(config, config.eval) for config in configs])
        warn_of_lengths([(config, config.eval) for config in configs])
    if dry_run:
        _dry_run.show(planned_runs(known, work, runs), runs, place, as_json)
        return
    if known.undecided:
        known = _search.search(loaded, source.name, runs, place)
        work, done = _work(known.configs, runs, place)
    created, unusable = create_runs(known.configs, source.name, runs, done)
    lr_search.record(created, known.searches)
    failed = place.do(left_to_do(work, created, done))
    write_report(created, name, out, as_json, tables, reference)
    fail_if_unreadable(unusable)
    if _search.tell_undecided(known, runs) or failed:
        raise SystemExit(FAILURE)


def _work(configs: list[Config], runs: Path, place: Workplace) -> tuple[dict[str, Job], set[str]]:
    """What is to do of each run, by its id, and the ids of those of which all is done."""
    work = {config.id: place.job(Run(runs / config.id), EvalRequest(config.eval), probe=True) for config in configs}
    return work, {config.id for config in configs if is_done(work[config.id], config)}
