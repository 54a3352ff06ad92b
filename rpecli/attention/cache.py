"""What decoding carries along, and the place of padding: before all other tokens of its sequence.

Encodings that count by place (CoPE, PaTH, Abacus) would count padding that stands between tokens. So padding is moved to the
front, where it is as if it were not there, and what the model returns is moved back.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Order:
    """Another order of the places of each sequence."""

    place_BxS: Tensor  # where the token that comes first, second, ... stands

    @classmethod
    def padding_first(cls, padding_mask_BxS: Tensor) -> "Order":
        """Padding, then the other tokens as they were."""
        return cls((~padding_mask_BxS).to(torch.int8).argsort(dim=1, stable=True))

    def tokens(self, x_BxS: Tensor) -> Tensor:
        return x_BxS.expand_as(self.place_BxS).gather(1, self.place_BxS)

    def positions(self, x_LxBxS: Tensor) -> Tensor:
        return torch.stack([self.tokens(x_BxS) for x_BxS in x_LxBxS])

    def heads(self, x_BxHxSxD: Tensor) -> Tensor:
        return x_BxHxSxD.gather(2, self.place_BxS[:, None, :, None].expand_as(x_BxHxSxD))

    def queries(self, query_start: int, query_index_N: Tensor | None) -> Tensor:
        """Where tokens from `query_start` on, flattened, or those of them that `query_index_N` names, have come to stand."""
        (B, T), device = self.place_BxS.shape, self.place_BxS.device
        new_BxT = self.place_BxS.argsort(dim=1)[:, query_start:] - query_start  # below 0 for padding, which nobody reads
        index_N = (new_BxT.clamp(min=0) + torch.arange(B, device=device)[:, None] * (T - query_start)).flatten()
        return index_N if query_index_N is None else index_N[query_index_N]


@dataclass
class Cache:
    """All tokens so far, and the raw keys, values and features of every layer, padding first."""

    ids: Tensor | None = None  # [B, S]
    positions: Tensor | None = None  # [layers or 1, B or 1, S]
    padding_mask: Tensor | None = None  # [B, S], true for padding tokens; None while there are none
    order: Order | None = None  # in which old and new tokens have to be put, if the new ones have brought padding
    layers: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return 0 if self.positions is None else self.positions.shape[-1]

    def extend(self, ids_BxT: Tensor, positions_LxBxT: Tensor, padding_mask_BxT: Tensor | None) -> tuple[Tensor, Tensor]:
        """Adds new tokens, padding first; returns the ids and positions of all tokens."""
        had, self.order = self.length, None
        ids_BxS = ids_BxT if self.ids is None else torch.cat([self.ids, ids_BxT], dim=1)
        positions_LxBxS = positions_LxBxT if self.positions is None else _behind(self.positions, positions_LxBxT)
        if padding_mask_BxT is not None or self.padding_mask is not None:
            new = torch.zeros_like(ids_BxT, dtype=torch.bool) if padding_mask_BxT is None else padding_mask_BxT
            old = new.new_zeros(len(ids_BxT), had) if self.padding_mask is None else self.padding_mask
            self.padding_mask = torch.cat([old, new], dim=1)
            if had and padding_mask_BxT is not None:
                self.order = order = Order.padding_first(self.padding_mask)
                self.padding_mask = order.tokens(self.padding_mask)
                ids_BxS, positions_LxBxS = order.tokens(ids_BxS), order.positions(positions_LxBxS)
        self.ids, self.positions = ids_BxS, positions_LxBxS
        return ids_BxS, positions_LxBxS

    def with_new(self, layer: int, name: str, new_BxHxTxD: Tensor) -> Tensor:
        """Adds new keys, values or features of a layer; returns all of them."""
        known = self.layers.setdefault(layer, {})
        x = torch.cat([known[name], new_BxHxTxD], dim=2) if name in known else new_BxHxTxD
        known[name] = x if self.order is None else self.order.heads(x)
        return known[name]


def _behind(old_LxBxS: Tensor, new_LxBxT: Tensor) -> Tensor:
    """Positions of old and new tokens; either may be those of all sequences."""
    B = max(old_LxBxS.shape[1], new_LxBxT.shape[1])
    return torch.cat([old_LxBxS.expand(-1, B, -1), new_LxBxT.expand(-1, B, -1)], dim=2)
