"""Hooks of a classroom's training."""

from .cost import CostHook
from .entrance import EntranceCheck
from .epoch_seed import EpochSeedHook
from .mentoring import MentoringHook
from .plain_checkpoint import PlainCheckpointHook

__all__ = [
    'CostHook',
    'EntranceCheck',
    'EpochSeedHook',
    'MentoringHook',
    'PlainCheckpointHook',
]
