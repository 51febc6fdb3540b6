"""What a stock model's raw output means."""

from .base import Task
from .classification import ClassificationTask
from .heatmap import HeatmapTask

__all__ = ['ClassificationTask', 'HeatmapTask', 'Task']
