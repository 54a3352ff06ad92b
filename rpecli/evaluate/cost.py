"""How long an evaluation takes, from the time of one batch of each length."""

import time

from rpecli import data
from rpecli.evaluate.eval_set import eval_lengths
from rpecli.evaluate.measure import measure
from rpecli.evaluate.memory import batch_size_for
from rpecli.model import LoadedModel
from rpecli.task import Batch

ENOUGH = 0.5  # seconds of measuring


def seconds(loaded: LoadedModel, scored: bool = True) -> float:
    """Seconds to draw the evaluation sets of a model and, where they are `scored`, to measure them, from one batch of each."""
    return sum(_seconds_of(loaded, length, scored) for length in eval_lengths(loaded.config, loaded.task))


def by_length(loaded: LoadedModel, batch_tokens: int) -> dict[int, float]:
    """Seconds to draw and to measure a sequence of each length, from one small batch after another that allocates."""
    seconds = {}
    for length in eval_lengths(loaded.config, loaded.task):
        n = batch_size_for(loaded.task.sequence(length), batch_tokens)
        start = time.monotonic()
        block = next(data.evaluation_blocks(loaded.task, length, n, loaded.config.eval.eval_seed, loaded.config.length))
        drawn = time.monotonic() - start
        measure(loaded, length, [block], [])
        start = time.monotonic()
        measure(loaded, length, [block], [])
        seconds[length] = (drawn + time.monotonic() - start) / len(block.tokens_BxT)
    return seconds


def _seconds_of(loaded: LoadedModel, length: int, scored: bool) -> float:
    config, T = loaded.config, loaded.task.sequence(length)
    start = time.monotonic()
    block = next(data.evaluation_blocks(loaded.task, length, data.BLOCK, config.eval.eval_seed, config.length))
    data.fingerprint([block])
    drawn = (time.monotonic() - start) / len(block.tokens_BxT)
    measured = _batch_seconds(loaded, length, block.rows(0, batch_size_for(T))) if scored else 0.0
    return config.eval.n_sequences(T) * (drawn + measured)


def _batch_seconds(loaded: LoadedModel, length: int, batch: Batch) -> float:
    """Seconds per sequence of a batch: the mean after the first time, which is slower, for half a second."""
    measure(loaded, length, [batch], [])
    start, times = time.monotonic(), 0
    while not times or time.monotonic() - start < ENOUGH:
        measure(loaded, length, [batch], [])
        times += 1
    return (time.monotonic() - start) / times / len(batch.tokens_BxT)
