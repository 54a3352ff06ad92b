"""`rpe ls`: lists encodings, tasks, recipes or runs."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import catalog
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._output import print_json, print_tables
from rpecli.cli._run_tables import runs_table
from rpecli.cli._select import select_runs

EXAMPLES = """
Examples:
  rpe ls encodings

  rpe ls runs

  # for a program
  rpe ls tasks --json
"""


def ls(
    kind: Annotated[str, typer.Argument(help="encodings, tasks, recipes or runs.")] = "encodings",
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
) -> None:
    """List encodings, tasks, recipes or runs."""
    from rpecli.describe import listing

    kinds = [*catalog.SUFFIX, "runs"]
    if kind not in kinds:
        stop(catalog.unknown("kind", kind, kinds), USAGE)
    if kind == "runs":
        selected, _ = select_runs(runs, None)
        print_json([run.record for run in selected]) if as_json else print_tables(runs_table(selected))
        return
    rows = listing.rows(kind)
    print_json(rows) if as_json else print_tables(listing.table(rows))
