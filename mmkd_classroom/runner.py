"""Find the Runner that trains a classroom, and add the hooks and settings it needs.

MMEngine passes a model no reference to its Runner, and stock tools build the Runner from the config
alone. A classroom must get its hooks with any tool and without lines in the config. It therefore
looks for the Runner in the call stack.
"""

import sys
from typing import Any

from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .errors import ClassroomError
from .options import type_name

# The hooks of every classroom. They are built by name, because the hooks import the classroom.
_HOOKS = (
    'ClassroomHook',
    'InputJointsHook',
    'CacheHook',
    'MentoringHook',
    'PlainCheckpointHook',
    'SafeCheckpointHook',
    'EpochSeedHook',
)


def current_runner() -> Runner | None:
    """Return the innermost Runner with a method on the call stack, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        candidate = frame.f_locals.get('self')
        if isinstance(candidate, Runner):
            return candidate
        frame = frame.f_back
    return None


def pack_joints_in_config(config: Any) -> None:
    """Set ``pack_transformed=True`` in every ``PackPoseInputs`` of a data loader's config.

    The rankers need the joints in pixels of the input. This must happen before the data loader is
    built, because its workers may hold copies of the pipeline. ``InputJointsHook`` does the same
    for pipelines that other hooks set later.
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
    """Register the hooks of a classroom that the config does not contain.

    Called before anything is loaded or resumed.

    Raises:
        ClassroomError: The config has two hooks of the same type.
    """
    for name in _HOOKS:
        kind = f'mmkd_classroom.{name}'
        present = [hook for hook in runner.hooks if isinstance(hook, HOOKS.get(kind))]
        if len(present) > 1:
            raise ClassroomError(
                f'custom_hooks has {len(present)} hooks of the kind {name}: keep one.'
            )
        if not present:
            hook = HOOKS.build(dict(type=kind))
            runner.register_hook(hook)
            hook.before_run(runner)  # which MMEngine has called already
