"""What distributed training needs: the samples of all processes, a lost one, a wrapped model."""

from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


def unwrapped(model: nn.Module) -> nn.Module:
    """The model in a wrapper of distributed training, or the model itself."""
    return model.module if is_model_wrapper(model) else model


def all_gather_with_grad(*tensors: Tensor) -> tuple[list[Tensor], slice]:
    """Concatenate the batches of all processes.

    Each process computes a loss of its own samples against all samples, and takes the mean over its
    own. The gradients of the other processes' losses are added in the backward pass, and
    distributed training averages over the processes. The result is the gradient of one process with
    the whole batch.

    Args:
        tensors: ``(N, ...)``; N must be the same in each process.

    Returns:
        Tensors ``(P * N, ...)`` of P processes, with gradient, and the slice of the own samples.
    """
    if get_world_size() == 1:
        return list(tensors), slice(None)
    size, rank = len(tensors[0]), get_rank()
    own = slice(rank * size, (rank + 1) * size)
    return [_AllGather.apply(tensor, own) for tensor in tensors], own


class _AllGather(torch.autograd.Function):
    """All-gather with gradient: the backward pass sums the gradients of all processes.

    ``torch.distributed.nn.functional.all_gather`` does the same, but with gloo (torch 2.11) it
    returns wrong values for gradients that are not contiguous.
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


# Messages of RuntimeErrors that gloo raises; NCCL's have types of their own.
_LOST = ('Connection closed by peer', 'Connection reset by peer', 'Timed out waiting', 'gloo/')


def lost_peer(error: BaseException) -> bool:
    """Whether an error says that another process of the training has ended, or does not answer."""
    kind = getattr(torch.distributed, 'DistError', None)
    known = kind is not None and isinstance(error, kind)
    return known or any(text in str(error) for text in _LOST)
