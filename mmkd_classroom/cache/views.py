"""Views: which augmentation of a sample an epoch shows, drawn so that it can be drawn again."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ..errors import ClassroomError


class Views:
    """A sample has V views. Its augmentation is a function of (seed, sample, view).

    Epoch e shows one of a sample's views, in an order of its own per sample; each V epochs show
    all of them once, then in another order. The epoch lies in shared memory, so that persistent
    loading workers see it change.

    Args:
        count: V.
        seed: Of the views.

    Raises:
        ClassroomError: ``count`` is not positive.
    """

    def __init__(self, count: int, seed: int) -> None:
        if not count >= 1:
            raise ClassroomError(f'model.cache.views is {count}: it must be at least 1.')
        self.count = count
        self.seed = seed
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch, in this process and in the loading workers."""
        return int(self._epoch)

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._epoch[0] = value

    def view(self, sample: int) -> int:
        """The view of a sample that the epoch shows, in [0, V)."""
        cycle, position = divmod(self.epoch, self.count)
        order = np.random.default_rng((self.seed, sample, cycle)).permutation(self.count)
        return int(order[position])

    @contextmanager
    def drawing(self, sample: int, view: int, pipeline: Any = None) -> Iterator[None]:
        """A block in which all random numbers are those of a sample's view.

        The generators of Python, NumPy and PyTorch go on afterwards as if nothing was drawn.

        Args:
            sample: Index of the sample.
            view: Index of the view.
            pipeline: Whose transforms may have generators of their own (albumentations).
        """
        words = np.random.SeedSequence((self.seed, sample, view)).generate_state(4)
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        torch.default_generator.manual_seed(int(words[2]))
        for transform in getattr(pipeline, 'transforms', ()):
            seeded = getattr(getattr(transform, 'aug', None), 'set_random_seed', None)
            if seeded is not None:
                seeded(int(words[3]))
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])
