"""`rpe show`: shows a run and its evaluation, or what an encoding does to the attention logits."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rpecli import catalog
from rpecli.choice import is_path, names_in, split_layers, split_list
from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._inputs import MAX_SEED, named_choice, require_writable, try_code
from rpecli.cli._output import new_console, print_json, print_written, say
from rpecli.cli._run_tables import run_data
from rpecli.cli._run_text import run_lines
from rpecli.cli._select import fail_if_unreadable, matching_directories, select_runs, unknown_run, warn_of
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.problems import Message

KINDS = {"encodings": "an encoding", "tasks": "a task"}
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
        int | None,
        typer.Option(min=1, help="Length of a task's examples; or training length of an encoding, drawn to twice that (64)."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Seed of a task's examples, or of an encoding's initial values.")
    ] = 0,
) -> None:
    """Show a run and its evaluation, a task with examples, or what an untrained encoding does to the attention logits.

    To choose runs by task, encoding, seed or state: rpe ls runs --encoding rope
    """
    if name and matching_directories(runs, name) and not any(name in catalog.names(kind) for kind in KINDS):
        flags.refuse(flags.given("--out", "--d-model", "--n-head", "--length", "--seed"), f"{name} is a run")
        _show_runs(select_runs(runs, [name])[0], runs, as_json)
        return
    choice, kind = _choice(name, runs)
    flags.refuse(flags.given("--runs"), f"{name} is {KINDS[kind]}")
    if kind == "tasks":
        flags.refuse(flags.given("--out", "--d-model", "--n-head"), f"{name} is a task")
        _show_task(choice, length, seed, as_json)
    else:
        _show_encoding(choice, out, as_json, d_model=d_model, n_head=n_head, length=length or 64, seed=seed)


def _choice(name: str, runs: Path) -> tuple[str, str]:
    """The choice that a name means, and whether of `encodings` or `tasks`; stops where it means none and no run."""
    listed = split_list(name)
    if not name.strip() or len(listed) > 1:
        stop(f"{name!r}: write one run, task or encoding: rpe show {listed[0] or 'NAME'}", USAGE)
    choice = named_choice(name)
    first = names_in(choice)[0]
    if is_path(first):
        return choice, catalog.kind_of(catalog.find("encodings", first))
    kind = next((kind for kind in KINDS if first in catalog.names(kind)), None)
    if kind is None:
        stop(_unknown(name, first, runs), USAGE)
    return choice, kind


def _unknown(name: str, first: str, runs: Path) -> str:
    """The message about a name that means nothing: `no run 'rop' under runs: did you mean rope (an encoding)?`."""
    if own := catalog.own_file(first, ".py"):
        return f"no run {name!r} under {runs}: did you mean {own}?"
    cutoff = 0.85 if "-" in first else 0.7  # the name of a run resembles several a little
    close = {kind: catalog.close_names(first, catalog.names(kind), cutoff) for kind in KINDS}
    same = {kind: [other for other in others if other == first.lower()] for kind, others in close.items()}
    shown = same if any(same.values()) else close
    if others := [f"{other} ({KINDS[kind]})" for kind, others in shown.items() for other in others]:
        return f"no run {name!r} under {runs}: did you mean {' or '.join(others)}?"
    return f"{unknown_run(runs, name)}; no task or encoding has that name either: rpe ls"


def _show_task(choice: str, length: int | None, seed: int, as_json: bool) -> None:
    from rpecli.describe import task_card
    from rpecli.trial.child import Trial

    try_code([Trial("tasks", choice, lengths=(length or 8,))])
    try:
        card = task_card.card(choice, length, seed)
    except ValueError as error:
        stop(str(error), USAGE)
    print_json(card.as_dict()) if as_json else say(task_card.text(card))


def _show_runs(runs: list[Run], folder: Path, as_json: bool) -> None:
    shown, damaged = list[Any](), list[Message]()
    for run in runs:
        try:
            shown.append(run_data(run) if as_json else "\n".join(run_lines(run, folder)))
        except RunError as error:
            damaged.append((run.path, str(error)))
    warn_of(damaged, folder, "red")
    if shown and as_json:
        print_json(shown if len(runs) > 1 else shown[0])
    elif shown:
        say("\n\n".join(shown))
    fail_if_unreadable([path.name for path, _ in damaged])


def _show_encoding(choice: str, out: Path | None, as_json: bool, **shape: int) -> None:
    from rpecli.describe import effect, figure, text
    from rpecli.plot import FigureError
    from rpecli.trial.child import Trial

    effect.check_shape(shape["d_model"], shape["n_head"], shape["length"])
    try:
        if out is not None:
            figure.kind_of(out)
            require_writable("--out", out.parent)
        parts = split_layers(choice)
        try_code(Trial("encodings", part, shape["d_model"], shape["n_head"], (shape["length"],)) for part in parts)
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
        say(text.markdown(profile))
    if out is not None:
        print_written(str(out))
