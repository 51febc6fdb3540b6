"""Matrices that read a grid at other positions: one matmul an axis, for all joints at once.

A grid is a row of cells at 0, 1, 2, ...; positions are in its cells and need not be whole.
"""

import torch
from torch import Tensor


def cubic_matrix(positions: Tensor, size: int) -> Tensor:
    """Interpolation by the cubic convolution of Keys (1981), a = -1/2.

    It is exact for polynomials up to the second degree, as which the logarithm of a Gaussian
    comes, so that a peak between two cells stays where it is. Beyond the grid the outermost cell
    is repeated.

    Args:
        positions: ``(P,)``.
        size: Number of cells S.

    Returns:
        ``(P, S)``; each row sums to 1.

    Example:
        >>> cubic_matrix(torch.tensor([1.0, 1.5]), 4)
        tensor([[ 0.0000,  1.0000,  0.0000,  0.0000],
                [-0.0625,  0.5625,  0.5625, -0.0625]])
    """
    positions = positions.clamp(0, size - 1)
    first = positions.floor() - 1
    matrix = positions.new_zeros(len(positions), size)
    for step in range(4):
        cell = first + step
        distance = (positions - cell).abs()
        near = (1.5 * distance - 2.5) * distance.square() + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weight = torch.where(distance <= 1, near, far)
        matrix.scatter_add_(1, cell.clamp(0, size - 1).long()[:, None], weight[:, None])
    return matrix


def triangle_matrix(positions: Tensor, size: int, width: float) -> Tensor:
    """Area resampling of a density to a coarser grid: each cell's mass goes to its neighbours.

    Args:
        positions: ``(P,)``, evenly spaced.
        size: Number of cells S.
        width: Spacing of the positions, in cells, at least 1.

    Returns:
        ``(P, S)``; the column of a cell between the positions sums to 1.
    """
    cells = torch.arange(size, dtype=positions.dtype, device=positions.device)
    return (1 - (positions[:, None] - cells).abs() / width).clamp(min=0)


def gaussian_matrix(positions: Tensor, centres: Tensor, sigma: float) -> Tensor:
    """Height at each position of an unnormalised Gaussian at each centre.

    Args:
        positions: ``(P,)``.
        centres: ``(C,)``.
        sigma: Standard deviation, in the unit of both.

    Returns:
        ``(P, C)`` in (0, 1].
    """
    return (-(positions[:, None] - centres).square() / (2 * sigma**2)).exp()
