"""Distillation algorithms, one a file."""

from .base import Strategy
from .classroom import ClassroomKD

__all__ = ['ClassroomKD', 'Strategy']
