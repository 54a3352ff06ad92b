"""The `rpe` command: which commands there are, in the order of `rpe --help`, and how each of them ends.

Only the cli files print. What takes long to import (torch, pandas, matplotlib) they import inside functions, so that
`rpe --help` answers at once.
"""

from collections.abc import Callable

import typer

from rpecli.choice import ChoiceError
from rpecli.cli import bench as cli_bench
from rpecli.cli import check as cli_check
from rpecli.cli import data as cli_data
from rpecli.cli import eval as cli_eval
from rpecli.cli import inspect as cli_inspect
from rpecli.cli import ls as cli_ls
from rpecli.cli import report as cli_report
from rpecli.cli import run as cli_run
from rpecli.cli import show as cli_look
from rpecli.cli import train as cli_train
from rpecli.cli._exit import FAILURE, USAGE, Interrupted, Terminated, stop
from rpecli.launch.job import INTERRUPTED, SAVED

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A bench for positional encodings and length generalization.",
    epilog="Start here: rpe run quick. One by one: rpe train --encoding rope, rpe eval --lengths 512:4096, rpe report.",
)
COMMANDS: dict[str, Callable[..., None]] = {
    "train": cli_train.train,
    "eval": cli_eval.evaluate,
    "report": cli_report.report,
    "run": cli_run.run,
    "ls": cli_ls.listing,
    "show": cli_look.show,
    "inspect": cli_inspect.inspect,
    "check": cli_check.check,
    "bench": cli_bench.bench,
    "data": cli_data.data,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    """Runs the command: every error a line or two on stderr, and a fixed exit code."""
    try:
        app()
    except (Interrupted, KeyboardInterrupt):
        stop("interrupted; start the same command again to go on", INTERRUPTED)
    except Terminated:
        stop("stopped by SIGTERM after saving; start the same command again to go on", SAVED)
    except ChoiceError as error:
        stop(str(error), USAGE)
    except ValueError as error:
        from rpecli.run.files import RunError

        if not isinstance(error, RunError):
            raise
        stop(str(error), FAILURE)
