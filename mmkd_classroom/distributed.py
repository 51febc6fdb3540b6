"""Samples of all processes, for losses that compare samples with each other."""

from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from torch import Tensor
from torch.autograd.function import FunctionCtx


def joined(*tensors: Tensor) -> tuple[list[Tensor], slice]:
    """The batches of all processes, one after the other.

    A loss that each process takes as a mean over its own samples, related to all, has the gradient
    of one process with the joined batch: what the others' losses say about these samples comes
    back, and distributed training averages over the processes.

    Args:
        tensors: ``(N, ...)``; N is the same in each process, as distributed training needs it.

    Returns:
        Tensors ``(P * N, ...)`` of P processes, with gradient, and where the own samples are.
    """
    if get_world_size() == 1:
        return list(tensors), slice(None)
    size, rank = len(tensors[0]), get_rank()
    own = slice(rank * size, (rank + 1) * size)
    return [_Joined.apply(tensor, own) for tensor in tensors], own


class _Joined(torch.autograd.Function):
    """All processes' batches; the gradient is the sum of what all processes say.

    ``torch.distributed.nn.functional.all_gather`` does the same, but its gloo version (torch 2.11)
    mixes up gradients that are not contiguous.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor, own: slice) -> Tensor:
        ctx.own = own
        parts = [torch.empty_like(tensor.contiguous()) for _ in range(get_world_size())]
        torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Any, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total[ctx.own], None
