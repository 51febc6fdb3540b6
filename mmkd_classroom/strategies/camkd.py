"""CA-MKD: mentors with a low cross-entropy have more weight, for logits and for features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ClassroomError
from ..features import OUTPUT
from ..functional import confidence_weights, hint_distance
from ..registry import MODELS
from ..structures import Prediction, Scores, Targets
from .base import Members, require
from .weighted import WeightedKD, over_valid, sample_mean


@MODELS.register_module()
class CAMKD(WeightedKD):
    r"""Weight mentors by their cross-entropy with the labels; see :class:`WeightedKD`.

    .. math::
        L = \dots + \lambda\gamma s \frac1N\sum_i \sum_m w_m^i\,
            \frac{1}{C h w}\big\| r_m(F_s^i) - F_m^i \big\|^2

    Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP 2022, arXiv
    2201.00007. The weights are those of :func:`mmkd_classroom.functional.confidence_weights`,
    divided by the number of valid mentors; for poses the cross-entropy is ``-log`` of the score,
    averaged over a sample's labelled joints. Each :math:`r_m` is a 1x1 convolution that is trained
    with the student; s is the student's :attr:`scale <mmkd_classroom.structures.Prediction.scale>`,
    1 for classes.

    Args:
        temperature: See :class:`WeightedKD`.
        weight: :math:`\lambda`, weight of the distillation loss.
        feature_weight: :math:`\gamma`, weight of the features in it; 0 turns them off. The authors'
            script uses 50.
        student_stage: Stage of the student's backbone; see :mod:`mmkd_classroom.features`.
        mentor_stages: Stage of the mentors' backbones, or a list with one for each mentor.

    Raises:
        ClassroomError: An option has an invalid value.
    """

    def __init__(
        self,
        temperature: float | None = None,
        weight: float = 1.0,
        feature_weight: float = 50.0,
        student_stage: str = OUTPUT,
        mentor_stages: str | Sequence[str] = OUTPUT,
    ) -> None:
        super().__init__(temperature, weight)
        require(feature_weight >= 0, 'feature_weight', feature_weight, 'must not be negative')
        self.feature_weight = feature_weight
        self.student_stage = student_stage
        self.mentor_stages = mentor_stages
        self.transforms = nn.ModuleList()

    def stages(self, mentors: Sequence[str]) -> tuple[list[str], list[list[str]]]:
        """See :meth:`Strategy.stages`."""
        if not self.feature_weight:
            return super().stages(mentors)
        return [self.student_stage], [[stage] for stage in self._mentor_stages(len(mentors))]

    def _mentor_stages(self, count: int) -> list[str]:
        if isinstance(self.mentor_stages, str):
            return [self.mentor_stages] * count
        if len(self.mentor_stages) != count:
            raise ClassroomError(
                f'model.strategy.mentor_stages names {len(self.mentor_stages)} stages for '
                f'{count} mentors: give one for each, or one name for all.'
            )
        return list(self.mentor_stages)

    def build(self, members: Members) -> None:
        """See :meth:`Strategy.build`."""
        super().build(members)
        if self.feature_weight:
            (channels,) = members.student_channels.values()
            self.transforms.extend(
                nn.Conv2d(channels, *theirs.values(), kernel_size=1)
                for theirs in members.mentor_channels
            )

    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        valid = scores.valid[1:]
        weights = confidence_weights(sample_mean(scores.nll[1:], valid, targets), valid)
        return over_valid(weights, valid)

    def feature_losses(
        self, student: Prediction, mentors: Sequence[Prediction], coefficient: Tensor
    ) -> Tensor | None:
        """See :meth:`WeightedKD.feature_losses`."""
        if not self.feature_weight:
            return None
        ours = student.features[self.student_stage]
        taught = []
        for part, mentor, r in zip(coefficient.sum(dim=-1), mentors, self.transforms):
            (theirs,) = mentor.features.values()
            taught.append((part * hint_distance(ours, theirs, r.weight, r.bias, False)).mean())
        return self.weight * self.feature_weight * student.scale * torch.stack(taught)
