"""Statistics of training, summed on the device until somebody reads them."""

import torch
from mmengine import dist
from torch import Tensor


class Statistics:
    """Means of a strategy's statistics over the steps since the last :meth:`read`.

    Adding costs no copy to the host; reading costs one for all statistics together.
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
        """Means over the steps and over all processes; then start anew.

        Every process must call it.

        Returns:
            A list for each ``(M,)``, a number for each scalar; None if no step was added.
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
