"""Forward pass of a stock model on the ``meta`` device, for output shapes and FLOPs."""

import copy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def dry_run(model: nn.Module, size: tuple[int, int]) -> Any:
    """Run a model on one image on the ``meta`` device, which is fast and needs no memory.

    Args:
        model: Stock model; it is not changed.
        size: Width and height of its input.

    Returns:
        The output of ``model(image, None, mode='tensor')``, or None if an operation needs values.
    """
    tensors = chain(model.parameters(), model.buffers())
    ghost = copy.deepcopy(model, {id(tensor): tensor.to('meta') for tensor in tensors}).eval()
    dtype = next(model.parameters(), torch.zeros(())).dtype
    try:
        shape = (1, input_channels(model), size[1], size[0])
        image = torch.zeros(shape, device='meta', dtype=dtype)
        return ghost.forward(image, None, mode='tensor')
    except Exception:  # operations that need values raise different types
        return None


def input_channels(model: nn.Module) -> int:
    """Channels of a model's images: 1 if its data preprocessor is for grey ones, else 3."""
    mean = getattr(getattr(model, 'data_preprocessor', None), 'mean', None)
    return mean.numel() if isinstance(mean, Tensor) else 3


def gigaflops(model: nn.Module, size: tuple[int, int]) -> float | None:
    """Billions of multiply-adds of the forward pass of one image, as in the model zoos' tables.

    Args:
        model: Stock model.
        size: Width and height of its input.

    Returns:
        The number, or None if :func:`dry_run` cannot run the model.
    """
    with FlopCounterMode(display=False) as counter:
        output = dry_run(model, size)
    return None if output is None else counter.get_total_flops() / 2e9
