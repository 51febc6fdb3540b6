"""Knowledge Filtering rankers: how good each classroom member is on each sample."""

from .base import Ranker
from .classes import TrueClassRanker
from .keypoints import KeypointRanker, OKSRanker, PCKRanker, usual_ranker

__all__ = ['KeypointRanker', 'OKSRanker', 'PCKRanker', 'Ranker', 'TrueClassRanker', 'usual_ranker']
