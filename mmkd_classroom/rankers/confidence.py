"""Ranking pose estimators by how sure they are, without looking at the labels."""

from torch import Tensor

from ..registry import TASK_UTILS
from ..structures import JointTargets
from .keypoints import KeypointRanker


@TASK_UTILS.register_module()
class ConfidenceRanker(KeypointRanker):
    """The score that each member's own codec gives a joint, cut off to [0, 1].

    For labels that are rough or few. It trusts the members: one that is sure and wrong ranks high,
    and heads are comparable as far as their scores are. Arguments as of :class:`KeypointRanker`.
    """

    def score(self, joints: Tensor, confidences: Tensor, targets: JointTargets) -> Tensor:
        """See :meth:`KeypointRanker.score`."""
        return confidences.clamp(0, 1)
