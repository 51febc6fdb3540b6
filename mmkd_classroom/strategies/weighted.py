"""Base class of AVER, EBKD, CA-MKD and the running advantage: one temperature for all mentors."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from ..divergences import Divergence
from ..functional import item_weights
from ..heads import HeadAdapter
from ..structures import DistillOutput, Prediction, Scores, Targets
from .base import Members, Strategy, check_temperature, require
from .statistics import labelled_mean, member_statistics, share_of


class WeightedKD(Strategy):
    r"""Weighted sum of the divergences from all mentors.

    .. math::
        L = L_{task} + \lambda \frac1N\sum_i \sum_m w_m^i\, D_T(z_s^i, z_m^i)

    D is the divergence at temperature T, by default Hinton's. A mentor is left out, with a weight
    of 0, if its output is not finite or if it does not predict the joint. For poses, the items of a
    sample are its joints, and the mean over the labelled ones is used.

    Args:
        temperature: :math:`T`, of student and mentors. Default: the value of the student's head
            adapter: 4 for classes, 1 for joints (``docs/ablation.md``).
        weight: :math:`\lambda`, weight of the distillation loss.

    Raises:
        ClassroomError: An option has an invalid value.
    """

    def __init__(self, temperature: float | None = None, weight: float = 1.0) -> None:
        super().__init__()
        valid = temperature is None or temperature > 0
        require(valid, 'temperature', temperature, 'must be positive')
        require(weight >= 0, 'weight', weight, 'must not be negative')
        self.temperature = temperature
        self.weight = weight

    def check(self, student: HeadAdapter, divergence: Divergence) -> None:
        """Check that the divergence uses a temperature, if one is given."""
        check_temperature(divergence, temperature=self.temperature)

    def build(self, members: Members) -> None:
        """See :meth:`Strategy.build`."""
        if self.temperature is None:
            self.temperature = members.adapter.temperature

    @abstractmethod
    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """Compute the weights :math:`w`, which need not sum to 1.

        Args:
            mentors: M predictions.
            scores: Scores of the student and the mentors.
            targets: Targets of the batch.

        Returns:
            ``(M, N, K)``, or ``(M, N, 1)`` for whole samples; 0 where the mentor is not valid.
        """

    def feature_losses(
        self, student: Prediction, mentors: Sequence[Prediction], coefficient: Tensor
    ) -> Tensor | None:
        """Losses on feature maps; none by default.

        Args:
            student: Prediction with features and gradient.
            mentors: M predictions with features.
            coefficient: ``(M, N, K)``, weight :math:`w` of each mentor on each labelled item, times
                the item's weight in the mean of its sample. The sum over K is the mentor's weight
                on the sample.

        Returns:
            ``(M,)``, or None.
        """
        return None

    def forward(
        self,
        student: Prediction,
        mentors: Sequence[Prediction],
        scores: Scores,
        targets: Targets,
        divergence: Divergence,
        losses: dict[str, Tensor],
    ) -> DistillOutput:
        """See :meth:`Strategy.forward`."""
        divergences = torch.stack(
            [divergence(student, mentor, targets, self.temperature) for mentor in mentors]
        )  # (M, N, K)
        with torch.no_grad():
            weights = self.mentor_weights(mentors, scores, targets).to(divergences)
            coefficient = weights * targets.weights
        per_mentor = self.weight * (coefficient * divergences).sum(dim=-1).mean(dim=-1)  # (M,)

        losses = dict(losses, loss_mentors=per_mentor.sum())
        features = self.feature_losses(student, mentors, coefficient)
        if features is not None:
            losses['loss_features'] = features.sum()
            per_mentor = per_mentor + features
        return DistillOutput(
            losses,
            dict(
                weight=labelled_mean(weights, targets),
                share=share_of(per_mentor, losses),
                **member_statistics(scores, targets),
            ),
            weights,
        )


def over_valid(weights: Tensor, valid: Tensor) -> Tensor:
    """Divide weights ``(M, N, K)`` by V, the number of mentors that are valid on the item."""
    return weights / valid.sum(dim=0).clamp(min=1)


def sample_mean(values: Tensor, valid: Tensor, targets: Targets) -> Tensor:
    """Mean of each sample over the labelled items that a mentor predicts.

    Args:
        values: ``(M, N, K)``.
        valid: ``(M, N, K)`` booleans.
        targets: Targets with weights ``(N, K)``.

    Returns:
        ``(M, N, 1)``; 0 if there is no such item.
    """
    return (values * item_weights(targets.weights * valid)).sum(dim=-1, keepdim=True)
