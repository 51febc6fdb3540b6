"""OpenCV's Gaussian blur on the device."""

from functools import cache

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor


@torch.compiler.assume_constant_result  # torch.compile cannot trace OpenCV
def opencv_kernel(size: int, device: torch.device) -> Tensor:
    """OpenCV's Gaussian kernel.

    Args:
        size: Odd number of cells; the standard deviation follows from it.
        device: Device of the kernel. It is copied there once, not in each step.

    Returns:
        ``(size,)`` in float64; sums to 1.
    """
    return _kernel(size, device)


@cache
def _kernel(size: int, device: torch.device) -> Tensor:
    return torch.from_numpy(cv2.getGaussianKernel(size, 0)[:, 0]).to(device)


def gaussian_blur(maps: Tensor, size: int, border: str = 'constant') -> Tensor:
    """Blur maps as ``cv2.GaussianBlur`` does.

    Args:
        maps: ``(B, H, W)``.
        size: See :func:`opencv_kernel`.
        border: ``'constant'``, with zeros, or ``'reflect'``, without repeating the border.

    Returns:
        ``(B, H, W)``.
    """
    kernel = opencv_kernel(size, maps.device).to(maps.dtype)
    padded = F.pad(maps[:, None], (size // 2,) * 4, mode=border)
    blurred = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(blurred, kernel.view(1, 1, 1, -1))[:, 0]
