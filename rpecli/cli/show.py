"""`rpe show`: shows a run and its evaluation, or what an encoding does to the attention logits."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli import catalog
from rpecli.choice import parse_choice, split_layers
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._inputs import MAX_SEED, require_writable
from rpecli.cli._output import new_console, print_json, print_written
from rpecli.cli._run_tables import run_data
from rpecli.cli._run_text import run_lines
from rpecli.cli._select import matching_directories, select_runs
from rpecli.run.directory import Run

EXAMPLES = """
Examples:
  # what an encoding does to the attention logits
  rpe show alibi

  # its figure in a file
  rpe show t5:buckets=16 --out t5.png

  # a task: its format, its chance level, and examples of a length
  rpe show parity --length 12

  # the record and the evaluation of runs
  rpe show 'copy-rope-*'
"""


def show(
    name: Annotated[
        str, typer.Argument(help="A run (id, path or pattern), a task, or an encoding (rope, rope:base=500, ./mine.py).")
    ],
    runs: flags.Runs = Path("runs"),
    as_json: flags.Json = False,
    out: Annotated[Path | None, typer.Option(help="Write the figure of an encoding: FILE.svg, .png or .pdf.")] = None,
    d_model: Annotated[int, typer.Option(help="Width to draw an encoding with.")] = 64,
    n_head: Annotated[int, typer.Option(help="Heads to draw an encoding with.")] = 4,
    length: Annotated[
        int | None, typer.Option(help="Length of a task's examples; or training length of an encoding, drawn to twice that (64).")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Seed of a task's examples, or of an encoding's initial values.")
    ] = 0,
) -> None:
    """Show a run and its evaluation, a task with examples, or what an untrained encoding does to the attention logits."""
    _require_one_name(name)
    choice = parse_choice(split_layers(name)[0])[0]
    if choice.endswith(".py") or choice.replace("_", "-") in catalog.names("encodings"):
        flags.refuse(flags.given("--runs"), f"{name} is an encoding")
        _show_encoding(name, out, as_json, d_model=d_model, n_head=n_head, length=length or 64, seed=seed)
        return
    if choice.replace("_", "-") in catalog.names("tasks"):
        flags.refuse(flags.given("--runs", "--out", "--d-model", "--n-head"), f"{name} is a task")
        _show_task(name, length, seed, as_json)
        return
    if not matching_directories(runs, name) and (others := _resembling(choice)):
        stop(f"no run {name!r} under {runs}: did you mean {' or '.join(others)}?", USAGE)
    selected, _ = select_runs(runs, [name])
    flags.refuse(flags.given("--out", "--d-model", "--n-head", "--length", "--seed"), f"{name} is a run")
    _show_runs(selected, runs, as_json)


def _require_one_name(name: str) -> None:
    if not name.strip():
        stop("the name is empty: write a run, a task or an encoding, as listed by rpe ls", USAGE)
    first, comma, _ = name.partition(",")
    if comma:
        stop(f"{name}: shown one at a time: rpe show {first or 'NAME'}", USAGE)


def _resembling(name: str) -> list[str]:
    """Encodings and tasks of a similar name. The name of a run resembles several a little, so it has to be close to one."""
    kinds, cutoff = {"encodings": "an encoding", "tasks": "a task"}, 0.85 if "-" in name else 0.7
    close = {kind: catalog.close_names(name, catalog.names(kind), cutoff) for kind in kinds}
    same = {kind: [other for other in others if other == name.lower()] for kind, others in close.items()}
    shown = same if any(same.values()) else close
    return [f"{other} ({kinds[kind]})" for kind, others in shown.items() for other in others]


def _show_task(choice: str, length: int | None, seed: int, as_json: bool) -> None:
    from rpecli.describe import task_card

    try:
        card = task_card.card(choice, length, seed)
    except ValueError as error:
        stop(str(error), USAGE)
    print_json(card.as_dict()) if as_json else typer.echo(task_card.text(card))


def _show_runs(runs: list[Run], folder: Path, as_json: bool) -> None:
    if as_json:
        records = list(map(run_data, runs))
        print_json(records if len(records) > 1 else records[0])
        return
    typer.echo("\n\n".join("\n".join(run_lines(run, folder)) for run in runs))


def _show_encoding(choice: str, out: Path | None, as_json: bool, **shape: int) -> None:
    from rpecli.describe import effect, figure, text
    from rpecli.plot import FigureError

    try:
        if out is not None:
            figure.kind_of(out)
            require_writable("--out", out.parent)
        profile = effect.profile(choice, **shape)
        if out is not None:
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
