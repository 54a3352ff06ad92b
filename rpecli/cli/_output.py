"""What a command shows: tables in a terminal, the same as Markdown in a pipe, or JSON."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import typer

from rpecli.cli._exit import FAILURE, stop, warn
from rpecli.run.directory import Run


def new_console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def print_tables(*tables: Any) -> None:
    """Rich tables in a terminal, Markdown in a pipe, where a blank line keeps two tables apart."""
    from rpecli.launch import progress as screen
    from rpecli.table import Table

    console = new_console()
    if console.is_terminal:
        console.print(*tables, sep="\n")
    else:
        typer.echo("\n\n".join(table.markdown() if isinstance(table, Table) else screen.plain(table) for table in tables))


def print_runs(runs: list[Run]) -> None:
    from rpecli.cli import _run_tables as cli_run_tables

    print_tables(cli_run_tables.runs_table(runs))


def print_lengths(runs: list[Run]) -> None:
    from rpecli.cli import _run_tables as cli_run_tables

    print_tables(*(cli_run_tables.lengths_table(runs, metric) for metric in ("exact_match", "token_accuracy")))


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))


def _say_next(command: str, runs: Path) -> None:
    typer.echo(f"Next: {command}{'' if runs == Path('runs') else f' --runs {runs}'}")


def write_report(runs: list[Run], name: str | None, out: Path, as_json: bool) -> None:
    """Writes the report of these runs, by the name of their study unless another is given, and shows its tables."""
    from rpecli.report import build as report
    from rpecli.report import load as report_load

    studies = {run.record.get("study", "default") for run in runs}
    name = name or (studies.pop() if len(studies) == 1 else "all")
    try:
        made = report.build_report([run.path for run in runs], name, out, _typed())
    except report_load.ReportError as error:
        stop(str(error), FAILURE)
    for text in made.warnings:
        warn(text)
    if as_json:
        print_json(made.data)
        return
    console = new_console()
    if console.is_terminal:
        for table in made.tables:
            console.print(table, "")
        for each in made.verdicts:
            typer.secho(f"{each.claim}: {each.outcome}", bold=True)
            typer.echo("".join(f"  {line}\n" for line in each.lines))
    else:
        typer.echo(report.markdown_tables(made))
    typer.secho(f"Written: {made.files[0].parent}/", err=not console.is_terminal)


def _typed() -> str:
    return f"rpe {shlex.join(sys.argv[1:])}"
