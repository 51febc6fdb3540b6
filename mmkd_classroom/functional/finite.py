"""Find and clear samples with values that are not finite."""

from collections.abc import Sequence

import torch
from torch import Tensor


def finite_samples(tensors: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Set all values of samples with a value that is not finite to zero.

    Args:
        tensors: At least one tensor, ``(N, ...)`` each.

    Returns:
        The tensors, and ``(N,)`` booleans: whether all values of a sample are finite.

    Example:
        >>> (clean,), finite = finite_samples([torch.tensor([[1.0, 2.0], [3.0, torch.nan]])])
        >>> clean, finite
        (tensor([[1., 2.],
                [0., 0.]]), tensor([ True, False]))
    """
    # One pass, no copy to the host: a sum is finite only if all its terms are.
    sums = sum(tensor.flatten(1).sum(dim=1, dtype=torch.float32) for tensor in tensors)
    finite = sums.isfinite()
    clean = tuple(
        torch.where(finite.view(-1, *(1,) * (tensor.ndim - 1)), tensor, torch.zeros_like(tensor))
        for tensor in tensors
    )
    return clean, finite
