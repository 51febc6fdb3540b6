"""What every classroom needs around its steps, whatever hooks its config names."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..distiller import Classroom
from ..errors import ClassroomError
from ..registry import HOOKS
from .joints import pack_input_joints
from .overview import log_overview
from .strategy_state import load_strategy, save_strategy


@HOOKS.register_module()
class ClassroomHook(Hook):
    """Registered by the classroom itself, see :mod:`mmkd_classroom.runner`.

    - The training data are checked, and the mentors' joints matched with theirs, before the first
      step.
    - What the strategy has learned is in each checkpoint and comes back with ``--resume``; see
      :mod:`mmkd_classroom.hooks.strategy_state`.
    """

    priority = 'VERY_HIGH'  # other hooks of a classroom rely on matched joints

    def before_train(self, runner: Runner) -> None:
        """Check the data."""
        dataset = runner.train_dataloader.dataset
        pack_input_joints(dataset)
        sample = dataset[0]
        classroom = classroom_of(runner)
        classroom.prepare([sample['data_samples']], getattr(dataset, 'metainfo', None))
        height, width = sample['inputs'].shape[-2:]
        log_overview(classroom, (width, height))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save what the strategy has learned, apart from the student."""
        save_strategy(classroom_of(runner).strategy, checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Bring it back."""
        load_strategy(classroom_of(runner).strategy, checkpoint, resume=runner._resume)


def classroom_of(runner: Runner) -> Classroom:
    """The classroom that a Runner trains.

    Raises:
        ClassroomError: It trains another model.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not isinstance(model, Classroom):
        raise ClassroomError(
            f'custom_hooks has a hook of a classroom, but model.type is {type(model).__name__}: '
            "remove the hook, or make the model a 'mmkd_classroom.MultiMentorDistiller'."
        )
    return model
