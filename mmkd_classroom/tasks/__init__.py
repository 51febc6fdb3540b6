"""What a stock model's raw output means."""

from .base import Reader, Task
from .classification import ClassificationTask
from .heatmap import HeatmapTask
from .pose import PoseTask
from .simcc import SimCCTask

__all__ = ['ClassificationTask', 'HeatmapTask', 'PoseTask', 'Reader', 'SimCCTask', 'Task']
