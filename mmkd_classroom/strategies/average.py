"""AVER: every mentor says the same amount. With one mentor it is Hinton's distillation."""

from typing import Any

from torch import Tensor

from ..registry import MODELS
from ..structures import Prediction
from ..tasks import Task
from .weighted import WeightedKD


@MODELS.register_module()
class Average(WeightedKD):
    """All mentors weigh 1; see :class:`WeightedKD`.

    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, for one mentor; the mean
    over several is the plain baseline of multi-teacher distillation.
    """

    def mentor_weights(
        self, mentors: list[Prediction], valid: Tensor, truth: Any, task: Task
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        return valid.to(truth.weights.dtype)
