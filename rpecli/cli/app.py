"""The `rpe` command: its subcommands in the order of `rpe --help`, and how each of them ends.

Only the modules of `cli` print. They import what takes long to import (torch, pandas, matplotlib) inside functions, so that
`rpe --help` answers at once.
"""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from rpecli import __version__
from rpecli.choice import ChoiceError
from rpecli.cli import (
    bench,
    check,
    choose,
    data,
    export,
    import_,
    inspect,
    ls,
    new,
    report,
    reproduce,
    rm,
    run,
    show,
    train,
    work,
)
from rpecli.cli import eval as evaluate
from rpecli.cli._exit import FAILURE, USAGE, flushed_output, stop
from rpecli.cli._flags import takes_trust
from rpecli.cli._help import Command, Group
from rpecli.cli._output import show_ascii_where_needed
from rpecli.signals import INTERRUPTED, TERMINATED, Interrupted, Terminated, through_imports

START = """
Start here:
  rpe run quick

Or step by step:
  rpe train --encoding rope
  rpe eval --lengths 512:4096
  rpe report
"""
COMMANDS: dict[str, tuple[Callable[..., None], str]] = {  # takes_trust: what runs the code of runs, maybe somebody else's
    "train": (takes_trust(train.train), train.EXAMPLES),
    "eval": (takes_trust(evaluate.evaluate), evaluate.EXAMPLES),
    "report": (report.report, report.EXAMPLES),
    "run": (takes_trust(run.run), run.EXAMPLES),
    "choose": (takes_trust(choose.choose), choose.EXAMPLES),
    "ls": (ls.ls, ls.EXAMPLES),
    "show": (takes_trust(show.show), show.EXAMPLES),
    "reproduce": (reproduce.reproduce, reproduce.EXAMPLES),
    "inspect": (takes_trust(inspect.inspect), inspect.EXAMPLES),
    "new": (new.new, new.EXAMPLES),
    "check": (takes_trust(check.check), check.EXAMPLES),
    "bench": (takes_trust(bench.bench), bench.EXAMPLES),
    "data": (data.data, data.EXAMPLES),
    "export": (export.export, export.EXAMPLES),
    "import": (import_.import_, import_.EXAMPLES),
    "rm": (rm.rm, rm.EXAMPLES),
    "work": (takes_trust(work.work), work.EXAMPLES),
}
app = typer.Typer(
    cls=Group,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    help="A bench for positional encodings and length generalization.",
    epilog=START,
)
for _name, (_function, _examples) in COMMANDS.items():
    app.command(_name, cls=Command, epilog=_examples)(_function)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False
) -> None:
    if version:
        typer.echo(f"rpe {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Runs the command. Every error is one or two lines on stderr and a fixed exit code."""
    show_ascii_where_needed()
    try:
        with flushed_output(), through_imports():
            app()
    except Interrupted as error:
        stop("; ".join(["interrupted", *error.args]), INTERRUPTED)
    except Terminated as error:
        stop("; ".join(["stopped by SIGTERM", *error.args]), TERMINATED)
    except ChoiceError as error:
        stop(str(error), USAGE)
    except ValueError as error:
        from rpecli.run.files import RunError

        if not isinstance(error, RunError):
            raise
        stop(str(error), FAILURE)
    except BrokenPipeError:  # whoever reads the output, such as head, has read enough
        _discard_output()
    except OSError as error:
        if error.filename is None:
            _discard_output()
        stop(f"{(error.strerror or str(error)).lower()}: {error.filename or 'the output of this command'}", FAILURE)


def _discard_output() -> None:
    """What is still to be printed goes nowhere: at the end of the process it would fail again, with a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
