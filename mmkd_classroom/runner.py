"""The Runner around a classroom: how it is found, and what a classroom adds to it.

MMEngine hands a model no reference to its Runner, and stock tools build the Runner from the config
alone. What a classroom needs beyond its loss must not depend on the user to write it down, nor on
which tool starts the training. So the classroom looks for the Runner that is calling it.
"""

import sys

from mmengine.runner import Runner

# Those that every classroom has. They are built by name, as hooks know the classroom.
HOOKS = (
    'ClassroomHook',
    'InputJointsHook',
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


def register_classroom_hooks(runner: Runner) -> None:
    """Register the hooks of a classroom that the config does not name.

    Called before anything is loaded or resumed.
    """
    present = {type(hook).__name__ for hook in runner.hooks}
    for name in HOOKS:
        if name not in present:
            runner.register_hook(dict(type=f'mmkd_classroom.{name}'))
