"""What every layer attends to: its inputs, caught by forward pre-hooks, and its weights, computed from them some rows at a time.

The model runs with the kernel that it always has; nothing in it changes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rpecli.attention import reference as attention_reference
from rpecli.encoding import Encoding
from rpecli.model import Block, LoadedModel, Transformer
from rpecli.probes.inputs import ProbeBatch


@dataclass(frozen=True)
class LayerInputs:
    """What the scores of a layer are computed from: queries (after `logit_scale`), keys, the normalised input, positions."""

    encoding: Encoding
    normalizer: str
    q_BxHxTxD: Tensor
    k_BxHxTxD: Tensor
    h_BxTxM: Tensor
    positions_BxT: Tensor
    max_cells: int  # of a block of scores `[B, rows, T]`

    @property
    def causal(self) -> bool:
        return self.encoding.shape.causal

    def scores(self, start: int, stop: int) -> Tensor:
        """Logits of rows start..stop-1 without a mask, `[B, H, rows, keys]`; causal keys end with the last row."""
        n_keys = stop if self.causal else self.k_BxHxTxD.shape[2]
        first = start if self.causal else 0  # in bidirectional attention queries line up with keys only if all are there
        q, k = self.q_BxHxTxD[:, :, first:stop] if self.causal else self.q_BxHxTxD, self.k_BxHxTxD[:, :, :n_keys]
        logits = attention_reference.scores(self.encoding, q, k, self.h_BxTxM[:, :n_keys], self.positions_BxT[:, :n_keys])
        return logits[:, :, start - first : stop - first]

    def weights(self, start: int, stop: int) -> Tensor:
        """Attention of rows start..stop-1 over all keys, `[B, H, rows, T]`."""
        T = self.k_BxHxTxD.shape[2]
        logits = self.scores(start, stop)
        n_keys = logits.shape[-1]
        if self.causal:
            masked_RxS = attention_reference.causal_mask(stop - start, n_keys, logits.device)
        else:
            masked_RxS = logits.new_zeros(1, n_keys).bool()
        weights = attention_reference.NORMALIZERS[self.normalizer](logits, masked_RxS[None, None])
        return torch.nn.functional.pad(weights, (0, T - n_keys))

    def row_blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of rows whose scores stay within `max_cells`; all rows at once in bidirectional attention."""
        B, _, T, _ = self.k_BxHxTxD.shape
        rows = max(1, self.max_cells // (B * T)) if self.causal else T
        return ((start, min(start + rows, T)) for start in range(0, T, rows))


@contextmanager
def capture_layers(model: Transformer) -> Iterator[list[LayerInputs]]:
    """A list that receives the inputs of every layer as the model runs, one batch after another."""
    captured: list[LayerInputs] = []
    capture = partial(_capture, captured, model.block_sizes.cells)
    hooks = [block.register_forward_pre_hook(capture, with_kwargs=True) for block in model.blocks]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()


def n_passes(loaded: LoadedModel) -> int:
    """Passes through a layer: with loops over the layers, several of each."""
    return loaded.model.loops * len(loaded.model.blocks)


def layer_inputs(loaded: LoadedModel, batch: ProbeBatch) -> list[LayerInputs]:
    """The inputs of every layer when the model reads a batch."""
    with capture_layers(loaded.model) as layers:
        loaded.model(batch.inputs_BxT, batch.positions)
    return layers


def _capture(
    captured: list[LayerInputs], max_cells: int, block: Block, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    (x_BxTxM, layer), attention = arguments, block.attention
    mix = block.mix(layer)
    h_BxTxM = block.attention_input(x_BxTxM, mix)
    q, k, _ = attention.projected(h_BxTxM, layer, mix)
    q = attention.scale_queries(q, q.shape[2], layer.encoding)
    captured.append(LayerInputs(layer.encoding, attention.normalizer, q, k, h_BxTxM, layer.positions_BxS, max_cells))


def attention_rows(layer: LayerInputs, rows_BxT: Tensor) -> Tensor:
    """Attention `[N, H, T]` of the rows where `rows_BxT` is true, sequence by sequence."""
    b_N, i_N = rows_BxT.nonzero(as_tuple=True)
    _, H, T, _ = layer.k_BxHxTxD.shape
    weights_NxHxT = layer.k_BxHxTxD.new_empty(len(b_N), H, T)
    for start, stop in layer.row_blocks():
        in_block_N = (i_N >= start) & (i_N < stop)
        if in_block_N.any():
            weights_NxHxT[in_block_N] = layer.weights(start, stop)[b_N[in_block_N], :, i_N[in_block_N] - start]
    return weights_NxHxT
