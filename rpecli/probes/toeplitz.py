"""How much of a matrix over (row, key) is a function of i-j: the variance that the best such function explains.

Two fits. `plain`: f(i-j), its mean along each diagonal. `rows`: f(i-j) + g(i), measured against g(i) alone, which is what softmax
sees, since whatever is constant along a row drops out of it. `floor` is what noise would score: a T x T matrix has many
diagonals.
"""

import torch
from torch import Tensor

FLAT = 1e-12  # variance, in squares of the largest entry, below which a matrix has nothing to explain


def fit(matrix_TxT: Tensor, seen_TxT: Tensor) -> dict[str, float | None]:
    """Shares of variance among pairs that are `seen`; None where there is none."""
    values, seen = matrix_TxT.double().masked_fill(~seen_TxT, 0.0), seen_TxT.double()
    diagonal_TxT = _diagonal(values.shape[0], values.shape[1])
    pairs, used = int(seen.sum()), len(diagonal_TxT[seen_TxT].unique())
    small = FLAT * pairs * float(values.abs().max()) ** 2
    mean = values.sum() / pairs
    total = float((((values - mean) * seen) ** 2).sum())
    over = _along(seen, diagonal_TxT).clamp(min=1)
    left = float((((values - (_along(values, diagonal_TxT) / over)[diagonal_TxT]) * seen) ** 2).sum())
    floor = (used - 1) / (pairs - 1) if pairs > 1 else None
    return {"plain": _share(left, total, small), "rows": _rows(values, seen, diagonal_TxT, small),
            "floor": None if floor is None else round(floor, 6)}  # fmt: skip


def _rows(values: Tensor, seen: Tensor, diagonal_TxT: Tensor, small: float) -> float | None:
    """Least squares for f with the best g(i) taken out: each row centred over the keys it sees."""
    T, D = len(values), int(diagonal_TxT.max()) + 1
    n_Tx1 = seen.sum(1, keepdim=True).clamp(min=1)
    seen_TxD = torch.zeros(T, D, dtype=torch.float64).scatter_(1, diagonal_TxT, seen)
    centred = (values - values.sum(1, keepdim=True) / n_Tx1) * seen
    centred_TxD = torch.zeros(T, D, dtype=torch.float64).scatter_(1, diagonal_TxT, centred)
    normal_DxD = torch.diag(seen_TxD.sum(0)) - seen_TxD.T @ (seen_TxD / n_Tx1)
    f_D = torch.linalg.pinv(normal_DxD, hermitian=True) @ centred_TxD.sum(0)
    fitted = f_D[diagonal_TxT] * seen
    fitted = (fitted - fitted.sum(1, keepdim=True) / n_Tx1) * seen
    return _share(float(((centred - fitted) ** 2).sum()), float((centred**2).sum()), small)


def _diagonal(T: int, S: int) -> Tensor:
    """Which diagonal each cell is on: 0 for i-j = -(S-1)."""
    return torch.arange(T)[:, None] - torch.arange(S) + S - 1


def _along(values: Tensor, diagonal_TxT: Tensor) -> Tensor:
    sums = torch.zeros(int(diagonal_TxT.max()) + 1, dtype=torch.float64)
    return sums.index_add_(0, diagonal_TxT.flatten(), values.flatten())


def _share(left: float, total: float, small: float) -> float | None:
    return round(max(0.0, 1 - left / total), 6) if total > small else None
