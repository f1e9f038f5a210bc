"""Small systems of equations, many at once."""

import torch

# Least pivot, as a share of the diagonal. In single precision, a smaller one is rounding only.
_ROUNDING = 1e-6


def solve_small(matrix, right):
    """Solve symmetric positive systems; also give inverses and determinants of the matrices.

    By Gauss-Jordan elimination, which takes a few operations on all systems together. A call per
    matrix would take much longer. Positive matrices need no exchange of rows.

    Parameters
    ----------
    matrix : tensor of shape (size, size, ...)
    right : tensor of shape (size, ...)

    Returns
    -------
    solution : tensor of shape (size, ...)
    diagonal : tensor of shape (size, ...)
        Diagonals of the inverses.
    log_determinant : tensor of shape (...)
    """
    size = len(matrix)
    unit = torch.eye(size).reshape(size, size, *[1] * (matrix.ndim - 2)).expand(matrix.shape)
    rows = torch.cat([matrix, right[:, None], unit], 1)
    log_determinant = 0.0
    for k in range(size):
        pivot = torch.maximum(rows[k, k], _ROUNDING * matrix[k, k])
        log_determinant = log_determinant + pivot.log()
        scaled = rows[k] / pivot
        rows = rows - rows[:, k, None] * scaled
        rows[k] = scaled
    diagonal = torch.stack([rows[k, size + 1 + k] for k in range(size)])
    return rows[:, size], diagonal, log_determinant
