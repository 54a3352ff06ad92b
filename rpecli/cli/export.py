"""`rpe export`: trained runs as folders to give away, with weights, recipe, results and a card."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, warn
from rpecli.cli._inputs import require_writable
from rpecli.cli._output import print_written
from rpecli.cli._select import fail_if_unreadable, select_trained_runs
from rpecli.run import transfer
from rpecli.run.files import RunError

EXAMPLES = """
Examples:
  # one run, by part of its id: exports/copy-rope-s0-39717e5b
  rpe export copy-rope-s0

  # some runs, into another folder
  rpe export 'copy-rope-*' --out shared

  # every trained run of an encoding
  rpe export --encoding rope
"""


@flags.takes_filters
def export(
    filters: dict[str, str],
    names: flags.RunNames = None,
    runs: flags.Runs = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder in which every run gets a folder.")] = Path("exports"),
) -> None:
    """Copy trained runs with a card: weights, recipe and results, one folder per run.

    The weights load with safetensors alone. rpe eval FOLDER evaluates an exported run, rpe import FOLDER takes it up.
    """
    require_writable("--out", out)
    selected, unreadable = select_trained_runs(runs, names, filters)
    from rpecli.describe import run_card
    from rpecli.run.problems import checked_weights

    problems = []
    for run in selected:
        try:
            checked_weights(run)
            target = transfer.copy(run, out, {run_card.FILE: run_card.card(run).encode()})
            print_written(str(target))
        except RunError as error:
            problems.append(run.name)
            warn(str(error), "red")
    fail_if_unreadable(unreadable)
    if problems:
        raise SystemExit(FAILURE)
