"""`rpe ls`: lists encodings, tasks, recipes or runs."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import catalog
from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._output import print_json, print_tables
from rpecli.cli._run_tables import runs_table
from rpecli.cli._select import select_runs
from rpecli.config.ranges import parse_seeds
from rpecli.run import liveness
from rpecli.run.directory import Run, Status

EXAMPLES = """
Examples:
  rpe ls encodings

  # the tasks of a suite
  rpe ls tasks --suite crasp

  rpe ls runs --task copy --state trained

  # for a program
  rpe ls tasks --json
"""


def ls(
    kind: Annotated[str, typer.Argument(help="encodings, tasks, recipes or runs.")] = "encodings",
    runs: flags.Runs = Path("runs"),
    task: Annotated[str | None, typer.Option(help="Only runs of these tasks.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Only runs of these encodings.")] = None,
    seed: Annotated[str | None, typer.Option(help="Only runs of these seeds: 0:3.")] = None,
    suite: Annotated[str | None, typer.Option(help="Only tasks of this suite.")] = None,
    state: Annotated[str | None, typer.Option(help="Only runs in these states: trained, failed.")] = None,
    as_json: flags.Json = False,
) -> None:
    """List encodings, tasks, recipes or runs.

    In a pipe, tables are Markdown with every column at its full width; --json is for programs.
    """
    from rpecli.describe import listing

    kinds = [*catalog.SUFFIX, "runs"]
    if kind not in kinds:
        stop(catalog.unknown("kind", kind, kinds), USAGE)
    if kind != "runs":
        flags.refuse(
            flags.given("--runs", "--task", "--encoding", "--seed", "--state"), f"of use with runs only, not with {kind}"
        )
    if kind != "tasks":
        flags.refuse(flags.given("--suite"), f"of use with tasks only, not with {kind}")
    states = [*map(str, Status), liveness.INTERRUPTED]
    if wrong := [word for word in (state or "").split(",") if word and word not in states]:
        stop(f"--state: {catalog.unknown('state', wrong[0], states)}", USAGE)
    filters = {"task": task, "encoding": encoding, "seed": seed, "status": state}
    if kind == "runs":
        selected = _matching(select_runs(runs, None)[0], {key: text for key, text in filters.items() if text is not None})
        print_json([run.record for run in selected]) if as_json else print_tables(runs_table(selected))
        return
    rows = _of_suite(suite) if suite is not None else listing.rows(kind)
    print_json(rows) if as_json else print_tables(listing.table(rows))


def _of_suite(suite: str) -> list[dict[str, str]]:
    """The tasks of a suite, in its order."""
    from rpecli.config import suites
    from rpecli.describe import listing

    return [listing.task_row(choice) for choice in suites.tasks(suite)]


def _values(run: Run, key: str) -> set[str]:
    """What a filter may call the value of a run's record."""
    record = run.record
    value = liveness.state(run, record) if key == "status" else str(record[key])
    return {value, value.partition(":")[0]}


def _matching(runs: list[Run], filters: dict[str, str]) -> list[Run]:
    """The runs whose record has, for every key, one of the values in its text; a name without options stands for any options."""
    try:
        allowed = {key: set(map(str, parse_seeds(text)) if key == "seed" else text.split(",")) for key, text in filters.items()}
    except ValueError as error:
        stop(f"--seed: {error}", USAGE)
    matches = [run for run in runs if all(_values(run, key) & allowed[key] for key in allowed)]
    if not matches:
        stop(f"no run with {', '.join(f'{key} {text}' for key, text in filters.items())}: rpe ls runs lists all", FAILURE)
    return matches
