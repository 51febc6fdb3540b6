"""Save and load a strategy's state, apart from the student, in its checkpoint.

The state is what a strategy learns, and its moving averages.
"""

import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor

from ..errors import ClassroomError
from ..strategies import Strategy

ENTRY = 'classroom'
_NAMES = 'classroom_mentors'


def save_strategy(strategy: Strategy, mentors: Sequence[str], checkpoint: dict[str, Any]) -> None:
    """Add the strategy's state, if it has any, and the mentors' names to a checkpoint.

    Args:
        strategy: Strategy.
        mentors: Names of its mentors.
        checkpoint: Checkpoint of MMEngine's Runner; changed in place.
    """
    state = strategy.state_dict()
    if state:
        checkpoint[ENTRY] = weights_to_cpu(state)
        checkpoint[_NAMES] = list(mentors)


def load_strategy(
    strategy: Strategy, mentors: Sequence[str], checkpoint: dict[str, Any], resume: bool
) -> None:
    """Load the strategy's state from a checkpoint.

    If the run does not resume but uses ``load_from``, a strategy whose state is not in the file
    starts anew.

    Args:
        strategy: Strategy.
        mentors: Names of its mentors.
        checkpoint: Checkpoint read by MMEngine's Runner.
        resume: Whether the run resumes.

    Raises:
        ClassroomError: The entry holds no tensors; or the run resumes, but names or shapes of the
            state, or the mentors, differ.
    """
    state, ours = checkpoint.get(ENTRY, {}), strategy.state_dict()
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ClassroomError(f'The entry {ENTRY!r} of the checkpoint is no dict of tensors.')
    shapes, expected = ({k: tuple(v.shape) for k, v in s.items()} for s in (state, ours))
    theirs = checkpoint.get(_NAMES)
    if shapes != expected:
        has = f'its entry {ENTRY!r} has {shapes}' if state else f'it has no entry {ENTRY!r}'
        wrong = f'{has}, the strategy has {expected}'
    elif ours and theirs != list(mentors):
        wrong = f'it is of the mentors {theirs!r}, the config has {list(mentors)}'
    else:
        strategy.load_state_dict(state)
        return
    name = type(strategy).__name__
    if resume:
        raise ClassroomError(
            f'The checkpoint cannot be resumed by model.strategy = {name}: {wrong}. Resume with '
            'the strategy, mentors and stages that it was trained with. To start anew from its '
            'weights, give it as load_from, without resume.'
        )
    if ours:
        print_log(
            f'model.strategy = {name} starts anew, not from the checkpoint: {wrong}.',
            'current',
            level=logging.WARNING if state else logging.INFO,
        )
