"""Save and load a strategy's parameters in a separate entry of the student's checkpoint."""

import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor

from ..errors import ClassroomError
from ..strategies import Strategy

ENTRY = 'classroom'


def save_strategy(strategy: Strategy, checkpoint: dict[str, Any]) -> None:
    """Add the strategy's parameters to a checkpoint, if it has any.

    Args:
        strategy: Strategy.
        checkpoint: Checkpoint of MMEngine's Runner; changed in place.
    """
    weights = strategy.state_dict()
    if weights:
        checkpoint[ENTRY] = weights_to_cpu(weights)


def load_strategy(strategy: Strategy, checkpoint: dict[str, Any], resume: bool) -> None:
    """Load the strategy's parameters from a checkpoint.

    If the run does not resume but uses ``load_from``, parameters that are not in the file keep
    their initial values.

    Args:
        strategy: Strategy.
        checkpoint: Checkpoint read by MMEngine's Runner.
        resume: Whether the run resumes.

    Raises:
        ClassroomError: The entry holds no parameters; or the run resumes, but their names or
            shapes differ.
    """
    weights, ours = checkpoint.get(ENTRY, {}), strategy.state_dict()
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ClassroomError(f'The entry {ENTRY!r} of the checkpoint is no dict of tensors.')
    shapes, expected = ({k: tuple(v.shape) for k, v in w.items()} for w in (weights, ours))
    if shapes == expected:
        strategy.load_state_dict(weights)
        return
    name = type(strategy).__name__
    if resume:
        theirs = f'its entry {ENTRY!r} has {shapes}' if weights else f'it has no entry {ENTRY!r}'
        raise ClassroomError(
            f'The checkpoint cannot be resumed by model.strategy = {name}: {theirs}, the strategy '
            f'keeps {expected}. Resume with the strategy, mentors and stages that it was trained '
            'with. To start anew from its weights, give it as load_from, without resume.'
        )
    if ours:
        print_log(
            f'The checkpoint has no weights for model.strategy = {name}: they start anew.',
            'current',
            level=logging.WARNING,
        )
