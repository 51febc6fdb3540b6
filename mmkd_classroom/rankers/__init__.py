"""Rankers: score each member of the classroom on each sample, for Knowledge Filtering."""

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
