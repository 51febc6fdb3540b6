"""Default ranker of a classroom."""

from ..errors import ClassroomError
from .base import Ranker
from .classes import TrueClassRanker
from .keypoints import OKSRanker, PCKRanker, dataset_sigmas


def default_ranker(kind: str, metainfo: dict | str | None) -> Ranker:
    """True-class probability for classes; OKS for joints, or PCK if the data set has no sigmas.

    Args:
        kind: ``'classes'`` or ``'keypoints'``.
        metainfo: Definition of the data set, its name, or None.
    """
    if kind == 'classes':
        return TrueClassRanker()
    try:
        dataset_sigmas(metainfo)
    except ClassroomError:
        return PCKRanker()
    return OKSRanker()
