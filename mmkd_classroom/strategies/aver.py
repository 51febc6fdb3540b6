"""AVER: every mentor has the same weight. With one mentor it is Hinton's distillation."""

from collections.abc import Sequence

from torch import Tensor

from ..registry import MODELS
from ..structures import Prediction, Scores, Targets
from .weighted import WeightedKD


@MODELS.register_module()
class AVER(WeightedKD):
    """All mentors weigh 1; see :class:`WeightedKD`.

    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, for one mentor. The mean
    over several is the plain baseline of multi-teacher distillation.
    """

    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        return scores.valid[1:].to(targets.weights.dtype)
