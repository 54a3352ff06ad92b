"""`rpe data`: exports evaluation sets as a dataset that other programs can read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import FAILURE, USAGE, stop
from rpecli.cli._inputs import MAX_SEED, absolute_lengths, named_choice, require_writable, try_code
from rpecli.cli._output import say
from rpecli.config.recipe import label
from rpecli.table import plural

if TYPE_CHECKING:
    from rpecli.task import Task

EXAMPLES = """
Examples:
  rpe data copy --lengths 16,32,64 --out copy-sets

  rpe data sort:distinct=true --lengths 16:128 --samples 99 --out sort-sets

  # evaluate on what was written
  rpe eval 'copy-*' --data copy-sets
"""


def data(
    task: Annotated[str, typer.Argument(help="Task: NAME or NAME:option=value.", autocompletion=flags.complete_names("tasks"))],
    lengths: Annotated[str, typer.Option(help="Problem lengths: 16,32 or 16:128.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    samples: Annotated[int, typer.Option(min=1, help="Sequences per length.")] = 256,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the evaluation sets.")] = 0,
) -> None:
    """Export evaluation sets of a task as a Hugging Face dataset (parquet) with a card.

    A set that rpe data wrote to the same folder before is replaced; other files are never overwritten.
    """
    remedy = "multiples need a training length, and a dataset has none: write 16,32 or 16:128"
    numbers = absolute_lengths("--lengths", lengths, remedy)
    from rpecli import task as tasks
    from rpecli.evaluate import hf_dataset
    from rpecli.trial.child import Trial

    choice = named_choice(task)
    try:
        hf_dataset.check_size(samples * sum(numbers))  # a sequence has at least `length` tokens; drawing one may take too much
        try_code([Trial("tasks", choice, lengths=(numbers[0],))])
        built = tasks.build(choice)
        _require_lengths(built, choice, numbers)
        hf_dataset.check_size(samples * sum(map(built.sequence, numbers)))
        hf_dataset.check_folder(out, numbers)
    except hf_dataset.DataSetError as error:
        stop(str(error), USAGE)
    require_writable("--out", out / "data")
    try:
        hf_dataset.write(choice, built, numbers, samples, seed, out)
    except OSError as error:
        stop(f"{error.filename or out} cannot be written: {error.strerror or error}", FAILURE)
    say(f"{plural(len(numbers), 'length')} with {plural(samples, 'sequence')} each in {out}")


def _require_lengths(task: "Task", choice: str, lengths: list[int]) -> None:
    """Stops for lengths of which the task has no problem, or none that is held out."""
    test = task.split("test")
    if impossible := [length for length in lengths if not test.has_length(length)]:
        what = test.why_not(impossible[0])
        stop(f"--lengths {','.join(map(str, lengths[:9]))}: {label(choice)} has no problem {what}", USAGE)
