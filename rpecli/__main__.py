"""The entry point of `rpe`, also as `python -m rpecli`: Ctrl-C has its answer before anything else is imported."""

import sys

from rpecli import signals


def main() -> None:
    signals.install()
    try:
        from rpecli.cli import app
    except (signals.Interrupted, signals.Terminated) as stopped:
        is_interrupt = isinstance(stopped, signals.Interrupted)
        sys.stderr.write("interrupted\n" if is_interrupt else "stopped by SIGTERM\n")
        raise SystemExit(signals.INTERRUPTED if is_interrupt else signals.TERMINATED) from None
    try:
        app.main()
    finally:
        signals.ignore()


if __name__ == "__main__":
    main()
