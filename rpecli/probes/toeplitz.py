"""How much of a matrix over (row, key) is a function of i-j: the variance that the best such function explains.

Two fits. `plain`: f(i-j), its mean along each diagonal. `rows`: f(i-j) + g(i), measured against g(i) alone, which is what softmax
sees, since whatever is constant along a row drops out of it. `floor` is what noise would score: a T x T matrix has many
diagonals.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FLAT = 1e-12  # variance, in squares of the largest entry, below which a matrix has nothing to explain
RIDGE = 1e-9  # of the largest diagonal entry: f is free up to a constant, so the normal equations are singular

Fit = dict[str, float | None]


def fit(matrix_TxT: Tensor, seen_TxT: Tensor) -> Fit:
    """Shares of variance among pairs that are `seen`; None where there is none."""
    return Pairs.of(seen_TxT).fit(matrix_TxT)


@dataclass(frozen=True)
class Pairs:
    """The pairs a matrix is looked at, and what every matrix over them has in common: a factor of its normal equations."""

    seen_TxT: Tensor
    diagonal_TxT: Tensor  # which diagonal each cell is on: 0 for i-j = -(T-1)
    factor_DxD: Tensor

    @staticmethod
    def of(seen_TxT: Tensor) -> "Pairs":
        T, S = seen_TxT.shape
        diagonal_TxT = torch.arange(T)[:, None] - torch.arange(S) + S - 1
        seen = seen_TxT.double()
        seen_TxD = seen.new_zeros(T, T + S - 1).scatter_(1, diagonal_TxT, seen)
        normal_DxD = torch.diag(seen_TxD.sum(0)) - seen_TxD.T @ (seen_TxD / seen.sum(1, keepdim=True).clamp(min=1))
        ridge = RIDGE * float(normal_DxD.diagonal().max().clamp(min=1))
        return Pairs(seen_TxT, diagonal_TxT, torch.linalg.cholesky(normal_DxD + ridge * torch.eye(T + S - 1).double()))

    def fit(self, matrix_TxT: Tensor) -> Fit:
        seen, values = self.seen_TxT.double(), matrix_TxT.double().masked_fill(~self.seen_TxT, 0.0)
        pairs, used = int(seen.sum()), len(self.diagonal_TxT[self.seen_TxT].unique())
        small = FLAT * pairs * float(values.abs().max()) ** 2
        total = float((((values - values.sum() / pairs) * seen) ** 2).sum())
        mean_D = self._along(values) / self._along(seen).clamp(min=1)
        left = float((((values - mean_D[self.diagonal_TxT]) * seen) ** 2).sum())
        floor = round((used - 1) / (pairs - 1), 6) if pairs > 1 else None
        return {"r2": _share(left, total, small), "r2_row_centered": self._rows(values, seen, small), "r2_chance": floor}

    def _rows(self, values: Tensor, seen: Tensor, small: float) -> float | None:
        """Least squares for f with the best g(i) taken out: each row centred over the keys it sees."""
        n_Tx1 = seen.sum(1, keepdim=True).clamp(min=1)
        centred = (values - values.sum(1, keepdim=True) / n_Tx1) * seen
        f_D = torch.cholesky_solve(self._along(centred)[:, None], self.factor_DxD)[:, 0]
        fitted = f_D[self.diagonal_TxT] * seen
        fitted = (fitted - fitted.sum(1, keepdim=True) / n_Tx1) * seen
        return _share(float(((centred - fitted) ** 2).sum()), float((centred**2).sum()), small)

    def _along(self, values: Tensor) -> Tensor:
        """Sums along diagonals."""
        sums = torch.zeros(len(self.factor_DxD), dtype=torch.float64)
        return sums.index_add_(0, self.diagonal_TxT.flatten(), values.flatten())


def fits(matrices: list[tuple[Tensor, Tensor]]) -> list[Fit]:
    """Of (matrix, seen) pairs; those that see the same share the costly part, which grows with the cube of T."""
    made, last = [], None
    for matrix_TxT, seen_TxT in matrices:
        if last is None or not torch.equal(last.seen_TxT, seen_TxT):
            last = Pairs.of(seen_TxT)
        made.append(last.fit(matrix_TxT))
    return made


def _share(left: float, total: float, small: float) -> float | None:
    return round(max(0.0, 1 - left / total), 6) if total > small else None
