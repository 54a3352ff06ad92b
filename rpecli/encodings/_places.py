"""A learned vector for the place of a token that follows from the tokens, over another encoding that acts as well."""

from dataclasses import replace
from typing import Self

from torch import Tensor

from rpecli import encoding
from rpecli.encoding import Encoding, Shape
from rpecli.encodings.learned import Learned


class PlacesOver(Encoding):
    """Adds the rows of a table to the token embeddings, and leaves the scores to the encoding `over`."""

    def __init__(self, shape: Shape, over: str, rows: int, std: float = 1.0):
        super().__init__(shape)
        self.over = encoding.make(over, shape)
        self.shared, self.causal_only, self.shift_invariant = self.over.shared, self.over.causal_only, self.over.shift_invariant
        self.table: Learned | None = Learned(replace(shape, max_train_length=rows), std=std)

    def places(self, ids_BxS: Tensor) -> Tensor:
        """The row of every token, `[B, S]`."""
        raise NotImplementedError

    def rows_now(self, ids_BxS: Tensor) -> Tensor:
        """Those that are added; an encoding may move them in training."""
        return self.places(ids_BxS)

    @property
    def on_scores(self) -> Encoding:
        return self.over.on_scores

    def share_with(self, first: Self) -> None:
        self.over.share_with(first.over)
        if first is not self:
            self.table = None  # the first layer's instance adds to the embeddings, once

    def embed(self, x_BxTxM: Tensor, positions_BxT: Tensor, ids_BxS: Tensor) -> Tensor:
        x_BxTxM = self.over.embed(x_BxTxM, positions_BxT, ids_BxS)
        if self.table is None:
            return x_BxTxM
        return self.table.embed(x_BxTxM, self.rows_now(ids_BxS)[:, -x_BxTxM.shape[1] :], ids_BxS)

    def untrained(self, positions_BxT: Tensor, ids_BxT: Tensor | None = None) -> int:
        untrained = self.over.untrained(positions_BxT, ids_BxT)
        if ids_BxT is None or self.table is None:
            return untrained
        return max(untrained, self.table.untrained(self.places(ids_BxT)))
