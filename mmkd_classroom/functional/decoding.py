"""Decode joints from heatmaps on the device, for all members, samples and joints at once.

MMPose's codecs decode in NumPy on the host. These functions decode on the device, so that ranking
needs no copy to the host. They agree with the codecs, except for DARK (``unbiased=True``), whose
peaks are refined by UDP's formula.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .blurring import opencv_kernel


def heatmap_peaks(heatmaps: Tensor) -> Tensor:
    """Return the cell of the largest value.

    Args:
        heatmaps: ``(..., H, W)``.

    Returns:
        ``(..., 2)`` integer (x, y) cells.
    """
    width = heatmaps.shape[-1]
    index = heatmaps.flatten(-2).argmax(dim=-1)
    return torch.stack([index % width, index.div(width, rounding_mode='floor')], dim=-1)


def vector_peaks(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bin of the largest value along each axis, as in SimCC's decoding.

    Args:
        x: ``(..., W_x)``.
        y: ``(..., W_y)``.

    Returns:
        ``(..., 2)`` integer (x, y) bins, (-1, -1) if an axis has no positive value, as in MMPose;
        and MMPose's score ``(...)``, the minimum of the largest values of both axes.
    """
    (top_x, bin_x), (top_y, bin_y) = x.max(dim=-1), y.max(dim=-1)
    bins, height = torch.stack([bin_x, bin_y], dim=-1), torch.minimum(top_x, top_y)
    return torch.where((height > 0)[..., None], bins, -1), height


def _patches(heatmaps: Tensor, cells: Tensor, radius: int) -> Tensor:
    """Extract a square patch around one cell of each heatmap.

    Args:
        heatmaps: ``(B, H, W)``; beyond the border they are 0.
        cells: ``(B, 2)`` integer (x, y).
        radius: Number of cells on each side of the centre.

    Returns:
        ``(B, 2 * radius + 1, 2 * radius + 1)``, indexed (y, x).
    """
    padded = F.pad(heatmaps[:, None], (radius,) * 4)[:, 0]
    width = padded.shape[-1]
    side = torch.arange(2 * radius + 1, device=heatmaps.device)
    offsets = side[:, None] * width + side[None, :]
    corner = cells[:, 1] * width + cells[:, 0]
    index = corner[:, None] + offsets.flatten()[None]
    return padded.flatten(1).gather(1, index).view(-1, side.numel(), side.numel())


def towards_larger(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """Direction from a cell to its larger neighbour along each axis.

    Args:
        heatmaps: ``(B, H, W)``; beyond the border they are 0.
        cells: ``(B, 2)`` integer (x, y).

    Returns:
        ``(B, 2)``: -1, 0 or 1 along x and y.
    """
    patch = _patches(heatmaps, cells, radius=1)
    right, down = patch[:, 1, 2] - patch[:, 1, 0], patch[:, 2, 1] - patch[:, 0, 1]
    return torch.stack([right, down], dim=-1).sign()


def cells_to_pixels(cells: Tensor, heights: Tensor, spacing: tuple[float, float]) -> Tensor:
    """Scale joints from cells to pixels of the input.

    Args:
        cells: ``(B, 2)`` positions (x, y) in cells; cell 0 lies on pixel 0.
        heights: ``(B,)``, largest value of each heatmap. As in MMPose, a joint without a positive
            value is at (-1, -1), in cells.
        spacing: Pixels from one cell to the next, along x and y.

    Returns:
        ``(B, 2)``.
    """
    cells = torch.where((heights > 0)[:, None], cells, -1.0)
    return torch.stack([cells[:, axis] * spacing[axis] for axis in (0, 1)], dim=-1)


def refine_quarter(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """Move each peak a quarter cell towards its larger neighbour, as in ``MSRAHeatmap``.

    Args:
        heatmaps: ``(B, H, W)``.
        cells: ``(B, 2)`` peaks from :func:`heatmap_peaks`.

    Returns:
        ``(B, 2)`` float (x, y).
    """
    height, width = heatmaps.shape[-2:]
    step = towards_larger(heatmaps, cells)
    x, y = cells.unbind(-1)
    # Exactly MMPose's bounds: peaks in the first two and the last column or row are not moved.
    inside_x = (x > 1) & (x < width - 1) & (y > 0)
    inside_y = (y > 1) & (y < height - 1) & (x > 0)
    return cells + 0.25 * step * torch.stack([inside_x, inside_y], dim=-1)


def refine_taylor(heatmaps: Tensor, cells: Tensor, blur_kernel_size: int = 11) -> Tensor:
    """Move each peak by one Newton step on the logarithm of the blurred heatmap.

    DarkPose (Zhang et al., arXiv 1910.06278), in the form of UDP (Huang et al., arXiv
    1911.07524). Only the neighbourhood of the peak is blurred. The step is 0 if the logarithm is
    not concave, and is clamped to one cell per axis.

    Args:
        heatmaps: ``(B, H, W)``.
        cells: ``(B, 2)`` peaks from :func:`heatmap_peaks`.
        blur_kernel_size: See :func:`opencv_kernel`.

    Returns:
        ``(B, 2)`` float (x, y).
    """
    blurred = _blurred_neighbourhood(heatmaps, cells, blur_kernel_size)
    peak = heatmaps.flatten(1).amax(dim=1)[:, None, None]
    top = blurred.flatten(1).amax(dim=1)[:, None, None]
    scale = peak / torch.where(top > 0, top, torch.ones_like(top))
    log = (blurred * scale).clamp(1e-3, 50).log()
    dx = 0.5 * (log[:, 1, 2] - log[:, 1, 0])
    dy = 0.5 * (log[:, 2, 1] - log[:, 0, 1])
    dxx = log[:, 1, 2] - 2 * log[:, 1, 1] + log[:, 1, 0]
    dyy = log[:, 2, 1] - 2 * log[:, 1, 1] + log[:, 0, 1]
    dxy = 0.25 * (log[:, 2, 2] - log[:, 0, 2] - log[:, 2, 0] + log[:, 0, 0])
    determinant = dxx * dyy - dxy.square()
    concave = (determinant > torch.finfo(log.dtype).eps) & (dxx < 0)
    safe = torch.where(concave, determinant, torch.ones_like(determinant))
    step = -torch.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], dim=-1) / safe[:, None]
    step = torch.where(concave[:, None], step.clamp(-1, 1), torch.zeros_like(step))
    return cells + step


def _blurred_neighbourhood(heatmaps: Tensor, cells: Tensor, kernel_size: int) -> Tensor:
    """Gaussian-blurred values ``(B, 3, 3)`` around each cell; values at the border are repeated."""
    radius = kernel_size // 2
    height, width = heatmaps.shape[-2:]
    kernel = opencv_kernel(kernel_size, heatmaps.device).to(heatmaps.dtype)
    patch = _patches(heatmaps, cells, radius + 1)  # (B, kernel_size + 2, kernel_size + 2)
    band = torch.stack([F.pad(kernel, (i, 2 - i)) for i in range(3)])  # (3, kernel_size + 2)
    blurred = band @ patch @ band.T
    # Neighbours beyond the border have the value of the nearest cell inside.
    rows = torch.stack([cells[:, 1] + i for i in (-1, 0, 1)], -1).clamp(0, height - 1)
    columns = torch.stack([cells[:, 0] + i for i in (-1, 0, 1)], -1).clamp(0, width - 1)
    rows = (rows - cells[:, 1:2] + 1)[:, :, None].expand(-1, 3, 3)
    columns = (columns - cells[:, 0:1] + 1)[:, None, :].expand(-1, 3, 3)
    return blurred.gather(1, rows).gather(2, columns)
