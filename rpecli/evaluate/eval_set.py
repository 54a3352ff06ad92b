"""The evaluation set of a length: drawn from the evaluation seed, or read from a data set that `rpe data` wrote."""

import itertools
from pathlib import Path

from rpecli import data
from rpecli import task as tasks
from rpecli.choice import ChoiceError, parse_choice
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, EvalSettings
from rpecli.evaluate.data_set import open_set
from rpecli.task import Batch, Task

MIN_SEQUENCES = 32  # per length, however long the sequences are


def evaluation_task(config: Config) -> Task:
    """The task to evaluate on: the trained one, or the same with other options that `eval_task` names.

    Raises ChoiceError for one that is another task, or that has other symbols.
    """
    trained, task = tasks.build(config.task), tasks.build(config.evaluated_task)
    name, own = (parse_choice(choice)[0] for choice in (config.evaluated_task, config.task))
    if name != own:
        raise ChoiceError(f"eval_task {name}: the run is trained on {own}: write --eval-task {own}:option=value")
    if (task.vocabulary, task.predicts_sets) != (trained.vocabulary, trained.predicts_sets):
        symbols = f"it has {task.symbols} symbols, the trained task has {trained.symbols}"
        raise ChoiceError(f"eval_task {config.evaluated_task}: {symbols}: choose options that leave them alike")
    return task


def eval_lengths(config: Config, task: Task, folder: Path | None = None) -> list[int]:
    """The lengths to evaluate, ascending: those of the data set, or those of the settings and what leads up to them.

    That is the training length and its doublings below the first length asked for, so that every run shows where it breaks.
    Lengths above the task's greatest are left out; the commands warn of them.
    """
    if folder is not None:
        return open_set(folder).lengths
    task = task.split("test", config.length)
    requested = parse_lengths(config.eval.lengths, config.length)
    doublings = itertools.takewhile(lambda length: length < requested[0], (config.length * 2**k for k in itertools.count()))
    return sorted(filter(task.has_length, {config.length, *doublings, *requested}))


def eval_set(config: Config, task: Task, length: int, folder: Path | None = None) -> list[Batch]:
    """The evaluation set of a length, in blocks of data.BLOCK sequences.

    It has `samples` sequences; long ones are fewer, so that they have `eval_tokens` tokens at most, but at least MIN_SEQUENCES.
    A data set has its own number of sequences. Raises DataSetError for one that does not hold the task or the length.
    """
    settings = config.eval
    if folder is None:
        sequences = n_sequences(settings, task.sequence(length))
        return list(data.evaluation_blocks(task, length, sequences, settings.eval_seed, config.length))
    data_set = open_set(folder)
    data_set.require_task(config.task)
    return data_set.blocks(length, task)


def n_sequences(settings: EvalSettings, T: int) -> int:
    """How many sequences of T tokens an evaluation set has."""
    return min(settings.samples, max(MIN_SEQUENCES, settings.eval_tokens // T))
