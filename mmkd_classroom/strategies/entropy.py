"""EBKD: certain mentors say more."""

from typing import Any

import torch
from torch import Tensor

from ..functional import entropy, entropy_weights
from ..registry import MODELS
from ..structures import Prediction
from ..tasks import Task
from .weighted import WeightedKD, sample_mean


@MODELS.register_module()
class EntropyWeighted(WeightedKD):
    """Mentors weighted by the entropy of their prediction; see :class:`WeightedKD`.

    Kwon et al., "Adaptive Knowledge Distillation Based on Entropy", ICASSP 2020. The entropy is
    that of the prediction at temperature 1, averaged over a sample's labelled items; the weights
    are those of :func:`mmkd_classroom.functional.entropy_weights`.
    """

    def mentor_weights(
        self, mentors: list[Prediction], valid: Tensor, truth: Any, task: Task
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        one = truth.weights.new_ones(())
        entropies = torch.stack(
            [sum(entropy(p) for p in task.probabilities(mentor, one)) for mentor in mentors]
        )
        return entropy_weights(sample_mean(entropies, valid, truth), valid)
