"""What a strategy has learned, in its own entry of a checkpoint: the rest of it is a student."""

import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.runner.checkpoint import weights_to_cpu

from ..errors import ClassroomError
from ..strategies import Strategy

ENTRY = 'classroom'


def save_strategy(strategy: Strategy, checkpoint: dict[str, Any]) -> None:
    """Put the strategy's weights into a checkpoint; nothing where it learns nothing.

    Args:
        strategy: Strategy.
        checkpoint: As MMEngine's Runner saves it.
    """
    weights = strategy.state_dict()
    if weights:
        checkpoint[ENTRY] = weights_to_cpu(weights)


def load_strategy(strategy: Strategy, checkpoint: dict[str, Any], resume: bool) -> None:
    """Take the strategy's weights from a checkpoint.

    Where a run does not resume but starts from another's weights (``load_from``), a strategy whose
    weights are not in the file starts anew.

    Args:
        strategy: Strategy.
        checkpoint: As MMEngine's Runner read it.
        resume: Whether training goes on where the checkpoint left it.

    Raises:
        ClassroomError: To resume, the file lacks weights or has others.
    """
    weights, ours = checkpoint.get(ENTRY, {}), strategy.state_dict()
    shapes, expected = ({k: tuple(v.shape) for k, v in w.items()} for w in (weights, ours))
    if shapes == expected:
        strategy.load_state_dict(weights)
        return
    name = type(strategy).__name__
    if resume:
        raise ClassroomError(
            f'The checkpoint cannot be resumed by model.strategy = {name}: its entry {ENTRY!r} has '
            f'{shapes}, the strategy {expected}. Resume with the strategy, mentors and stages that '
            'it was trained with.'
        )
    if ours:
        print_log(
            f'The checkpoint has no weights for model.strategy = {name}: they start anew.',
            'current',
            level=logging.WARNING,
        )
