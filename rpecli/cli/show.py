"""`rpe show`: shows a run and its evaluation, or what an encoding does to the attention logits."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import catalog
from rpecli.choice import is_path, names_in, split_list
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._inputs import named_choice
from rpecli.cli._output import new_console, print_json, print_written
from rpecli.cli._run_tables import run_data
from rpecli.cli._run_text import run_lines
from rpecli.cli._select import matching_directories, select_runs, unknown_run
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # what an encoding does to the attention logits
  rpe show alibi

  # its figure in a file
  rpe show t5:buckets=16 --out t5.png

  # the record and the evaluation of runs
  rpe show 'copy-rope-*'
"""


def show(
    name: Annotated[str, typer.Argument(help="A run (id, path or pattern), or an encoding (rope, rope:base=500, ./mine.py).")],
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    out: Annotated[Path | None, typer.Option(help="Write the figure of an encoding: FILE.svg, .png or .pdf.")] = None,
    d_model: Annotated[int, typer.Option(help="Width to draw an encoding with.")] = 64,
    n_head: Annotated[int, typer.Option(help="Heads to draw an encoding with.")] = 4,
    length: Annotated[int, typer.Option(help="Training length to draw an encoding with; drawn to twice that.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of an encoding's initial values.")] = 0,
) -> None:
    """Show a run and its evaluation, or what an untrained encoding does to the attention logits."""
    if name and matching_directories(runs, name) and name not in catalog.names("encodings"):
        _show_runs(select_runs(runs, [name])[0], runs, as_json)
        return
    choice = _encoding_choice(name, runs)
    _show_encoding(choice, out, as_json, d_model=d_model, n_head=n_head, length=length, seed=seed)


def _encoding_choice(name: str, runs: Path) -> str:
    """The encoding that a name means; stops where it means neither a run nor an encoding."""
    listed = split_list(name)
    if not name.strip() or len(listed) > 1:
        stop(f"{name!r}: write one run or one encoding: rpe show {listed[0] or 'NAME'}", USAGE)
    choice, encodings = named_choice(name), catalog.names("encodings")
    first = names_in(choice)[0]
    if not is_path(first) and first not in encodings:
        close = catalog.close_names(first, encodings, cutoff=0.85)  # the name of a run resembles several encodings a little
        hint = f"no run {name!r} under {runs}: did you mean {close[0]} (an encoding)?" if close else None
        stop(hint or f"{unknown_run(runs, name)}; no encoding has that name either: rpe ls encodings", USAGE)
    return choice


def _show_runs(runs: list[Run], folder: Path, as_json: bool) -> None:
    if as_json:
        records = list(map(run_data, runs))
        print_json(records if len(records) > 1 else records[0])
        return
    typer.echo("\n\n".join("\n".join(run_lines(run, folder)) for run in runs))


def _show_encoding(choice: str, out: Path | None, as_json: bool, **shape: int) -> None:
    from rpecli.describe import effect, figure, text
    from rpecli.plot import FigureError

    profile = effect.profile(choice, **shape)
    if out is not None:
        try:
            figure.write(profile, out)
        except FigureError as error:
            stop(str(error), USAGE)
    console = new_console()
    if as_json:
        print_json(profile.as_dict())
    elif console.is_terminal:
        for part in text.terminal(profile):
            console.print(part)
    else:
        typer.echo(text.markdown(profile))
    if out is not None:
        print_written(str(out))
