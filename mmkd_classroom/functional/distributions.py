"""Distributions of joints along one axis, on cells at 0, 1, 2, ..."""

import torch
from torch import Tensor


def log_gaussian(centres: Tensor, scale: Tensor | float, cells: int) -> Tensor:
    r"""Logarithm of Gaussians of height 1, :math:`-\frac12 \big(\frac{i - \mu}{s}\big)^2`.

    Args:
        centres: :math:`\mu`, ``(...)``, in units of cells.
        scale: Standard deviation s, a positive number, or a tensor ``(...)``.
        cells: Number of cells D.

    Returns:
        ``(..., D)``.

    Example:
        >>> log_gaussian(torch.tensor(1.0), 2.0, 3)
        tensor([-0.1250, -0.0000, -0.1250])
    """
    return -0.5 * _deviations(centres, scale, cells).square()


def log_laplace(centres: Tensor, scale: Tensor | float, cells: int) -> Tensor:
    r"""Logarithm of Laplace distributions of height 1, :math:`-\frac{|i - \mu|}{b}`.

    Args:
        centres: :math:`\mu`, ``(...)``, in units of cells.
        scale: Mean absolute deviation b, a positive number, or a tensor ``(...)``.
        cells: Number of cells D.

    Returns:
        ``(..., D)``.
    """
    return -_deviations(centres, scale, cells).abs()


def _deviations(centres: Tensor, scale: Tensor | float, cells: int) -> Tensor:
    scale = scale[..., None] if isinstance(scale, Tensor) else scale
    positions = torch.arange(cells, dtype=centres.dtype, device=centres.device)
    return (positions - centres[..., None]) / scale
