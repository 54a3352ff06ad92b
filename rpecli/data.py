"""Batches as a pure function of (task, seed, step): nothing to save, nothing to restore, the same on every machine.

Every draw takes its own generator, named by its purpose, so evaluation strings come from a stream that training never reads.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rpecli.config.recipe import Config
from rpecli.task import END, PAD, Batch, Task

BLOCK = 32  # evaluation sequences are drawn in blocks, so that a larger set begins with the smaller one


def generator(purpose: str, *numbers: int) -> np.random.Generator:
    """The generator of one purpose and its numbers (seed, step, ...)."""
    name = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([name, *numbers])))


def data_seed(config: Config) -> int:
    """The seed of a run's training data: its own unless `data_seed` says another."""
    return config.seed if config.data_seed is None else config.data_seed


def train_batch(task: Task, config: Config, step: int) -> Batch:
    """The training batch of one step, of one problem length: uniform over what the curriculum has reached."""
    rng = generator("train", data_seed(config), step)
    length = int(rng.integers(config.min_length, longest(config, step) + 1))
    return task.sample(rng, max(1, config.tokens // task.sequence(length)), length)


def longest(config: Config, step: int) -> int:
    """The longest problem at a step: grows linearly from min_length over `curriculum` of the steps, then stays at length."""
    grown = (step + 1) / max(1.0, config.curriculum * config.steps)
    return min(config.length, config.min_length + int(grown * (config.length - config.min_length + 1)))


@dataclass(frozen=True)
class Framed:
    """What the model reads and what it should say at each place, all `[B, T]`: tokens, tokens, two masks."""

    inputs_BxT: np.ndarray
    targets_BxT: np.ndarray
    answer_BxT: np.ndarray
    end_BxT: np.ndarray


def frame(batch: Batch, config: Config) -> Framed:
    """A decoder says the next token; an encoder (attention: bidirectional) fills answers and end tokens that are left blank."""
    tokens_BxT, answer_BxT, end_BxT = batch.tokens_BxT, batch.answer_BxT, batch.tokens_BxT == END
    if config.attention == "causal":
        return Framed(tokens_BxT[:, :-1], tokens_BxT[:, 1:], answer_BxT[:, 1:], end_BxT[:, 1:])
    return Framed(np.where(answer_BxT | end_BxT, PAD, tokens_BxT), tokens_BxT, answer_BxT, end_BxT)


def _read(batch: Batch, config: Config) -> tuple[int, int]:
    """Sequences, and how many tokens of each the model reads: the shape of `frame`'s inputs, without making them."""
    B, T = batch.tokens_BxT.shape
    return B, T - 1 if config.attention == "causal" else T


def train_positions(made: Task, config: Config, batch: Batch, step: int) -> np.ndarray | None:
    """Positions of a training batch: None for 0, 1, ...; `[B or 1, T]`, or `[layers, 1, T]` where every layer draws its own.

    offset: every sequence starts somewhere in 0..max_position-T. randomized: one ascending sample without replacement a batch,
    or a layer, as in Ruoss et al. 2023 (arXiv 2305.16843). coupled: the task's own ids, from a random start.
    """
    if config.positions == "start":
        return None
    rng = generator(config.positions, data_seed(config), step)
    B, T = _read(batch, config)
    if config.positions == "offset":
        return rng.integers(config.max_position - T + 1, size=(B, 1)) + np.arange(T)
    if config.positions == "coupled":
        ids_BxT = _coupled(made, batch)[:, :T]
        return ids_BxT + rng.integers(max(1, config.max_position - ids_BxT.max()), size=(B, 1))
    return _randomized(rng, config, T)


def fixed_kind(config: Config) -> str:
    """Where a run is measured: offset trains at random starts and is measured from 0; the others stay what they are."""
    kind = config.positions if config.eval.eval_positions == "same" else config.eval.eval_positions
    return "start" if kind == "offset" else kind


def fixed_positions(made: Task, config: Config, batch: Batch, purpose: str, *numbers: int) -> np.ndarray | None:
    """Positions where a run is measured: 0, 1, ... (None), the task's own, or random ones that are the same for every run."""
    kind, (_, T) = fixed_kind(config), _read(batch, config)
    if kind == "coupled":
        return _coupled(made, batch)[:, :T]
    return _randomized(generator(purpose, *numbers), config, T) if kind == "randomized" else None


def _coupled(made: Task, batch: Batch) -> np.ndarray:
    ids_BxT = made.coupled(batch)
    if ids_BxT is None:
        raise ValueError("this task has no coupled positions")  # the checks of a recipe say so before
    return np.array(ids_BxT)  # a copy: torch wants it writable


def _randomized(rng: np.random.Generator, config: Config, length: int) -> np.ndarray:
    draws = config.n_layer if config.positions_per == "layer" else 1
    among = max(config.max_position, length)
    drawn = [random_positions(rng, among, length) for _ in range(draws)]
    return np.stack(drawn) if draws > 1 else drawn[0]


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
