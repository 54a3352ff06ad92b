"""Batches as a pure function of (task, seed, step): nothing to save, nothing to restore, the same on every machine.

Every draw has a generator of its own, named by its purpose, so evaluation sets come from a stream that training never reads.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rpecli.config.recipe import Config, label
from rpecli.table import plural
from rpecli.task import END, PAD, Batch, Task, joined

PARTS = ("train", "validation", "test")  # of a user's own rows
BLOCK = 32  # evaluation sequences are drawn in blocks, so that a larger set begins with the smaller one


def generator(purpose: str, *numbers: int) -> np.random.Generator:
    """The generator of one purpose and its numbers (seed, step, ...)."""
    name = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([name, *numbers])))


def task_generator(purpose: str, config: Config, *numbers: int) -> np.random.Generator:
    """The generator of one purpose in the training of a task.

    Without the task's name, all tasks of one seed would begin with the same weights and read the same prompts, and a comparison
    that pairs runs by task and seed would count one draw several times.
    """
    return generator(f"{purpose} {label(config.task)}", *numbers)


def weight_seed(config: Config, part: str) -> int:
    """The seed of a part of the initial weights, below 2^62: the same for every encoding."""
    return int(task_generator(part, config, config.seed).integers(2**62))


def data_seed(config: Config) -> int:
    """The seed of a run's training data: `data_seed` if given, else the run's seed."""
    return config.seed if config.data_seed is None else config.data_seed


def train_batch(task: Task, config: Config, step: int) -> Batch:
    """The training batch of a step: of one problem length, or with `batch_lengths: mixed` of one for every sequence."""
    task = task.split("train", config.length)
    if config.batch_lengths == "mixed":
        return _mixed_batch(task, config, step)
    rng, length = _train_draw(task, config, step)
    return task.sample(rng, config.batch or max(1, config.tokens // task.sequence(length)), length)


def train_length(task: Task, config: Config, step: int) -> int:
    """The problem length of a step: uniform over min_length to the length that the curriculum allows."""
    return _train_draw(task.split("train", config.length), config, step)[1]


def _train_draw(task: Task, config: Config, step: int) -> tuple[np.random.Generator, int]:
    """The generator of a step, behind the draw of its length, and that length."""
    rng = task_generator("train", config, data_seed(config), step)
    return rng, task.nearest_length(int(rng.integers(config.min_length, curriculum_length(config, step) + 1)))


def _mixed_batch(task: Task, config: Config, step: int) -> Batch:
    """Sequences of any trained length in ascending order, padded to the longest."""
    rng = task_generator("train", config, data_seed(config), step)
    B = config.batch or max(1, config.tokens // task.sequence(config.length))
    lengths, counts = np.unique(rng.integers(config.min_length, curriculum_length(config, step) + 1, size=B), return_counts=True)
    return joined([task.sample(rng, int(n), task.nearest_length(int(k))) for k, n in zip(lengths, counts, strict=True)])


def curriculum_length(config: Config, step: int) -> int:
    """The greatest problem length at a step: it grows linearly over `curriculum` of the steps, then stays at `length`."""
    progress = (step + 1) / max(1.0, config.curriculum * config.steps)
    return min(config.length, config.min_length + int(progress * (config.length - config.min_length + 1)))


@dataclass(frozen=True)
class Examples:
    """What the model reads and what it should predict at each place, all `[B, T]`."""

    inputs_BxT: np.ndarray  # int64
    tokens_BxT: np.ndarray  # int64: the true tokens
    targets_BxT: np.ndarray  # int64: the same or, where a task predicts sets, the set of tokens that may stand there
    answer_mask_BxT: np.ndarray  # bool: the target is part of the answer
    eos_mask_BxT: np.ndarray  # bool: the target is the end token, and not part of the answer
    trained_mask_BxT: np.ndarray  # bool: the target counts in the loss
    padding_mask_BxT: np.ndarray | None  # bool: padding that attention would see; None if there is none
    sets: bool  # whether the targets are sets

    @property
    def scored_BxT(self) -> np.ndarray:  # noqa: N802 - a tensor named by its shape
        """Where predictions are counted: answer tokens and end tokens."""
        return self.answer_mask_BxT | self.eos_mask_BxT


def shift_targets(batch: Batch, config: Config) -> Examples:
    """A decoder predicts the next token: the targets are the inputs, one place later.

    An encoder (`attention: bidirectional`) predicts the token of each place: nothing shifts, and its answer and end tokens are
    read as padding.
    """
    tokens_BxT, answer_BxT, sets = batch.tokens_BxT, batch.answer_mask_BxT, batch.sets_BxT is not None
    targets_BxT = tokens_BxT if batch.sets_BxT is None else batch.sets_BxT
    eos_BxT = (tokens_BxT == END) & ~answer_BxT
    trained_BxT = answer_BxT | eos_BxT if batch.trained_mask_BxT is None else batch.trained_mask_BxT
    if config.attention == "causal":  # nothing looks at padding, which is behind all else
        inputs_BxT, padding_BxT, shift = tokens_BxT[:, :-1], None, 1
    else:
        inputs_BxT, padding_BxT, shift = np.where(answer_BxT | eos_BxT, PAD, tokens_BxT), tokens_BxT == PAD, 0
    tokens_BxT, targets_BxT, answer_BxT, eos_BxT, trained_BxT = (
        array[:, shift:] for array in (tokens_BxT, targets_BxT, answer_BxT, eos_BxT, trained_BxT)
    )
    padding_BxT = padding_BxT if padding_BxT is not None and padding_BxT.any() else None
    return Examples(inputs_BxT, tokens_BxT, targets_BxT, answer_BxT, eos_BxT, trained_BxT, padding_BxT, sets)


def _input_shape(batch: Batch, config: Config) -> tuple[int, int]:
    """The shape `(B, T)` of the inputs that `shift_targets` makes."""
    B, T = batch.tokens_BxT.shape
    return B, T - 1 if config.attention == "causal" else T


def train_positions(task: Task, config: Config, batch: Batch, step: int) -> np.ndarray | None:
    """Positions of a training batch: None for 0, 1, ...; `[B or 1, T]`, or `[layers, 1, T]` if every layer draws its own.

    offset      every sequence starts at a random position in 0..max_position-T
    randomized  one ascending sample without replacement per batch, or per layer (Ruoss et al. 2023, arXiv 2305.16843)
    coupled     the task's position ids, from a random start
    """
    if config.positions == "start":
        return None
    rng = task_generator(config.positions, config, data_seed(config), step)
    B, T = _input_shape(batch, config)
    if config.positions == "offset":
        T_B = (batch.tokens_BxT != PAD).sum(1) if config.batch_lengths == "mixed" else np.full(B, T)  # tokens before padding
        start_Bx1 = rng.integers(config.max_position - T_B + 1)[:, None]
        return np.minimum(start_Bx1 + np.arange(T), config.max_position - 1)
    if config.positions == "coupled":
        ids_BxT = _coupled(task, batch)[:, :T]
        return ids_BxT + rng.integers(max(1, config.max_position - ids_BxT.max()), size=(B, 1))
    return _randomized(rng, config, T)


def fixed_kind(config: Config) -> str:
    """The kind of positions in validation and evaluation: that of training, but `start` for a run that trains at offsets."""
    kind = config.positions if config.eval.eval_positions == "same" else config.eval.eval_positions
    return "start" if kind == "offset" else kind


def other_loops(config: Config) -> int | None:
    """The loops of evaluation where they are not those of training."""
    return None if config.eval.eval_loops in (None, config.loops) else config.eval.eval_loops


def validation_positions(task: Task, config: Config, batch: Batch) -> np.ndarray | None:
    """Positions of a validation batch, as `evaluation_positions`; random ones depend only on the number of tokens."""
    return _fixed_positions(task, config, batch, "validation positions", _input_shape(batch, config)[1])


def evaluation_positions(task: Task, config: Config, batch: Batch, length: int, block: int) -> np.ndarray | None:
    """Positions of a batch of a block of the evaluation set: None for 0, 1, ...; `[B or 1, T]`, or `[layers, 1, T]`.

    Coupled ones are the task's ids; random ones are the same for every run with the same evaluation seed.
    """
    return _fixed_positions(task, config, batch, "evaluation positions", config.eval.eval_seed, length, block)


def evaluated_positions(task: Task, config: Config, blocks: list[Batch], length: int) -> int:
    """The greatest position of an evaluation set, plus 1."""
    places = (evaluation_positions(task, config, block, length, number) for number, block in enumerate(blocks))
    most = (int(array.max()) + 1 for array in places if array is not None)
    return max(most, default=max(_input_shape(block, config)[1] for block in blocks))


def _fixed_positions(task: Task, config: Config, batch: Batch, purpose: str, *numbers: int) -> np.ndarray | None:
    kind, (_, T) = fixed_kind(config), _input_shape(batch, config)
    if kind == "coupled":
        return _coupled(task, batch)[:, :T]
    return _randomized(generator(purpose, *numbers), config, T) if kind == "randomized" else None


def _coupled(task: Task, batch: Batch) -> np.ndarray:
    ids_BxT = task.coupled(batch)
    if ids_BxT is None:
        raise ValueError("this task has no coupled positions")  # launch/preflight.py reports it before
    return np.array(ids_BxT)  # a copy: torch wants it writable


def _randomized(rng: np.random.Generator, config: Config, T: int) -> np.ndarray:
    n_draws = config.n_layer if config.positions_per == "layer" else 1
    draws = [random_positions(rng, max(config.max_position, T), T) for _ in range(n_draws)]
    return np.stack(draws) if n_draws > 1 else draws[0]


def random_positions(rng: np.random.Generator, n_positions: int, T: int) -> np.ndarray:
    """T of the positions 0..n_positions-1 without replacement, ascending, `[1, T]`."""
    return np.sort(rng.choice(n_positions, T, replace=False))[None]


def validation_sets(task: Task, config: Config) -> list[Batch]:
    """Fixed sets at the training length, three quarters and half of it, or at all trained lengths, from a stream of their own."""
    task = task.split("validation", config.length)
    quarters = (max(config.min_length, config.length * k // 4) for k in (2, 3, 4))
    asked = quarters if config.validation_lengths == "quarters" else range(config.min_length, config.length + 1)
    lengths = sorted({task.nearest_length(n) for n in asked})
    return [task.sample(generator("validation", n), config.validation_samples, n) for n in lengths]


def missing_part(task: Task, trained_to: int | None = None, parts: Sequence[str] = PARTS) -> str | None:
    """Which part of the rows of a user's own data has none, and what to do; None where each has some, or problems are drawn."""
    rows = task.problems()
    if rows is None:
        return None
    up_to = "" if trained_to is None else f" up to length {trained_to}"
    remedy = "add rows of the same lengths, or name the splits: split=COLUMN, test_path=FILE"
    for name in parts:
        part = task.split(name, trained_to)
        if not part.has_length(part.nearest_length(trained_to or 1)):
            copies = f", {number} of them copies of others" if (number := task.copied_rows()) else ""
            return (
                f"it has {plural(rows, 'row')}{copies}, and no row{up_to if name != 'test' else ''} is left for {name}: {remedy}"
            )
    return None


def evaluation_blocks(task: Task, length: int, sequences: int, seed: int, trained_to: int | None = None) -> Iterator[Batch]:
    """The evaluation set of a length in blocks of up to BLOCK sequences: the same for every run and encoding.

    `trained_to` is the training length, on which the held-out part of a user's own data depends.
    """
    task = task.split("test", trained_to)
    fixed = task.fixed_set(length, sequences)
    if fixed is not None:
        yield from (fixed.rows(start, start + BLOCK) for start in range(0, len(fixed.tokens_BxT), BLOCK))
        return
    for block, start in enumerate(range(0, sequences, BLOCK)):
        batch = task.sample(generator("evaluation", seed, length, block), BLOCK, length)
        yield batch.rows(0, min(BLOCK, sequences - start))


def fingerprint(blocks: list[Batch]) -> str:
    """Eight hexadecimal digits of an evaluation set; runs that share them were evaluated on the same sequences."""
    digest = hashlib.sha256()
    for batch in blocks:
        digest.update(np.ascontiguousarray(batch.tokens_BxT, dtype="<i4").tobytes())
        digest.update(np.ascontiguousarray(batch.answer_mask_BxT).tobytes())
        if batch.sets_BxT is not None:
            digest.update(np.ascontiguousarray(batch.sets_BxT, dtype="<i8").tobytes())
    return digest.hexdigest()[:8]
