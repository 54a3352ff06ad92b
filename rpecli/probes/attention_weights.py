"""What every layer attends to: inputs caught at the blocks' doors, weights computed again, some rows at a time.

The model runs as it is, with the kernel it has; nothing in it changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rpecli.attention import blocks as attention_blocks
from rpecli.attention import reference as attention_reference
from rpecli.encoding import Encoding
from rpecli.model import Attention, Block, LoadedModel, Transformer
from rpecli.probes.inputs import Piece


@dataclass(frozen=True)
class Layer:
    """What the scores of a layer are made of: queries (scaled if the model scales them), keys, normalised input, positions."""

    encoding: Encoding
    normalizer: str
    q_BxHxTxD: Tensor
    k_BxHxTxD: Tensor
    h_BxTxM: Tensor
    positions_BxT: Tensor

    @property
    def causal(self) -> bool:
        return self.encoding.shape.causal

    def scores(self, start: int, stop: int) -> Tensor:
        """Logits of rows start..stop-1, `[B, H, rows, keys]`, no mask; causal keys end with the last row."""
        seen = stop if self.causal else self.k_BxHxTxD.shape[2]
        first = start if self.causal else 0  # both ways, only whole rows of queries line up with their keys
        q, k = self.q_BxHxTxD[:, :, first:stop] if self.causal else self.q_BxHxTxD, self.k_BxHxTxD[:, :, :seen]
        logits = attention_reference.scores(self.encoding, q, k, self.h_BxTxM[:, :seen], self.positions_BxT[:, :seen])
        return logits[:, :, start - first : stop - first]

    def weights(self, start: int, stop: int) -> Tensor:
        """Attention of rows start..stop-1 over all keys, `[B, H, rows, T]`."""
        T = self.k_BxHxTxD.shape[2]
        logits = self.scores(start, stop)
        keys = logits.shape[-1]
        dark = (
            attention_reference.causal_mask(stop - start, keys, logits.device)
            if self.causal
            else logits.new_zeros(1, keys).bool()
        )
        return torch.nn.functional.pad(attention_reference.NORMALIZERS[self.normalizer](logits, dark[None, None]), (0, T - keys))

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of rows whose scores stay within a block's cells; all at once where attention goes both ways."""
        B, _, T, _ = self.k_BxHxTxD.shape
        rows = max(1, attention_blocks.CELLS // (B * T)) if self.causal else T
        return ((start, min(start + rows, T)) for start in range(0, T, rows))


@contextmanager
def tap(model: Transformer) -> Iterator[list[Layer]]:
    """A list that fills with the model's layers as it runs, one batch after another."""
    caught: list[Layer] = []
    doors = [block.register_forward_pre_hook(partial(_catch, caught), with_kwargs=True) for block in model.blocks]
    try:
        yield caught
    finally:
        for door in doors:
            door.remove()


def layers(loaded: LoadedModel, piece: Piece) -> list[Layer]:
    """The layers as they are when the model reads a piece."""
    with tap(loaded.model) as caught:
        loaded.model(piece.inputs_BxT, piece.positions)
    return caught


def _catch(caught: list[Layer], block: Block, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    x_BxTxM, layer = arguments
    h_BxTxM, attention = block.norm1(x_BxTxM), block.attention
    q, k = (linear(h_BxTxM).unflatten(-1, (attention.n_head, -1)).transpose(1, 2) for linear in (attention.q, attention.k))
    caught.append(Layer(layer.encoding, attention.normalizer, scaled(attention, q), k, h_BxTxM, layer.positions_BxS))


def scaled(attention: Attention, q_BxHxTxD: Tensor) -> Tensor:
    """Queries times the factor that `logit_scale` gives them."""
    T = q_BxHxTxD.shape[2]
    seen_T = torch.arange(1, T + 1, device=q_BxHxTxD.device)
    return attention.logit_scale(q_BxHxTxD, (seen_T if attention.causal else torch.full_like(seen_T, T))[None])


def at_rows(layer: Layer, rows_BxT: Tensor) -> Tensor:
    """Attention `[N, H, T]` of the rows that `rows_BxT` marks, sequence by sequence."""
    b_N, i_N = rows_BxT.nonzero(as_tuple=True)
    _, H, T, _ = layer.k_BxHxTxD.shape
    out_NxHxT = layer.k_BxHxTxD.new_empty(len(b_N), H, T)
    for start, stop in layer.blocks():
        here_N = (i_N >= start) & (i_N < stop)
        if here_N.any():
            out_NxHxT[here_N] = layer.weights(start, stop)[b_N[here_N], :, i_N[here_N] - start]
    return out_NxHxT
