"""`rpe data`: exports evaluation sets as a dataset that other programs can read."""

from pathlib import Path
from typing import Annotated

import typer

from rpecli.cli import _flags as flags
from rpecli.cli._exit import USAGE, stop
from rpecli.cli._inputs import absolute_lengths, named_choice, try_code
from rpecli.cli._output import say

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
    seed: Annotated[int, typer.Option(min=0, help="Seed of the evaluation sets.")] = 0,
) -> None:
    """Export evaluation sets of a task as a Hugging Face dataset (parquet) with a card."""
    remedy = "multiples need a training length, and a dataset has none: write 16,32 or 16:128"
    numbers = absolute_lengths("--lengths", lengths, remedy)
    from rpecli import task as tasks
    from rpecli.evaluate import hf_dataset
    from rpecli.trial.child import Trial

    choice = named_choice(task)
    try_code([Trial("tasks", choice, lengths=(numbers[0],))])
    built = tasks.build(choice)
    if left_out := [number for number in numbers if not built.has_length(number)]:
        stop(f"--lengths {lengths}: {task} has {built.missing(*left_out)}", USAGE)
    hf_dataset.write(task, built, numbers, samples, seed, out)
    say(f"{len(numbers)} lengths with {samples} sequences each in {out}")
