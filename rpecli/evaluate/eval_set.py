"""The evaluation set of a length: drawn from the evaluation seed, or read from a data set that `rpe data` wrote."""

import os
import shlex
from pathlib import Path

from rpecli import data
from rpecli import task as tasks
from rpecli.choice import ESCAPES, ChoiceError, parse_choice
from rpecli.config.recipe import Config
from rpecli.evaluate.data_set import open_set
from rpecli.run.code import require_trained_task
from rpecli.task import Batch, Task


def evaluation_task(config: Config) -> Task:
    """The task to evaluate on: the trained one, or the same with other options that `eval_task` names.

    Raises ChoiceError for one that is another task, that has other symbols, or that leaves out the data of the run.
    """
    require_trained_task(config.task, config.evaluated_task)
    trained, task = tasks.build(config.task), tasks.build(config.evaluated_task)
    (name, options), (_, own_options) = (parse_choice(choice) for choice in (config.evaluated_task, config.task))
    if "path" in own_options.keys() - options.keys():
        path = os.path.relpath(own_options["path"]).translate(ESCAPES)
        words = shlex.quote(":".join([name, f"path={path}", *(f"{key}={value}" for key, value in options.items())]))
        lacks = f"it leaves out path={path}, on which the run is trained"
        raise ChoiceError(f"eval_task {config.evaluated_task}: {lacks}: write --eval-task {words}")
    if (task.vocabulary, task.predicts_sets) != (trained.vocabulary, trained.predicts_sets):
        symbols = f"it has {task.symbols} symbols, the trained task has {trained.symbols}"
        raise ChoiceError(f"eval_task {config.evaluated_task}: {symbols}: choose options that leave them alike")
    return task


def eval_lengths(config: Config, task: Task, folder: Path | None = None) -> list[int]:
    """The lengths to evaluate, ascending: those of the data set, or those of the settings.

    Lengths above the task's greatest are left out; the commands warn of them.
    """
    if folder is not None:
        return open_set(folder).lengths
    return list(filter(task.split("test", config.length).has_length, config.eval.lengths_after(config.length)))


def eval_set(config: Config, task: Task, length: int, folder: Path | None = None) -> list[Batch]:
    """The evaluation set of a length, in blocks of data.BLOCK sequences.

    It has `samples` sequences; long ones are fewer, so that they have `eval_tokens` tokens at most, but at least MIN_SEQUENCES.
    A data set has its own number of sequences. Raises DataSetError for one that does not hold the task or the length.
    """
    settings = config.eval
    if folder is None:
        sequences = settings.n_sequences(task.sequence(length))
        return list(data.evaluation_blocks(task, length, sequences, settings.eval_seed, config.length))
    data_set = open_set(folder)
    data_set.require_task(config.task)
    return data_set.blocks(length, task)
