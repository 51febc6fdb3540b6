"""Accumulator of training statistics on the device."""

import torch
from mmengine import dist
from torch import Tensor


class Statistics:
    """Means of a strategy's statistics over the steps since the last :meth:`read`.

    :meth:`add` copies nothing to the host. :meth:`read` makes one copy for all statistics.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self.steps = 0

    def add(self, statistics: dict[str, Tensor]) -> None:
        """Add the statistics of one step: detached tensors ``(M,)`` or scalars."""
        for name, value in statistics.items():
            value = value.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self.steps += 1

    def read(self) -> dict[str, float | list[float]] | None:
        """Return the means over the steps and over all processes, and reset.

        Every process must call it.

        Returns:
            A list for each ``(M,)`` and a number for each scalar, by name; None if no step was
            added.
        """
        if not self.steps:
            return None
        flat = torch.cat([value.reshape(-1) for value in self._sums.values()]) / self.steps
        dist.all_reduce(flat, op='mean')
        values = iter(flat.tolist())
        means = {
            name: [next(values) for _ in range(len(value))] if value.ndim else next(values)
            for name, value in self._sums.items()
        }
        self._sums, self.steps = {}, 0
        return means
