"""Hooks of a classroom's training."""

from .entrance import EntranceCheck
from .epoch_seed import EpochSeedHook
from .mentoring import MentoringHook
from .plain_checkpoint import PlainCheckpointHook

__all__ = ['EntranceCheck', 'EpochSeedHook', 'MentoringHook', 'PlainCheckpointHook']
