"""Rank pose estimators by their confidence, without using the labels."""

from torch import Tensor

from ..registry import TASK_UTILS
from ..structures import JointTargets
from .keypoints import KeypointRanker


@TASK_UTILS.register_module()
class ConfidenceRanker(KeypointRanker):
    """Score of each joint by the member's own codec, clamped to [0, 1].

    For labels that are inaccurate or few. A member with high confidence ranks high even if it is
    wrong, and members with different heads are comparable only if their codecs' scores are. See
    :class:`KeypointRanker` for arguments.
    """

    def score(self, joints: Tensor, confidences: Tensor, targets: JointTargets) -> Tensor:
        """See :meth:`KeypointRanker.score`."""
        return confidences.clamp(0, 1)
