"""Find outputs of a mentor that say nothing, or are too large to be meant."""

from collections.abc import Sequence

import torch
from torch import Tensor

#: Logits, heatmaps and coordinates of working models are far below this.
HUGE = 1e4


def count_anomalies(tensors: Sequence[Tensor], valid: Tensor) -> tuple[Tensor, Tensor]:
    """Count the samples whose outputs are constant, and those with huge values.

    Args:
        tensors: Outputs of finite values, ``(N, ...)`` each, such as the two axes of SimCC.
        valid: ``(N,)`` booleans: samples that count.

    Returns:
        Number of samples on which the values of each output are all the same, such as zeros; all
        samples if the outputs of several samples are the same. And the number of samples with a
        magnitude above :data:`HUGE`. Both are scalars on the device.

    Example:
        >>> output = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, -2e4]])
        >>> count_anomalies([output], torch.ones(3, dtype=torch.bool))
        (tensor(1), tensor(1))
    """
    constant = valid.clone()
    same = torch.ones_like(valid)
    huge = torch.zeros_like(valid)
    for tensor in tensors:
        values = tensor.detach().flatten(1)
        low, high = values.amin(dim=1), values.amax(dim=1)
        # A single value, such as a logit of two classes, is equal to itself.
        constant = constant & (low == high) & (values.shape[1] > 1)
        same = same & (values == values[:1]).all(dim=1)
        huge = huge | (high > HUGE) | (low < -HUGE)
    if len(valid) > 1:
        constant = constant | (same.all() & valid)
    return constant.sum(), (huge & valid).sum()
