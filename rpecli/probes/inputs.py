"""Evaluation strings as the probes read them: tensors with their positions written out, few at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rpecli import data, task
from rpecli.attention import blocks as attention_blocks
from rpecli.evaluate import hf_dataset as export
from rpecli.evaluate.measure import strings
from rpecli.model import LoadedModel
from rpecli.run.files import RunError


@dataclass(frozen=True)
class Piece:
    """Sequences of one length, what should be said where, and their positions (`[B or 1, T]`, or that for every layer)."""

    inputs_BxT: Tensor
    targets_BxT: Tensor
    answer_BxT: Tensor  # bool: this place says a token of the answer
    positions: Tensor
    block: int  # of the evaluation set
    first: int  # row of the block

    def moved(self, by: int, fillers_BxS: Tensor | None = None) -> "Piece":
        """The same content `by` positions later; with fillers, their tokens stand before it, at positions 0 to `by` - 1."""
        if fillers_BxS is None:
            return replace(self, positions=self.positions + by)
        before = torch.arange(by, device=self.positions.device).expand(*self.positions.shape[:-1], by)
        return replace(
            self,
            inputs_BxT=torch.cat([fillers_BxS, self.inputs_BxT], 1),
            targets_BxT=torch.cat([fillers_BxS, self.targets_BxT], 1),
            answer_BxT=torch.cat([torch.zeros_like(fillers_BxS, dtype=torch.bool), self.answer_BxT], 1),
            positions=torch.cat([before, self.positions + by], -1),
        )


def strings_at(loaded: LoadedModel, length: int, folder: Path | None) -> list[task.Batch]:
    """The evaluation set of a length. Raises run.RunError for a folder that has none."""
    if folder is not None and length not in export.lengths_of(folder):
        raise RunError(f"{folder} has no strings of length {length}: write them with rpe data, or name --lengths it has")
    return strings(loaded.config, loaded.task, length, folder)


def pieces(loaded: LoadedModel, length: int, blocks: Iterable[task.Batch], more: int = 0) -> Iterator[Piece]:
    """An evaluation set, cut so that a head's scores of sequences that grow by `more` tokens stay within a block's cells."""
    for number, block in enumerate(blocks):
        rows = max(1, attention_blocks.CELLS // (block.tokens_BxT.shape[1] + more) ** 2)
        for start in range(0, len(block.tokens_BxT), rows):
            cut = task.Batch(block.tokens_BxT[start : start + rows], block.answer_BxT[start : start + rows])
            yield _piece(loaded, length, cut, number, start)


def _piece(loaded: LoadedModel, length: int, batch: task.Batch, block: int, first: int) -> Piece:
    config = loaded.config
    drawn = data.fixed_positions(loaded.task, config, batch, "evaluation positions", config.eval.eval_seed, length, block)
    framed = data.frame(batch, config)
    where = np.arange(framed.inputs_BxT.shape[1])[None] if drawn is None else drawn
    inputs, targets, answer, positions = (
        torch.tensor(each, device=loaded.device) for each in (framed.inputs_BxT, framed.targets_BxT, framed.answer_BxT, where)
    )
    return Piece(inputs, targets, answer, positions, block, first)


def fillers(loaded: LoadedModel, length: int, piece: Piece, by: int) -> Tensor:
    """Tokens to stand before a piece, `[B, by]`: the task's symbols, uniform and independent, drawn from the evaluation seed.

    The same for every run of a task; fewer fillers are the last of more, the ones next to the begin token.
    """
    rng = data.generator("fillers", loaded.config.eval.eval_seed, length, piece.block)
    symbols_SxB = rng.integers(loaded.task.symbols, size=(by, data.BLOCK))
    rows_BxS = symbols_SxB.T[piece.first : piece.first + len(piece.inputs_BxT), ::-1] + task.SPECIAL
    return torch.tensor(rows_BxS.copy(), device=loaded.device)
