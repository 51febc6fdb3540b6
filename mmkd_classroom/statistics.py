"""Accumulators of training statistics on the device."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


class Stopwatch:
    """Mean time of a part of the training step, over at most the last 1,000 steps.

    On a GPU the times are those of events in its queue, so :meth:`running` waits for nothing.
    """

    def __init__(self) -> None:
        self._laps: deque[Any] = deque(maxlen=1000)

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Measure the block, which runs on this device."""
        if device.type != 'cuda':
            start = time.perf_counter()
            yield
            self._laps.append(time.perf_counter() - start)
            return
        stream = torch.cuda.current_stream(device)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(stream)
        yield
        end.record(stream)
        self._laps.append((start, end))

    def read(self) -> float | None:
        """Return the mean in seconds, and reset; waits for the device. None without a step."""
        laps, self._laps = self._laps, deque(maxlen=self._laps.maxlen)
        if not laps:
            return None
        return sum(map(_seconds, laps)) / len(laps)

    def __reduce__(self) -> tuple:  # events cannot be copied or saved
        return Stopwatch, ()


def _seconds(lap: Any) -> float:
    if isinstance(lap, float):
        return lap
    start, end = lap
    end.synchronize()
    return start.elapsed_time(end) / 1000
