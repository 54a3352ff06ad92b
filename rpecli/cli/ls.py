"""`rpe ls`: what there is."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import catalog
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._output import print_json, print_runs, print_tables
from rpecli.cli._select import select

EXAMPLES = """
Examples:
  rpe ls encodings

  rpe ls runs

  # everything that is known of the tasks, for a program
  rpe ls tasks --json
"""


def ls(
    kind: Annotated[str, typer.Argument(help="encodings, tasks, recipes or runs.")] = "encodings",
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
) -> None:
    """List encodings, tasks, recipes or runs."""
    from rpecli.describe import listing as tables

    kinds = [*catalog.SUFFIX, "runs"]
    if kind not in kinds:
        stop(f"unknown kind {kind!r}: {catalog.nearest(kind, kinds)}", USAGE)
    if kind == "runs":
        selected = select(runs, None)
        print_json([run.record for run in selected]) if as_json else print_runs(selected)
        return
    rows = tables.rows(kind)
    print_json(rows) if as_json else print_tables(tables.table(rows))
