"""CA-MKD: mentors near the truth say more, in their logits and in their features."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import ClassroomError
from ..features import OUTPUT
from ..functional import confidence_weights, hint_distance
from ..registry import MODELS
from ..structures import Prediction
from ..tasks import Task
from .base import require, task_scale
from .weighted import WeightedKD, sample_mean


@MODELS.register_module()
class ConfidenceAware(WeightedKD):
    r"""Mentors weighted by their cross-entropy with the truth; see :class:`WeightedKD`.

    .. math::
        L = \dots + \lambda\gamma s \frac1N\sum_i \frac{1}{V^i}\sum_m w_m^i\,
            \frac{1}{C h w}\big\| r_m(F_s^i) - F_m^i \big\|^2

    Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP 2022, arXiv
    2201.00007. The weights are those of :func:`mmkd_classroom.functional.confidence_weights`; for
    poses the cross-entropy is ``-log`` of the score, averaged over a sample's labelled joints. Each
    :math:`r_m` is a 1x1 convolution that learns with the student; s is the task's
    :func:`scale <mmkd_classroom.strategies.base.task_scale>`, 1 for classes.

    Args:
        temperature: :math:`T`.
        weight: :math:`\lambda`.
        feature_weight: :math:`\gamma`; 0 leaves the features out. The authors' script has 50.
        student_stage: Stage of the student's backbone; see :mod:`mmkd_classroom.features`.
        mentor_stages: Stage of the mentors' backbones, or a list with one for each mentor.

    Raises:
        ClassroomError: An option has a value it cannot have.
    """

    def __init__(
        self,
        temperature: float = 4.0,
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
        if isinstance(self.mentor_stages, str):
            self.mentor_stages = [self.mentor_stages] * len(mentors)
        if len(self.mentor_stages) != len(mentors):
            raise ClassroomError(
                f'model.strategy.mentor_stages names {len(self.mentor_stages)} stages for '
                f'{len(mentors)} mentors: give one for each, or one name for all.'
            )
        return [self.student_stage], [[stage] for stage in self.mentor_stages]

    def adapt(self, student: dict[str, int], mentors: list[dict[str, int]]) -> None:
        """See :meth:`Strategy.adapt`."""
        if self.feature_weight:
            (channels,) = student.values()
            self.transforms.extend(
                nn.Conv2d(channels, *theirs.values(), kernel_size=1) for theirs in mentors
            )

    def mentor_weights(
        self, mentors: list[Prediction], valid: Tensor, truth: Any, task: Task
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        surprise = task.surprise(mentors, truth)  # (M, N, K)
        return confidence_weights(sample_mean(surprise, valid, truth), valid)

    def feature_losses(
        self, student: Prediction, mentors: list[Prediction], coefficient: Tensor, task: Task
    ) -> dict[str, Tensor]:
        """See :meth:`WeightedKD.feature_losses`."""
        if not self.feature_weight:
            return {}
        ours = student.features[self.student_stage]
        taught = [
            (part * hint_distance(ours, mentor.features[stage], r.weight, r.bias, False)).mean()
            for part, mentor, stage, r in zip(
                coefficient.sum(dim=-1), mentors, self.mentor_stages, self.transforms
            )
        ]
        factor = self.weight * self.feature_weight * task_scale(student, task)
        return dict(loss_features=factor * sum(taught))
