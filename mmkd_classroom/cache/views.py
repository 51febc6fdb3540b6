"""Views: which augmentation of a sample an epoch shows, drawn so that it can be drawn again."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ..errors import ClassroomError

#: How random numbers follow from (seed, sample, view). Caches of another scheme are not read.
SCHEME = 'shake_128'

_GENERATOR = np.random.MT19937(0)  # seeded anew for each view


class Views:
    """A sample has V views. Its augmentation is a function of (seed, sample, view).

    In each block of V epochs, a sample shows each of its views once. The order is drawn anew for
    each sample and block. The epoch lies in shared memory, so that persistent loading workers see
    it change.

    Args:
        count: V.
        seed: Seed of the views.

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
        keys = _words(self.count, 'order', self.seed, sample, cycle)
        return int(keys.argsort(kind='stable')[position])

    @contextmanager
    def drawing(self, sample: int, view: int, pipeline: Any = None) -> Iterator[None]:
        """A block in which all random numbers are those of a sample's view.

        The generators of Python, NumPy and PyTorch are restored afterwards. One exception: the
        second normal number that NumPy keeps for its next call is lost.

        Args:
            sample: Index of the sample.
            view: Index of the view.
            pipeline: Whose transforms may have generators of their own (albumentations).
        """
        words = [int(word) for word in _words(4, 'view', self.seed, sample, view)]
        before = random.getstate(), torch.get_rng_state()
        random.seed(words[0])
        torch.default_generator.manual_seed(words[1])
        for transform in getattr(pipeline, 'transforms', ()):
            seeded = getattr(getattr(transform, 'aug', None), 'set_random_seed', None)
            if seeded is not None:
                seeded(words[2])
        try:
            with _numpy_seeded(words[3]):
                yield
        finally:
            random.setstate(before[0])
            torch.set_rng_state(before[1])


def _words(count: int, *key: str | int) -> np.ndarray:
    """``count`` random numbers of 32 bits that follow from a key, as uint32.

    A hash, because this runs for each sample, and takes a tenth of the time of a generator of
    NumPy's that is seeded by the key.
    """
    digest = hashlib.shake_128(repr(key).encode()).digest(4 * count)
    return np.frombuffer(digest, '<u4')


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """A block in which NumPy's global generator is another one.

    To copy its state out and in again takes as long as all transforms of a CIFAR image.
    """
    if not hasattr(np.random, 'set_bit_generator'):  # before NumPy 1.24
        before = np.random.get_state()
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)
        return
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(_GENERATOR)
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_bit_generator(before)
