"""Distillation algorithms. One strategy per file."""

from .advantage import RunningAdvantage
from .amtml import AMTML
from .aver import AVER
from .base import Members, Strategy
from .camkd import CAMKD
from .classroom import ClassroomKD
from .ebkd import EBKD
from .weighted import WeightedKD

#: The strategy of a classroom that names none; ``docs/results.md`` says why.
DEFAULT_STRATEGY = 'RunningAdvantage'

__all__ = [
    'AMTML',
    'AVER',
    'CAMKD',
    'ClassroomKD',
    'DEFAULT_STRATEGY',
    'EBKD',
    'Members',
    'RunningAdvantage',
    'Strategy',
    'WeightedKD',
]
