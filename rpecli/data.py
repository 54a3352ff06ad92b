"""Batches as a pure function of (task, seed, step): nothing to save, nothing to restore, the same on every machine.

Every draw takes its own generator, named by its purpose, so evaluation strings come from a stream that training never reads.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from rpecli.recipe import Config
from rpecli.task import Batch, Task

BLOCK = 32  # evaluation sequences are drawn in blocks, so that a larger set begins with the smaller one


def generator(purpose: str, *numbers: int) -> np.random.Generator:
    """The generator of one purpose and its numbers (seed, step, ...)."""
    name = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([name, *numbers])))


def train_batch(task: Task, config: Config, step: int) -> tuple[Batch, int]:
    """The training batch of one step and its problem length: uniform over what the curriculum has reached."""
    seed = config.seed if config.data_seed is None else config.data_seed
    rng = generator("train", seed, step)
    length = int(rng.integers(config.min_length, longest(config, step) + 1))
    return task.sample(rng, max(1, config.tokens // task.sequence(length)), length), length


def longest(config: Config, step: int) -> int:
    """The longest problem at a step: grows linearly from min_length over `curriculum` of the steps, then stays at length."""
    grown = (step + 1) / max(1.0, config.curriculum * config.steps)
    return min(config.length, config.min_length + int(grown * (config.length - config.min_length + 1)))


def train_positions(config: Config, batch: int, length: int, step: int) -> np.ndarray | None:
    """Positions of a training batch: None for 0, 1, ...; `[batch, length]` for offsets, `[1, length]` for one random draw.

    offset: every sequence starts somewhere in 0..max_position-length. randomized: one ascending sample without replacement a
    batch, as in Ruoss et al. 2023 (arXiv 2305.16843).
    """
    seed = config.seed if config.data_seed is None else config.data_seed
    if config.positions == "start":
        return None
    rng = generator(config.positions, seed, step)
    if config.positions == "offset":
        return rng.integers(config.max_position - length + 1, size=(batch, 1)) + np.arange(length)
    return random_positions(rng, config.max_position, length)


def fixed_positions(config: Config, length: int, purpose: str, *numbers: int) -> np.ndarray | None:
    """Positions where a run is measured: 0, 1, ... (None) but for randomized, which stays random, the same draw for every run."""
    if config.positions != "randomized":
        return None
    return random_positions(generator(purpose, *numbers), max(config.max_position, length), length)


def random_positions(rng: np.random.Generator, among: int, length: int) -> np.ndarray:
    """`length` of 0..among-1, ascending, `[1, length]`."""
    return np.sort(rng.choice(among, length, replace=False))[None]


def validation_sets(task: Task, config: Config, sequences: int = 64) -> list[Batch]:
    """Fixed sets at the training length, three quarters and half of it, from a stream of their own."""
    lengths = {max(config.min_length, config.length * k // 4) for k in (2, 3, 4)}
    return [task.sample(generator("validation", n), sequences, n) for n in sorted(lengths)]


def evaluation_blocks(task: Task, length: int, sequences: int, seed: int) -> Iterator[Batch]:
    """The evaluation set of a length in blocks of up to BLOCK: the same strings for every run and encoding."""
    for block, start in enumerate(range(0, sequences, BLOCK)):
        batch = task.sample(generator("evaluation", seed, length, block), BLOCK, length)
        keep = min(BLOCK, sequences - start)
        yield Batch(batch.tokens_BxT[:keep], batch.answer_BxT[:keep])


def fingerprint(blocks: list[Batch]) -> str:
    """Eight hex digits of an evaluation set, to prove that two runs were measured on the same strings."""
    digest = hashlib.sha256()
    for batch in blocks:
        digest.update(np.ascontiguousarray(batch.tokens_BxT, dtype="<i4").tobytes())
        digest.update(np.ascontiguousarray(batch.answer_BxT).tobytes())
    return digest.hexdigest()[:8]
