"""Head adapters: interpret and convert the raw output of stock heads. One file per kind of head."""

from .base import HeadAdapter, OutputAdapter
from .build import adapter_types, build_adapter, mentor_adapter
from .classification import ClassificationAdapter
from .heatmap import HeatmapAdapter
from .integral import IntegralAdapter
from .keypoints import KeypointAdapter
from .megvii import MegviiAdapter
from .offsets import OffsetAdapter
from .regression import RegressionAdapter, RLEAdapter
from .simcc import SimCCAdapter

__all__ = [
    'ClassificationAdapter',
    'HeadAdapter',
    'HeatmapAdapter',
    'IntegralAdapter',
    'KeypointAdapter',
    'MegviiAdapter',
    'OffsetAdapter',
    'OutputAdapter',
    'RLEAdapter',
    'RegressionAdapter',
    'SimCCAdapter',
    'adapter_types',
    'build_adapter',
    'mentor_adapter',
]
