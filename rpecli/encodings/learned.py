"""A learned table with one vector per position, added to the token embeddings.

x_i = token_i + P[i],  P[i] ~ N(0, std^2) at first

Past the training length rows stand at their initial values: the table grows to whatever length is evaluated, row i is a pure
function of the run's seed, and `untrained` counts the rows that training never touched. With training from random offsets
(`--positions offset`) every row learns.
"""

import torch
from torch import Tensor, nn

from rpecli import options
from rpecli.encoding import Encoding, Shape
from rpecli.encodings import _require as require

BLOCK = 512  # rows drawn at a time, each block from its own seed


class Learned(Encoding):
    title = "Learned"
    group = "APE"
    baseline = True
    paper = "Convolutional Sequence to Sequence Learning, 2017, arXiv 1705.03122"
    shared = True
    shift_invariant = False
    extrapolation = "rows at their initial values"
    look = ("#D55E00", "o")
    seed: Tensor
    touched_R: Tensor

    def __init__(self, shape: Shape, *, std: float = 1.0):
        super().__init__(shape)
        require.at_least(0, std=std)
        if problem := options.parameters_problem(shape.max_train_length * shape.d_model, "lower it, or d_model"):
            raise ValueError(f"a table of {shape.max_train_length:,} rows {problem}")
        self.std = std
        self.register_buffer("seed", torch.randint(2**31, (1,)))
        self.table_RxM = nn.Parameter(torch.cat([self._rows(b) for b in range(-(-shape.max_train_length // BLOCK))]))
        self.register_buffer("touched_R", torch.zeros(len(self.table_RxM), dtype=torch.bool))

    def _rows(self, block: int) -> Tensor:
        generator = torch.Generator().manual_seed(int(self.seed) * 4099 + block)
        return torch.randn(BLOCK, self.shape.d_model, generator=generator) * self.std

    def embed(self, x_BxTxM: Tensor, positions_BxT: Tensor, ids_BxS: Tensor) -> Tensor:
        if self.training:
            self.touched_R[positions_BxT] = True
            return x_BxTxM + self.table_RxM[positions_BxT]
        rows, length = len(self.table_RxM), int(positions_BxT.max()) + 1
        more = [self._rows(b).to(x_BxTxM) for b in range(rows // BLOCK, -(-length // BLOCK))]
        return x_BxTxM + torch.cat([self.table_RxM, *more])[positions_BxT]

    def untrained(self, positions_BxT: Tensor, ids_BxT: Tensor | None = None) -> int:
        inside_BxT = positions_BxT < len(self.touched_R)
        return int((~(inside_BxT & self.touched_R[positions_BxT.clamp(max=len(self.touched_R) - 1)])).sum())
