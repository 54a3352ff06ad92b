"""Abacus: a learned vector for the place of a digit in its number, added to the token embeddings.

x_i = token_i + P[a_i + k],  a_i = 1, 2, ... within each run of digits, P[0] for other tokens;  P ~ N(0, 1) at first

Numbers are best written with the least significant digit first. In training one k from 0..max_k, the same for a whole batch, is
added so that later rows learn too: a pure function of the batch's tokens and the run's seed. `digits` is how many symbols of the
vocabulary count as digits (0: all), `over` another encoding that acts as well (none, fire, rope, ...). Blank tokens, as the
answers of an encoder are, have no place. Past the training length runs of digits longer than training's longest plus max_k meet
rows at their initial values.
"""

import torch
from torch import Tensor

from rpecli.encoding import Shape
from rpecli.encodings import _require as require
from rpecli.encodings._places import PlacesOver
from rpecli.task import SPECIAL


class Abacus(PlacesOver):
    title = "Abacus"
    group = "APE"
    paper = "Transformers Can Do Arithmetic with the Right Embeddings, 2024, arXiv 2405.17399"
    extrapolation = "rows at their initial values"

    def __init__(self, shape: Shape, *, digits: int = 0, max_k: int = 99, rows: int = 1024, over: str = "none"):
        require.at_least(0, digits=digits, max_k=max_k, rows=rows)
        super().__init__(shape, over, max(rows, shape.max_train_length + max_k + 1))
        if isinstance(self.over, Abacus):
            raise ValueError("over=abacus: write another encoding, such as over=rope, or leave it out")
        self.digits, self.max_k = digits, max_k

    @property
    def named_symbols(self) -> int:
        return self.digits

    def places(self, ids_BxS: Tensor) -> Tensor:
        """1, 2, ... within each run of digits, 0 for other tokens."""
        digit_BxS = (ids_BxS >= SPECIAL) & ((ids_BxS < SPECIAL + self.digits) | (self.digits == 0))
        count_S = torch.arange(1, ids_BxS.shape[1] + 1, device=ids_BxS.device)
        return count_S - count_S.where(~digit_BxS, 0).cummax(dim=1).values

    def rows_now(self, ids_BxS: Tensor) -> Tensor:
        place_BxS = self.places(ids_BxS)
        if self.training and self.table is not None:
            place_BxS = place_BxS + (place_BxS > 0) * self._offset(ids_BxS, int(self.table.seed))
        return place_BxS

    def _offset(self, ids_BxS: Tensor, seed: int) -> int:
        weight_N = torch.arange(1, ids_BxS.numel() + 1, device=ids_BxS.device)
        generator = torch.Generator().manual_seed(int((ids_BxS.flatten() * weight_N).sum()) * 4099 + seed)
        return int(torch.randint(self.max_k + 1, (1,), generator=generator))
