"""EBKD: mentors with a low entropy have more weight."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..functional import entropy, entropy_weights
from ..registry import MODELS
from ..structures import Prediction, Scores, Targets
from .weighted import WeightedKD, over_valid, sample_mean


@MODELS.register_module()
class EBKD(WeightedKD):
    """Weight mentors by the entropy of their prediction; see :class:`WeightedKD`.

    Kwon et al., "Adaptive Knowledge Distillation Based on Entropy", ICASSP 2020. The entropy is
    computed at temperature 1 and averaged over a sample's labelled items. The weights are those of
    :func:`mmkd_classroom.functional.entropy_weights`, divided by the number of valid mentors.
    """

    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        entropies = torch.stack(
            [sum(entropy(z.softmax(dim=-1)) for z in mentor.logits) for mentor in mentors]
        )
        valid = scores.valid[1:]
        return over_valid(entropy_weights(sample_mean(entropies, valid, targets), valid), valid)
