"""The batch of one training step, and the batches of several runs padded to one shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rpecli import data
from rpecli.config.recipe import Config
from rpecli.model import LoadedModel


@dataclass(frozen=True)
class TrainBatch:
    """What one run reads in one step; `positions` as in `data.train_positions`, `n_tokens` as the task drew them."""

    examples: data.Examples
    positions: np.ndarray | None
    n_tokens: int

    @property
    def shape(self) -> tuple[int, int]:
        """Sequences and tokens per sequence."""
        B, T = self.examples.inputs_BxT.shape
        return B, T


def draw_batch(loaded: LoadedModel, step: int) -> TrainBatch:
    """The batch of a step: a function of the config and the step alone, so a resumed run sees the same batches."""
    batch = data.train_batch(loaded.task, loaded.config, step)
    positions = data.train_positions(loaded.task, loaded.config, batch, step)
    return TrainBatch(data.shift_targets(batch, loaded.config), positions, batch.tokens_BxT.size)


@dataclass(frozen=True)
class PaddedBatches:
    """The batches of K runs at one shape, one row per run. Padding follows the tokens, and scored places of it weigh nothing."""

    ids_KxBxT: np.ndarray
    scored_KxN: np.ndarray  # places in the flattened batch of a run
    targets_KxN: np.ndarray
    weight_KxN: np.ndarray  # 1 / number of scored places, so that weighted losses sum to a mean
    positions: np.ndarray | None  # [K, (layers,) B or 1, T]
    padding_mask_KxBxT: np.ndarray | None  # None where causal attention hides the padding anyway


def pad_together(batches: list[TrainBatch], config: Config, explicit_positions: bool) -> PaddedBatches:
    """Pads the batches of several runs to the largest of them.

    `explicit_positions` writes out positions that are 0, 1, ...: an encoding that marks the positions it has been trained on
    must not see those of the padding.
    """
    K = len(batches)
    B, T = np.max([batch.shape for batch in batches], axis=0)
    scored = [np.nonzero(batch.examples.trained_mask_BxT) for batch in batches]
    N = max(len(rows) for rows, _ in scored)
    ids_KxBxT, padding_mask_KxBxT = np.zeros((K, B, T), dtype=np.int64), np.ones((K, B, T), dtype=bool)
    scored_KxN, targets_KxN = (np.zeros((K, N), dtype=np.int64) for _ in range(2))
    weight_KxN = np.zeros((K, N), dtype=np.float32)
    for k, (batch, (rows, columns)) in enumerate(zip(batches, scored, strict=True)):
        n, (b, t) = len(rows), batch.shape
        own = batch.examples.padding_mask_BxT
        ids_KxBxT[k, :b, :t], padding_mask_KxBxT[k, :b, :t] = batch.examples.inputs_BxT, False if own is None else own
        scored_KxN[k, :n], weight_KxN[k, :n] = rows * T + columns, 1 / n
        targets_KxN[k, :n] = batch.examples.targets_BxT[rows, columns]
    needs_mask = config.attention != "causal" and padding_mask_KxBxT.any()
    positions = _pad_positions(batches, T, explicit_positions)
    return PaddedBatches(ids_KxBxT, scored_KxN, targets_KxN, weight_KxN, positions, padding_mask_KxBxT if needs_mask else None)


def _pad_positions(batches: list[TrainBatch], T: int, explicit: bool) -> np.ndarray | None:
    """Positions `[K, (layers,) B or 1, T]`, the last of every sequence repeated; None for 0, 1, ... in all."""
    if batches[0].positions is None and not explicit:
        return None
    positions = [np.arange(batch.shape[1])[None] if batch.positions is None else batch.positions for batch in batches]
    B = max(array.shape[-2] for array in positions)
    return np.stack([_repeat_last(array, B, T) for array in positions])


def _repeat_last(positions: np.ndarray, B: int, T: int) -> np.ndarray:
    *layers, b, t = positions.shape
    return np.pad(positions, [(0, 0)] * len(layers) + [(0, B - b), (0, T - t)], mode="edge")


def group_by_length(shapes: Sequence[tuple[int, int]], launch: float) -> list[list[int]]:
    """Groups batches `(sequences, tokens)` of similar length at the least cost: `launch` per group and 1 per token or padding."""
    order = sorted(range(len(shapes)), key=lambda k: shapes[k][1])
    best: list[tuple[float, int]] = [(0.0, 0)]  # of the first n batches: the least cost, and where the last group begins
    for stop in range(1, len(order) + 1):
        best.append(
            min((best[start][0] + launch + _padded_size([shapes[k] for k in order[start:stop]]), start) for start in range(stop))
        )
    groups, stop = [], len(order)
    while stop:
        start = best[stop][1]
        groups.append(order[start:stop])
        stop = start
    return groups[::-1]


def _padded_size(shapes: list[tuple[int, int]]) -> int:
    return len(shapes) * max(B for B, _ in shapes) * max(T for _, T in shapes)
