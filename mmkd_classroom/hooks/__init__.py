"""Hooks of a classroom's training."""

from .cache import CacheHook
from .channels_last import ChannelsLastHook
from .classroom import ClassroomHook
from .cost import CostHook
from .epoch_seed import EpochSeedHook
from .joints import InputJointsHook
from .mentoring import MentoringHook
from .plain_checkpoint import PlainCheckpointHook
from .safe_checkpoint import SafeCheckpointHook
from .sigterm import SigtermHook

__all__ = [
    'CacheHook',
    'ChannelsLastHook',
    'ClassroomHook',
    'CostHook',
    'EpochSeedHook',
    'InputJointsHook',
    'MentoringHook',
    'PlainCheckpointHook',
    'SafeCheckpointHook',
    'SigtermHook',
]
