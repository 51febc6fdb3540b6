"""AVER: all mentors have the same weight. With one mentor, this is Hinton's distillation."""

from collections.abc import Sequence

from torch import Tensor

from ..registry import MODELS
from ..structures import Prediction, Scores, Targets
from .weighted import WeightedKD


@MODELS.register_module()
class AVER(WeightedKD):
    """All mentors have a weight of 1; see :class:`WeightedKD`.

    For one mentor: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015. The mean
    over several mentors is the basic baseline of multi-teacher distillation.
    """

    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        return scores.valid[1:].to(targets.weights.dtype)
