"""What commands print: tables in a terminal, the same as Markdown in a pipe, or JSON."""

import json
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rpecli.cli._exit import FAILURE, USAGE, stop, warn
from rpecli.run.directory import Run
from rpecli.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from rpecli.report.build import Reference
    from rpecli.report.content import ReportContent
    from rpecli.report.records import Verdict

MAX_WIDTH = 110  # of text in a terminal
PIPE_WIDTH = 80


def new_console(stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


def print_rich(parts: Iterable[Any], markdown: str) -> None:
    """Prints parts that rich can render, each followed by an empty line; in a pipe, the Markdown instead."""
    console = new_console()
    if console.is_terminal:
        for part in parts:
            console.print(part, "")
    else:
        typer.echo(markdown)


def print_tables(*tables: Table) -> None:
    """Prints tables; in a pipe as Markdown, with an empty line between them."""
    print_rich(tables, "\n\n".join(table.markdown() for table in tables))


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))


def print_written(place: str) -> None:
    """Says where files are, on stderr."""
    typer.echo(f"Written: {place}", err=True)


def print_next(command: str, folder: Path, meaning: str = "") -> None:
    """Proposes the next command, for the same folder of runs, and says what it does."""
    typer.echo(f"Next: {command}{runs_flag(folder)}" + (f"   # {meaning}" if meaning else ""))


def runs_flag(folder: Path) -> str:
    """What a command needs to use the same folder of runs; empty for the default one."""
    return "" if folder == Path("runs") else f" --runs {shlex.quote(str(folder))}"


def command_line() -> str:
    """The command as it was typed."""
    return f"rpe {shlex.join(sys.argv[1:])}"


def reference_results(with_reference: bool, no_reference: bool) -> "Reference":
    """The shipped reference results, for tests and means too, or none of them."""
    from rpecli.report.build import NO_REFERENCE, Reference
    from rpecli.report.reference import read

    if with_reference and no_reference:
        stop("--with-reference and --no-reference contradict each other: remove one", USAGE)
    return NO_REFERENCE if no_reference else Reference(read(), in_tests=with_reference)


def write_report(runs: list[Run], name: str | None, out: Path, as_json: bool, tables: bool, reference: "Reference") -> None:
    """Writes the report of runs under a name, or that of their study, and prints its summary."""
    from rpecli.report import build
    from rpecli.report.load import ReportError

    studies = {run.record.get("study", "default") for run in runs}
    name = name or (studies.pop() if len(studies) == 1 else "all")
    try:
        report = build.build_report([run.path for run in runs], name, out, command_line(), reference)
    except ReportError as error:
        stop(str(error), FAILURE)
    for warning in report.warnings:
        warn(warning)
    if as_json:
        print_json(report.data)
        return
    print_summary(report.content)
    if tables:
        print_verdicts(report.verdicts)
        print_rich(report.tables, build.markdown_tables(report))
    typer.echo(f"\nPage: {out / name / 'report.html'}")


def print_summary(content: "ReportContent") -> None:
    """The answer first: headline, claims, and encodings by length; the same text in a terminal and in a pipe."""
    from rpecli.report.write import text

    width = text_width()
    title = text.wrap(content.headline.title, width)
    typer.secho("\n".join(title), bold=True)
    typer.echo("\n".join(text.summary(content, width)[len(title) :]))


def print_verdicts(verdicts: "list[Verdict]") -> None:
    """Every sentence of the verdicts, wrapped between words."""
    from rpecli.report.write import text

    for verdict in verdicts:
        lines = [line for sentence in verdict.lines for line in text.wrap(sentence, text_width(), "  ")]
        typer.echo("\n".join(["", f"{verdict.claim}: {verdict.outcome}", *lines]))
    typer.echo()


def text_width() -> int:
    """Columns of the terminal, up to MAX_WIDTH; those of a narrow one in a pipe."""
    return min(shutil.get_terminal_size().columns, MAX_WIDTH) if sys.stdout.isatty() else PIPE_WIDTH
