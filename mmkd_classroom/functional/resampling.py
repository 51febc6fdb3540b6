"""Matrices that resample a grid along one axis, for all joints with one matmul.

A grid has cells at 0, 1, 2, ...; positions are in units of cells and may be fractions.
"""

import torch
from torch import Tensor

_POINTS = 10


def interpolation_matrix(positions: Tensor, size: int) -> Tensor:
    """Lagrange interpolation through the ten nearest cells.

    It is exact for polynomials up to the ninth degree, so a smooth peak between two cells keeps its
    position; cubic interpolation would move it. The outermost cells are repeated beyond the grid.

    Args:
        positions: ``(P,)``.
        size: Number of cells S.

    Returns:
        ``(P, S)``; each row sums to 1.

    Example:
        >>> interpolation_matrix(torch.tensor([2.0, 2.5]), 6)[:, 2]
        tensor([1.0000, 0.6056])
    """
    positions = positions.clamp(0, size - 1)
    first = positions.floor() - (_POINTS // 2 - 1)
    matrix = positions.new_zeros(len(positions), size)
    for step in range(_POINTS):
        weight = torch.ones_like(positions)
        for other in range(_POINTS):
            if other != step:
                weight = weight * (positions - first - other) / (step - other)
        cell = (first + step).clamp(0, size - 1).long()
        matrix.scatter_add_(1, cell[:, None], weight[:, None])
    return matrix


def triangle_matrix(positions: Tensor, size: int, width: float) -> Tensor:
    """Means with triangular weights around each position. On a coarser grid no cell is skipped.

    Args:
        positions: ``(P,)``.
        size: Number of cells S.
        width: Half of the triangle's base, in cells, at least 1.

    Returns:
        ``(P, S)``; each row sums to 1, or to 0 far outside the grid.
    """
    cells = torch.arange(size, dtype=positions.dtype, device=positions.device)
    weights = (1 - (positions[:, None] - cells).abs() / width).clamp(min=0)
    total = weights.sum(dim=1, keepdim=True)
    return weights / torch.where(total > 0, total, torch.ones_like(total))


def gaussian_matrix(positions: Tensor, centres: Tensor, sigma: float) -> Tensor:
    """Values at each position of a Gaussian of height 1 at each centre.

    Args:
        positions: ``(P,)``.
        centres: ``(C,)``.
        sigma: Standard deviation, in the unit of both.

    Returns:
        ``(P, C)`` in (0, 1].
    """
    return (-(positions[:, None] - centres).square() / (2 * sigma**2)).exp()
