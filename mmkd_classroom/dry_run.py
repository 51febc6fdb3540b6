"""A stock model's forward pass without values: what shapes it gives, and what it would cost."""

import copy
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def dry_run(model: nn.Module, size: tuple[int, int]) -> Any:
    """The output for one image, on the ``meta`` device: quick, and without memory.

    Args:
        model: Stock model; it is left as it is.
        size: Width and height of its input.

    Returns:
        What ``model(image, None, mode='tensor')`` returns, or None where an operation needs values.
    """
    tensors = chain(model.parameters(), model.buffers())
    ghost = copy.deepcopy(model, {id(tensor): tensor.to('meta') for tensor in tensors}).eval()
    dtype = next(model.parameters(), torch.zeros(())).dtype
    try:
        image = torch.zeros(1, 3, size[1], size[0], device='meta', dtype=dtype)
        return ghost.forward(image, None, mode='tensor')
    except Exception:  # each operation has its own way to say that it needs values
        return None


def gigaflops(model: nn.Module, size: tuple[int, int]) -> float | None:
    """Billions of multiply-adds of one image's forward pass, as the model zoos' tables count.

    Args:
        model: Stock model.
        size: Width and height of its input.

    Returns:
        None where :func:`dry_run` cannot run the model.
    """
    with FlopCounterMode(display=False) as counter:
        output = dry_run(model, size)
    return None if output is None else counter.get_total_flops() / 2e9
