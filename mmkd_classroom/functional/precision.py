"""Precision of computations whose result half precision would change."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """Context manager that disables automatic mixed precision on the device of a tensor."""
    if tensor.device.type == 'meta':  # has no autocast
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Convert half-precision tensors to float32; float32 and float64 are not changed."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
