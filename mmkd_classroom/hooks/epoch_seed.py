"""Seed each epoch, so that a resumed run gives the same results as an uninterrupted one."""

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
    """Seeds every epoch with (seed, rank, epoch), and loading workers with these and the worker id.

    MMEngine seeds once, before training. A resumed run therefore has other augmentations, dropout
    masks and stochastic depths in epoch k than an uninterrupted run, and their losses cannot be
    compared. Workers that are restarted in each epoch (``persistent_workers=False``) always get the
    seed of the first epoch, so every epoch has the same augmentations. With this hook, the random
    state of an epoch depends only on the epoch. A run resumed at the end of an epoch has, on a CPU,
    bitwise the same losses as an uninterrupted run, and validation in between has no effect.

    The hook is active only for epoch-based training with ``randomness=dict(seed=...)`` in the
    config. It restarts persistent workers in every epoch, because it cannot access their
    generators. Runs without a seed do not have this cost.
    """

    priority = 'LOWEST'  # no other hook may use random numbers between this and the first batch

    def __init__(self) -> None:
        self._user_init: Callable[[int], None] | None = None
        self._loader: DataLoader | None = None

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process, and the loading workers of this epoch by their init function."""
        seed = (runner.cfg.get('randomness') or {}).get('seed')
        if seed is None or not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        # runner.seed instead of the config's: a resumed run uses the seed of its checkpoint.
        entropy = (runner.seed, runner.rank, runner.epoch)
        _seed_everything(entropy)
        self._seed_workers(runner.train_dataloader, entropy)

    def _seed_workers(self, loader: DataLoader, entropy: Sequence[int]) -> None:
        if loader is not self._loader:
            self._loader, self._user_init = loader, loader.worker_init_fn
        loader.worker_init_fn = partial(_init_worker, entropy=entropy, first=self._user_init)
        # Persistent workers belong to the cached iterator and have run their init function already.
        loader._iterator = None


def _init_worker(
    worker_id: int, entropy: Sequence[int], first: Callable[[int], None] | None
) -> None:
    if first is not None:  # it may do more than seed
        first(worker_id)
    _seed_everything((*entropy, worker_id))


def _seed_everything(entropy: Sequence[int]) -> None:
    """Seed Python, numpy and PyTorch (also on the GPU) with independent seeds from one sequence."""
    words = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))
