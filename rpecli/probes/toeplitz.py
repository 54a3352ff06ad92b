"""How much of a matrix over (query, key) is a function of i-j: the share of variance (R^2) that the best such function explains.

r2               by f(i-j), the mean along each diagonal
r2_row_centered  by f(i-j) + g(i), relative to g(i) alone: what softmax sees, since a constant along a row drops out of it
r2_chance        the r2 expected of noise: a T x T matrix has many diagonals
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rpecli.run.records import ToeplitzFit

MIN_VARIANCE = 1e-12  # in squares of the largest entry; below it a matrix is constant
RIDGE = 1e-9  # of the largest diagonal entry: f is free up to a constant, so the normal equations are singular


@dataclass(frozen=True)
class VisiblePairs:
    """The pairs (query, key) that count, and what the fits of all matrices over them share: a factor of the normal equations."""

    visible_TxS: Tensor
    diagonal_TxS: Tensor  # the diagonal of each cell: 0 for i-j = -(S-1)
    factor_DxD: Tensor

    @staticmethod
    def of(visible_TxS: Tensor) -> "VisiblePairs":
        T, S = visible_TxS.shape
        diagonal_TxS = torch.arange(T)[:, None] - torch.arange(S) + S - 1
        visible = visible_TxS.double()
        visible_TxD = visible.new_zeros(T, T + S - 1).scatter_(1, diagonal_TxS, visible)
        normal_DxD = torch.diag(visible_TxD.sum(0)) - visible_TxD.T @ (visible_TxD / visible.sum(1, keepdim=True).clamp(min=1))
        ridge = RIDGE * float(normal_DxD.diagonal().max().clamp(min=1))
        factor_DxD = torch.linalg.cholesky(normal_DxD + ridge * torch.eye(T + S - 1).double())
        return VisiblePairs(visible_TxS, diagonal_TxS, factor_DxD)

    def fit(self, matrix_TxS: Tensor) -> ToeplitzFit:
        visible, values = self.visible_TxS.double(), matrix_TxS.double().masked_fill(~self.visible_TxS, 0.0)
        n_pairs, n_diagonals = int(visible.sum()), len(self.diagonal_TxS[self.visible_TxS].unique())
        smallest = MIN_VARIANCE * n_pairs * float(values.abs().max()) ** 2
        total = float((((values - values.sum() / n_pairs) * visible) ** 2).sum())
        mean_D = self._diagonal_sums(values) / self._diagonal_sums(visible).clamp(min=1)
        residual = float((((values - mean_D[self.diagonal_TxS]) * visible) ** 2).sum())
        return {
            "r2": _r2(residual, total, smallest),
            "r2_row_centered": self._r2_row_centered(values, visible, smallest),
            "r2_chance": round((n_diagonals - 1) / (n_pairs - 1), 6) if n_pairs > 1 else None,
        }

    def _r2_row_centered(self, values: Tensor, visible: Tensor, smallest: float) -> float | None:
        """Least squares for f with the best g(i) removed: each row is centered over its visible keys."""
        n_keys_Tx1 = visible.sum(1, keepdim=True).clamp(min=1)
        centered = (values - values.sum(1, keepdim=True) / n_keys_Tx1) * visible
        f_D = torch.cholesky_solve(self._diagonal_sums(centered)[:, None], self.factor_DxD)[:, 0]
        fitted = f_D[self.diagonal_TxS] * visible
        fitted = (fitted - fitted.sum(1, keepdim=True) / n_keys_Tx1) * visible
        return _r2(float(((centered - fitted) ** 2).sum()), float((centered**2).sum()), smallest)

    def _diagonal_sums(self, values: Tensor) -> Tensor:
        sums_D = torch.zeros(len(self.factor_DxD), dtype=torch.float64)
        return sums_D.index_add_(0, self.diagonal_TxS.flatten(), values.flatten())


def _r2(residual: float, total: float, smallest: float) -> float | None:
    return round(max(0.0, 1 - residual / total), 6) if total > smallest else None


def fit(matrix_TxS: Tensor, visible_TxS: Tensor) -> ToeplitzFit:
    """The fit of one matrix over its visible pairs."""
    return VisiblePairs.of(visible_TxS).fit(matrix_TxS)


def fits(matrices: list[tuple[Tensor, Tensor]]) -> list[ToeplitzFit]:
    """The fits of (matrix, visible pairs); neighbours with the same pairs share the costly part, which grows with T cubed."""
    results, pairs = [], None
    for matrix_TxS, visible_TxS in matrices:
        if pairs is None or not torch.equal(pairs.visible_TxS, visible_TxS):
            pairs = VisiblePairs.of(visible_TxS)
        results.append(pairs.fit(matrix_TxS))
    return results
