"""Evaluation sequences as the probes read them: tensors with their positions written out, a few sequences at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rpecli import data
from rpecli.model import LoadedModel
from rpecli.task import SPECIAL, Batch

SCORES = 4  # blocks of scores in a batch: with one, ten shifts of a small run took 1.1 s, with four 0.45 s, with more 0.4 s


@dataclass(frozen=True)
class ProbeBatch:
    """Sequences of one length, what the model should predict at each place, and their positions."""

    inputs_BxT: Tensor
    targets_BxT: Tensor
    answer_mask_BxT: Tensor  # bool: the target is a token of the answer
    positions: Tensor  # `[B or 1, T]`, or `[layers, B or 1, T]` if every layer has its own
    block: int  # of the evaluation set
    first: int  # place of the first sequence in the block
    sets: bool = False  # whether the targets are sets of tokens

    def shifted(self, by: int, prefix_BxS: Tensor | None = None) -> "ProbeBatch":
        """The same tokens `by` positions later, alone or behind a prefix at positions 0 to `by` - 1."""
        if prefix_BxS is None:
            return replace(self, positions=self.positions + by)
        prefix_positions = torch.arange(by, device=self.positions.device).expand(*self.positions.shape[:-1], by)
        return replace(
            self,
            inputs_BxT=torch.cat([prefix_BxS, self.inputs_BxT], 1),
            targets_BxT=torch.cat([prefix_BxS, self.targets_BxT], 1),
            answer_mask_BxT=torch.cat([torch.zeros_like(prefix_BxS, dtype=torch.bool), self.answer_mask_BxT], 1),
            positions=torch.cat([prefix_positions, self.positions + by], -1),
        )


def probe_batches(loaded: LoadedModel, length: int, blocks: Iterable[Batch], prefix: int = 0) -> Iterator[ProbeBatch]:
    """An evaluation set in batches so small that a head's scores, with `prefix` more tokens, are SCORES blocks at most."""
    for number, block in enumerate(blocks):
        size = max(1, SCORES * loaded.model.block_sizes.cells // (block.tokens_BxT.shape[1] + prefix) ** 2)
        for first in range(0, len(block.tokens_BxT), size):
            yield _probe_batch(loaded, length, block.rows(first, first + size), number, first)


def _probe_batch(loaded: LoadedModel, length: int, batch: Batch, block: int, first: int) -> ProbeBatch:
    places = data.evaluation_positions(loaded.task, loaded.config, batch, length, block)
    examples = data.shift_targets(batch, loaded.config)
    if places is None:
        places = np.arange(examples.inputs_BxT.shape[1])[None]
    inputs_BxT, targets_BxT, answer_mask_BxT, positions = (
        torch.tensor(array, device=loaded.device)
        for array in (examples.inputs_BxT, examples.targets_BxT, examples.answer_mask_BxT, places)
    )
    return ProbeBatch(inputs_BxT, targets_BxT, answer_mask_BxT, positions, block, first, examples.sets)


def random_prefix(loaded: LoadedModel, length: int, batch: ProbeBatch, tokens: int) -> Tensor:
    """Tokens to put before a batch, `[B, tokens]`: the task's symbols, uniform and independent, from the evaluation seed.

    They are the same for every run of a task. A shorter prefix is the end of a longer one, the part next to the begin token.
    """
    rng = data.generator("fillers", loaded.config.eval.eval_seed, length, batch.block)  # the name decides the numbers
    symbols_SxB = rng.integers(loaded.task.symbols, size=(tokens, data.BLOCK))
    prefix_BxS = symbols_SxB.T[batch.first : batch.first + len(batch.inputs_BxT), ::-1] + SPECIAL
    return torch.tensor(prefix_BxS.copy(), device=loaded.device)
