"""`rpe rm`: deletes runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.cli._output import say
from rpecli.cli._select import NAMED, Filters, find_directories, matching, readable_directories, states_filter
from rpecli.run import transfer
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.table import few, plural

EXAMPLES = """
Examples:
  # one run, by part of its id
  rpe rm copy-rope-s0

  # every run that failed
  rpe rm --state failed

  # without a question, in a script
  rpe rm 'copy-rope-*' --yes
"""


@flags.takes_filters
def rm(
    filters: dict[str, str],
    names: Annotated[
        list[str] | None, typer.Argument(help="Runs: ids, paths or patterns.", autocompletion=flags.complete_runs)
    ] = None,
    state: flags.State = None,
    runs: flags.Runs = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete runs, with their weights and results.

    It asks first. A run that a process works on is left.
    """
    filters |= states_filter(state)
    if not names and not filters:
        stop("name the runs to delete: an id, part of it, a pattern such as 'copy-*', or --state failed", USAGE)
    selected = _selected(runs, names, filters)
    which = f"{plural(len(selected), 'run')}: {few([run.name for run in selected], NAMED)}"
    if not yes:
        _ask(which)
    problems = []
    for run in selected:
        try:
            transfer.remove(run)
        except RunError as error:
            problems.append(str(error))
            warn(str(error), "red")
    say(f"Deleted {len(selected) - len(problems)} of {which}")
    if problems:
        raise SystemExit(FAILURE)


def _selected(folder: Path, names: list[str] | None, filters: Filters) -> list[Run]:
    """The runs of these names, damaged ones too; filters choose among those that can be read."""
    by_name = [find_directories(folder, name) for name in names] if names else [readable_directories(folder)]
    named = [Run(path) for path in dict.fromkeys(path for paths in by_name for path in paths)]
    runs = [run for run in named if run.has_record]
    if not named:
        stop(f"no runs under {folder}", FAILURE)
    if not runs or (names and len(runs) < len(named)):
        other = next(run for run in named if not run.has_record)
        stop(f"{other}: not a run directory (no run.json), so rpe rm leaves it", FAILURE)
    if not filters:
        return runs
    return matching([run for run in runs if _is_readable(run)], filters)


def _is_readable(run: Run) -> bool:
    try:
        return bool(run.record)
    except RunError as error:
        warn(f"{error} (left)")
        return False


def _ask(which: str) -> None:
    if not sys.stdin.isatty():
        stop(f"delete {which}? Write --yes where nobody can answer", USAGE)
    typer.confirm(f"Delete {which}?", abort=True, err=True)
