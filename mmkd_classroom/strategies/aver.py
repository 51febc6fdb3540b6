"""AVER: all mentors have the same weight. With one mentor, this is Hinton's distillation."""

from collections.abc import Sequence

from torch import Tensor

from ..registry import MODELS
from ..structures import Prediction, Scores, Targets
from .weighted import WeightedKD, over_valid


@MODELS.register_module()
class AVER(WeightedKD):
    """All V valid mentors have a weight of 1 / V; see :class:`WeightedKD`.

    For one mentor: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015. The mean
    over several mentors is the basic baseline of multi-teacher distillation.
    """

    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        valid = scores.valid[1:]
        return over_valid(valid.to(scores.item), valid)
