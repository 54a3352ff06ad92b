"""Which sequences of an evaluation set are no new problems: those that stand in it before, and those that training had.

Training and evaluation draw from streams of their own, so that long problems never meet. Of short ones there are not enough: 16
strings of 4 bits are all in training. Batches are a function of the step, so that those of training are drawn again and compared.
"""

from collections.abc import Iterable

from rpecli import data
from rpecli.config.recipe import Config
from rpecli.task import PAD, Batch, Task


def repeated(blocks: list[Batch]) -> float:
    """The share of the sequences that stand before in the set."""
    rows = [row for block in blocks for row in _rows(block)]
    return 1 - len(set(rows)) / len(rows)


def seen(config: Config, task: Task, length: int, blocks: list[Batch], steps: int) -> float | None:
    """The share of the sequences that were in the first `steps` of training.

    None for problems that are read, not drawn, and for batches of mixed lengths, all of which would have to be drawn again.
    """
    if task.split("train", config.length) is not task or config.eval.eval_task:
        return None
    if length > config.length:
        return 0.0
    if config.batch_lengths == "mixed":
        return None
    rows = [row for block in blocks for row in _rows(block)]
    left = set(rows)
    for batch in _training(config, task, length, steps):
        left.difference_update(_rows(batch))
        if not left:
            break
    return sum(row not in left for row in rows) / len(rows)


def _training(config: Config, task: Task, length: int, steps: int) -> Iterable[Batch]:
    """The batches of training that have problems of this length."""
    for step in range(steps):
        if data.train_length(task, config, step) == length:
            yield data.train_batch(task, config, step)


def _rows(batch: Batch) -> list[bytes]:
    """The sequences, without the padding behind them."""
    tokens_BxT = batch.tokens_BxT.astype("<i4")
    text, width, length_B = tokens_BxT.tobytes(), 4 * tokens_BxT.shape[1], 4 * (tokens_BxT != PAD).sum(axis=1)
    return [text[start : start + int(length)] for start, length in zip(range(0, len(text), width), length_B, strict=True)]
