"""The entry point of `rpe`, also as `python -m rpecli`: Ctrl-C has its answer before anything else is imported."""

import os
import sys

from rpecli import signals


def main() -> None:
    _open_closed_streams()
    try:
        try:
            _command()
        finally:
            signals.ignore()
    except (signals.Interrupted, signals.Terminated) as stopped:  # while the command starts or ends: else it answers itself
        signals.ignore()  # again: where the signal came before the first call had done it
        is_interrupt = isinstance(stopped, signals.Interrupted)
        sys.stderr.write("interrupted\n" if is_interrupt else "stopped by SIGTERM\n")
        raise SystemExit(signals.INTERRUPTED if is_interrupt else signals.TERMINATED) from None


def _command() -> None:
    """The command, from the instruction on that makes signals exceptions."""
    signals.install()
    with signals.through_imports():
        from rpecli.cli import app
    app.main()


def _open_closed_streams() -> None:
    """Input, output and errors that are closed (`>&-`, some daemons) are empty instead: else a file would get their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
