"""The evaluation set of a length: drawn from the evaluation seed, or read from a data set that `rpe data` wrote."""

import itertools
from pathlib import Path

from rpecli import data
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, EvalSettings
from rpecli.evaluate import hf_dataset
from rpecli.run.files import RunError
from rpecli.task import Batch, Task

MIN_SEQUENCES = 32  # per length, however long the sequences are


def eval_lengths(config: Config, task: Task, folder: Path | None = None) -> list[int]:
    """The lengths to evaluate, ascending: those of the data set, or those of the settings and what leads up to them.

    That is the training length and its doublings below the first length asked for, so that every run shows where it breaks.
    Lengths above the task's greatest are left out; the commands warn of them.
    """
    if folder is not None:
        return hf_dataset.lengths(folder)
    requested = parse_lengths(config.eval.lengths, config.length)
    doublings = itertools.takewhile(lambda length: length < requested[0], (config.length * 2**k for k in itertools.count()))
    return sorted(filter(task.has_length, {config.length, *doublings, *requested}))


def n_sequences(settings: EvalSettings, sequence: int) -> int:
    """The number of sequences of that many tokens in an evaluation set."""
    return min(settings.samples, max(MIN_SEQUENCES, settings.eval_tokens // sequence))


def eval_set(config: Config, task: Task, length: int, folder: Path | None = None) -> list[Batch]:
    """The evaluation set of a length, in blocks of data.BLOCK sequences.

    It has `samples` sequences; long ones are fewer, so that they have `eval_tokens` tokens at most, but at least MIN_SEQUENCES.
    Raises RunError for a length that the data set does not have, ValueError for a data set with a larger vocabulary.
    """
    settings = config.eval
    if folder is None:
        sequences = n_sequences(settings, task.sequence(length))
        return list(data.evaluation_blocks(task, length, sequences, settings.eval_seed))
    if length not in hf_dataset.lengths(folder):
        raise RunError(f"{folder} has no sequences of length {length}: write them with rpe data, or name --lengths it has")
    blocks = list(hf_dataset.read(folder, length, settings.samples))
    largest = max(int(batch.tokens_BxT.max()) for batch in blocks)
    if largest >= task.vocabulary:
        raise ValueError(
            f"{folder}: has tokens up to {largest}, but the tokens of {config.task} end at {task.vocabulary - 1}: "
            f"write a set of this task with rpe data {config.task}"
        )
    return blocks
