"""`rpe import`: takes up runs that `rpe export` wrote, or any run directory from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.cli._inputs import require_writable
from rpecli.cli._output import print_next, say
from rpecli.run import transfer
from rpecli.run.directory import Run, directories
from rpecli.run.files import RunError

EXAMPLES = """
Examples:
  # a run that rpe export wrote
  rpe import exports/copy-rope-s0-39717e5b

  # all runs in a folder
  rpe import exports

  # into another folder of runs
  rpe import exports --runs theirs
"""


def import_(
    folders: Annotated[list[Path], typer.Argument(help="Folders of exported runs, or of one run each.")],
    runs: flags.Runs = Path("runs"),
) -> None:
    """Copy exported runs into the folder of runs.

    Weights and records are checked first. Code that came with a run is run only by commands that are given
    --trust-code, such as rpe eval --trust-code.
    """
    require_writable("--runs", runs)
    sources = [run for folder in folders for run in _runs_in(folder)]
    problems = 0
    for run in sources:
        try:
            say(_take_up(run, runs))
        except RunError as error:
            problems += 1
            warn(str(error), "red")
    if problems:
        raise SystemExit(FAILURE)
    print_next("rpe ls runs", runs)


def _runs_in(folder: Path) -> list[Run]:
    """The run that a folder is, or the runs in it; stops where there is none."""
    if not folder.is_dir():
        stop(f"no folder {folder}: name a folder that rpe export wrote", USAGE)
    if Run(folder).has_record:
        return [Run(folder)]
    runs = [run for run in map(Run, directories(folder)) if run.has_record]
    if not runs:
        stop(f"{folder} holds no run (no run.json): name a folder that rpe export wrote", USAGE)
    return runs


def _take_up(run: Run, folder: Path) -> str:
    """Copies a run and says so. Raises RunError where a file of it is damaged, or the folder has another run of its name."""
    from rpecli import tensor_file
    from rpecli.run.code import check_copies
    from rpecli.run.problems import checked_weights

    if not run.is_trained:
        raise RunError(f"{run} is not trained, so there is nothing to import: {run.train_command}")
    tensor_file.read(run.weights_file, "export it again")
    checked_weights(run)
    check_copies(run.path, run.config, run.record)
    if transfer.is_copied(run, folder):
        return f"{run.record['id']} is in {folder} already"
    return f"Imported: {transfer.copy(run, folder)}"
