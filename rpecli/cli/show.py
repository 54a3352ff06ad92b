"""`rpe ls`, `rpe show` and `rpe check`: what there is, what it says of itself, and whether a recipe is well."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import catalog
from rpecli.choice import parse_choice, split_layers
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._output import new_console, print_json, print_tables
from rpecli.cli._select import config_of, record, select


def show(
    name: Annotated[str, typer.Argument(help="A run (id, path, pattern), or an encoding (rope, rope:base=500, ./mine.py).")],
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    out: Annotated[Path | None, typer.Option(help="Write the figure of an encoding: FILE.svg, .png or .pdf.")] = None,
    d_model: Annotated[int, typer.Option(help="Width to draw an encoding with.")] = 64,
    n_head: Annotated[int, typer.Option(help="Heads to draw an encoding with.")] = 4,
    length: Annotated[int, typer.Option(help="Trained length of an encoding; drawn to twice that.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of an encoding's initial values.")] = 0,
) -> None:
    """Show what a run is and how it went, or what an encoding does to the scores, untrained."""
    encoding = parse_choice(split_layers(name)[0])[0]
    if encoding.endswith(".py") or encoding.replace("_", "-") in catalog.names("encodings"):
        _show_encoding(name, out, as_json, d_model=d_model, n_head=n_head, length=length, seed=seed)
    else:
        _show_runs(select(runs, [name]), as_json)


def _show_runs(paths: list[Path], as_json: bool) -> None:
    from rpecli.cli import _run_tables as cli_run_tables
    from rpecli.run.files import read_lines

    lines = {path: read_lines(path / "eval.jsonl") for path in paths}
    if as_json:
        found = [record(path) | {"config": config_of(path).to_keys(), "eval": lines[path]} for path in paths]
        print_json(found if len(found) > 1 else found[0])
        return
    made = [(cli_run_tables.run_table(path), cli_run_tables.evaluation_table(path) if lines[path] else None) for path in paths]
    print_tables(*(table for pair in made for table in pair if table))


def _show_encoding(choice: str, out: Path | None, as_json: bool, **shape: int) -> None:
    from rpecli.describe import effect
    from rpecli.describe import figure as portrait_figure
    from rpecli.describe import text as portrait_text
    from rpecli.plot import FigureError

    data = effect.profile(choice, **shape).data()
    if out is not None:
        try:
            portrait_figure.write(data, out)
        except FigureError as error:
            stop(str(error), USAGE)
    console = new_console()
    if as_json:
        print_json(data)
    elif console.is_terminal:
        for part in portrait_text.terminal(data):
            console.print(part)
    else:
        typer.echo(portrait_text.markdown(data))
    if out is not None:
        typer.echo(f"Written: {out}", err=True)
