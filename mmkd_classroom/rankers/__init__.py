"""Knowledge Filtering rankers: how good each classroom member is on each sample."""

from .base import Ranker
from .classes import TrueClassRanker
from .confidence import ConfidenceRanker
from .default import default_ranker
from .keypoints import KeypointRanker, OKSRanker, PCKRanker

__all__ = [
    'ConfidenceRanker',
    'KeypointRanker',
    'OKSRanker',
    'PCKRanker',
    'Ranker',
    'TrueClassRanker',
    'default_ranker',
]
