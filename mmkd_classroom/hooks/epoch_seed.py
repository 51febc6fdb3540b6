"""Randomness that depends on the epoch alone, so that a resumed run repeats the whole one."""

import random
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ..registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds every epoch from (seed, rank, epoch), and its loading workers from those and their id.

    MMEngine seeds once, before training. A run that is stopped and resumed therefore draws other
    augmentations, dropout masks and stochastic depths in epoch k than the run that went through:
    its losses cannot be compared. And workers that are started anew each epoch
    (``persistent_workers=False``) all get the seed of the first one, so every epoch sees the same
    augmentations. With this hook an epoch's randomness is its own: a run resumed from the end
    of an epoch gives, on a CPU, the losses of the uninterrupted run to the last bit, and
    validation in between changes nothing.

    It acts only where the config asks for repeatable runs, ``randomness=dict(seed=...)``, and in
    training by epochs. The price is that persistent workers are restarted every epoch, as
    their generators cannot be reached from here; a run without a seed does not pay it.
    """

    priority = 'LOWEST'  # no other hook's draws may come between this and the epoch's first batch

    def __init__(self) -> None:
        self._user_init: Callable[[int], None] | None = None
        self._loader: DataLoader | None = None

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process and tell the workers of this epoch how to."""
        seed = (runner.cfg.get('randomness') or {}).get('seed')
        if seed is None or not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        # runner.seed, not the config's: a resumed run takes over the seed of its checkpoint.
        entropy = (runner.seed, runner.rank, runner.epoch)
        _seed_everything(entropy)
        self._seed_workers(runner.train_dataloader, entropy)

    def _seed_workers(self, loader: DataLoader, entropy: Sequence[int]) -> None:
        if loader is not self._loader:
            self._loader, self._user_init = loader, loader.worker_init_fn
        loader.worker_init_fn = partial(_init_worker, entropy=entropy, first=self._user_init)
        # Persistent workers live in the loader's cached iterator and ran their init long ago.
        loader._iterator = None


def _init_worker(
    worker_id: int, entropy: Sequence[int], first: Callable[[int], None] | None
) -> None:
    if first is not None:  # it may do more than seed
        first(worker_id)
    _seed_everything((*entropy, worker_id))


def _seed_everything(entropy: Sequence[int]) -> None:
    """Seed Python, numpy and PyTorch (also on the GPU) with independent words of one sequence."""
    words = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))
