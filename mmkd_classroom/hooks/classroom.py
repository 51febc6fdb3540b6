"""Hook that every classroom needs: data checks before training, and the state of the strategy."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..distiller import Classroom
from ..distributed import unwrapped
from ..errors import ClassroomError
from ..registry import HOOKS
from .joints import pack_input_joints
from .overview import log_overview
from .strategy_state import load_strategy, save_strategy


@HOOKS.register_module()
class ClassroomHook(Hook):
    """Prepares a classroom. The classroom registers it; see :mod:`mmkd_classroom.runner`.

    - Before the first step it checks the training data and matches the mentors' joints with theirs.
    - It saves the strategy's state in each checkpoint and loads it on ``--resume``; see
      :mod:`mmkd_classroom.hooks.strategy_state`.
    """

    priority = 'VERY_HIGH'  # other hooks of a classroom rely on matched joints

    def before_train(self, runner: Runner) -> None:
        """Check the data, match the joints, and log the overview."""
        dataset = runner.train_dataloader.dataset
        pack_input_joints(dataset)
        with _random_state_kept():  # so that the student draws the same as alone
            sample = dataset[0]
        classroom = classroom_of(runner)
        classroom.prepare([sample['data_samples']], getattr(dataset, 'metainfo', None))
        height, width = sample['inputs'].shape[-2:]
        if is_main_process():
            log_overview(classroom, (width, height))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the strategy's state, separately from the student's."""
        classroom = classroom_of(runner)
        save_strategy(classroom.strategy, classroom.mentors.names, checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Load the strategy's state."""
        classroom = classroom_of(runner)
        names = classroom.mentors.names
        load_strategy(classroom.strategy, names, checkpoint, resume=runner._resume)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def classroom_of(runner: Runner) -> Classroom:
    """Return the classroom that a Runner trains.

    Raises:
        ClassroomError: The Runner trains another model.
    """
    model = unwrapped(runner.model)
    if not isinstance(model, Classroom):
        raise ClassroomError(
            f'custom_hooks has a hook of a classroom, but model.type is {type(model).__name__}: '
            "remove the hook, or make the model a 'mmkd_classroom.MultiMentorDistiller'."
        )
    return model
