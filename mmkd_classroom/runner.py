"""The Runner around a classroom: how it is found, and what a classroom adds to it.

MMEngine hands a model no reference to its Runner, and stock tools build the Runner from the config
alone. What a classroom needs beyond its loss must not depend on the user to write it down, nor on
which tool starts the training. So the classroom looks for the Runner that is calling it.
"""

import sys
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .errors import ClassroomError
from .options import type_name

# Those that every classroom has. They are built by name, as hooks know the classroom.
_HOOKS = (
    'ClassroomHook',
    'InputJointsHook',
    'CacheHook',
    'MentoringHook',
    'PlainCheckpointHook',
    'EpochSeedHook',
)


def running() -> Runner | None:
    """The Runner one of whose methods is being executed, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        candidate = frame.f_locals.get('self')
        if isinstance(candidate, Runner):
            return candidate
        frame = frame.f_back
    return None


def pack_joints_in_config(config: Any) -> None:
    """Have every ``PackPoseInputs`` in the config of a data loader pack the joints in input space.

    Scoring needs them. Before the data loader is built, for then its workers may have copies; what
    other hooks put into its place later is ``InputJointsHook``'s.
    """
    if isinstance(config, dict):
        if type_name(config) == 'PackPoseInputs':
            config['pack_transformed'] = True
        config = config.values()
    elif not isinstance(config, (list, tuple)):
        return
    for part in config:
        pack_joints_in_config(part)


def register_classroom_hooks(runner: Runner) -> None:
    """Register the hooks of a classroom that the config does not name.

    Called before anything is loaded or resumed.

    Raises:
        ClassroomError: The config has two of a kind.
    """
    for name in _HOOKS:
        kind = f'mmkd_classroom.{name}'
        present = [hook for hook in runner.hooks if isinstance(hook, HOOKS.get(kind))]
        if len(present) > 1:
            raise ClassroomError(
                f'custom_hooks has {len(present)} hooks of the kind {name}: keep one.'
            )
        if not present:
            runner.register_hook(dict(type=kind))
