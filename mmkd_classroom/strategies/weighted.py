"""What AVER, EBKD and CA-MKD have in common: all mentors teach, at one temperature."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from ..functional import item_weights
from ..structures import Lesson, Prediction
from ..tasks import Task
from .base import Strategy, require
from .statistics import labelled_mean, member_statistics, share_of


class WeightedKD(Strategy):
    r"""The mean over the mentors of their softened divergences, each with a weight.

    .. math::
        L = L_{task} + \lambda \frac1N\sum_i \frac{1}{V^i}\sum_m w_m^i\, T^2\,
            D_\mathrm{KL}\big(\sigma(z_m^i/T) \,\|\, \sigma(z_s^i/T)\big)

    V counts the mentors that are valid on the sample: one that gave values which are not finite,
    or does not know the joint, is as if it were not there. Items of a sample (joints) are averaged
    over the labelled ones.

    Args:
        temperature: :math:`T`.
        weight: :math:`\lambda`.

    Raises:
        ClassroomError: An option has a value it cannot have.
    """

    def __init__(self, temperature: float = 4.0, weight: float = 1.0) -> None:
        super().__init__()
        require(temperature > 0, 'temperature', temperature, 'must be positive')
        require(weight >= 0, 'weight', weight, 'must not be negative')
        self.temperature = temperature
        self.weight = weight

    @abstractmethod
    def mentor_weights(
        self, mentors: list[Prediction], valid: Tensor, truth: Any, task: Task
    ) -> Tensor:
        """The weights :math:`w`.

        Args:
            mentors: M predictions.
            valid: ``(M, N, K)`` booleans.
            truth: ``task.truth`` of the batch.
            task: Scores and compares predictions.

        Returns:
            ``(M, N, K)``, detached, 0 where not valid.
        """

    def feature_losses(
        self, student: Prediction, mentors: list[Prediction], coefficient: Tensor, task: Task
    ) -> dict[str, Tensor]:
        """Losses on feature maps; none by default.

        Args:
            student: With features and gradient.
            mentors: M predictions with features.
            coefficient: ``(M, N, K)``, the part :math:`w / V` of each mentor in each labelled item;
                summed over K, its part in the sample.
            task: Scales them.
        """
        return {}

    def forward(
        self,
        student: Prediction,
        mentors: list[Prediction],
        truth: Any,
        task: Task,
        losses: dict[str, Tensor],
    ) -> Lesson:
        """See :meth:`Strategy.forward`."""
        members = [student, *mentors]
        valid = task.valid(members, truth)[1:]  # (M, N, K)
        divergences = torch.stack(
            [task.divergence(student, mentor, self.temperature) for mentor in mentors]
        )  # (M, N, K)
        with torch.no_grad():
            weights = self.mentor_weights(mentors, valid, truth, task).to(divergences)
            coefficient = weights / valid.sum(dim=0).clamp(min=1) * truth.weights
        per_mentor = self.weight * (coefficient * divergences).sum(dim=-1).mean(dim=-1)  # (M,)

        features = self.feature_losses(student, mentors, coefficient, task)
        lesson = Lesson(dict(losses, loss_mentors=per_mentor.sum(), **features))
        lesson.statistics = dict(
            weight=labelled_mean(weights, truth),
            share=share_of(per_mentor, lesson.losses),
            **member_statistics(members, truth, task),
        )
        return lesson


def sample_mean(values: Tensor, valid: Tensor, truth: Any) -> Tensor:
    """Mean of each sample over the labelled items that a mentor has.

    Args:
        values: ``(M, N, K)``.
        valid: ``(M, N, K)`` booleans.
        truth: Has ``weights`` ``(N, K)``.

    Returns:
        ``(M, N, 1)``; 0 where there is no such item.
    """
    return (values * item_weights(truth.weights * valid)).sum(dim=-1, keepdim=True)
