"""`rpe ls`: lists encodings, tasks, recipes or runs."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import catalog
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._output import print_json, print_tables, say
from rpecli.cli._run_tables import runs_table
from rpecli.cli._select import readable_directories, select_runs, states_filter
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.problems import problems_of

EXAMPLES = """
Examples:
  rpe ls encodings

  # the tasks of a suite
  rpe ls tasks --suite crasp

  rpe ls runs --task copy --state trained

  # what is damaged, missing or of another version
  rpe ls runs --problems
"""


@flags.takes_filters
def ls(
    filters: dict[str, str],
    kind: Annotated[str, typer.Argument(help="encodings, tasks, recipes or runs.")] = "encodings",
    runs: flags.Runs = Path("runs"),
    suite: Annotated[str | None, typer.Option(help="Only tasks of this suite.")] = None,
    state: flags.State = None,
    problems: Annotated[bool, typer.Option("--problems", help="Every problem of every run, instead of the runs.")] = False,
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
            flags.given("--runs", "--task", "--encoding", "--seed", "--state", "--problems"),
            f"of use with runs only, not with {kind}",
        )
    if kind != "tasks":
        flags.refuse(flags.given("--suite"), f"of use with tasks only, not with {kind}")
    if problems:
        flags.refuse(flags.given("--task", "--encoding", "--seed", "--state"), "--problems looks at every run")
        _list_problems(runs, as_json)
        return
    filters |= states_filter(state)
    if kind == "runs":
        selected, _ = select_runs(runs, None, filters)
        print_json([run.record for run in selected]) if as_json else print_tables(runs_table(selected))
        return
    rows = _of_suite(suite) if suite is not None else listing.rows(kind)
    print_json(rows) if as_json else print_tables(listing.table(rows))


def _list_problems(folder: Path, as_json: bool) -> None:
    """One line for each file of a run that is missing, damaged or of another format."""
    by_run = {run.name: texts for run in map(Run, readable_directories(folder)) if (texts := _problems_of(run))}
    if as_json:
        print_json(by_run)
    elif by_run:
        say("\n".join(problem for texts in by_run.values() for problem in texts))
    else:
        say(f"no problem in the runs of {folder}")


def _problems_of(run: Run) -> list[str]:
    """Every problem of a run, with that of a checkpoint, which takes torch to read."""
    problems = problems_of(run)
    if not run.checkpoint_file.is_file():
        return problems
    from rpecli import tensor_file
    from rpecli.train.state import REMEDY

    try:
        tensor_file.read(run.checkpoint_file, REMEDY)
    except RunError as error:
        problems.append(str(error))
    return problems


def _of_suite(suite: str) -> list[dict[str, str]]:
    """The tasks of a suite, in its order."""
    from rpecli.config import suites
    from rpecli.describe import listing

    return [listing.task_row(choice) for choice in suites.tasks(suite)]
