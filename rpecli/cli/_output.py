"""What a command shows: tables in a terminal, the same as Markdown in a pipe, or JSON."""

import json
from pathlib import Path
from typing import Any

import typer


def new_console(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def print_tables(*tables: Any) -> None:
    """Rich tables in a terminal, Markdown in a pipe, where a blank line keeps two tables apart."""
    from rpecli.launch import progress as screen

    console = new_console()
    if console.is_terminal:
        console.print(*tables, sep="\n")
    else:
        typer.echo("\n\n".join(map(screen.plain, tables)))


def print_runs(paths: list[Path]) -> None:
    from rpecli.launch import progress as screen

    print_tables(screen.runs_table(paths))


def print_lengths(paths: list[Path]) -> None:
    from rpecli.launch import progress as screen

    print_tables(*(screen.lengths_table(paths, metric) for metric in ("exact_match", "token_accuracy")))


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1))
