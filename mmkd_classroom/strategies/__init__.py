"""Distillation algorithms, one a file."""

from .amtml import AMTML
from .average import Average
from .base import Strategy
from .classroom import ClassroomKD
from .confidence import ConfidenceAware
from .entropy import EntropyWeighted
from .weighted import WeightedKD

__all__ = [
    'AMTML',
    'Average',
    'ClassroomKD',
    'ConfidenceAware',
    'EntropyWeighted',
    'Strategy',
    'WeightedKD',
]
