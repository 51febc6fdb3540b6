"""Base class of rankers, which score each member on each item of each sample."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..functional import item_weights
from ..structures import Prediction, Scores, Targets


class Ranker(nn.Module, ABC):
    """Scores all members of a classroom against the targets, once per step, on the device.

    Attributes:
        kind: Kind of the items that it scores: ``'classes'`` or ``'keypoints'``.
    """

    kind: str

    def prepare(self, items: int, metainfo: dict | str | None, sample: Any) -> None:  # noqa: B027
        """Read settings from the data, such as sigmas. Called once, before training.

        Args:
            items: Number of items of a sample.
            metainfo: Definition of the data set, its name, or None.
            sample: A training sample.

        Raises:
            ClassroomError: It cannot score such items.
        """

    @abstractmethod
    def forward(self, members: Sequence[Prediction], targets: Targets) -> Scores:
        """Score all members.

        Args:
            members: Predictions of the student and of M mentors.
            targets: Targets of the batch.

        Returns:
            The scores of the student, then of each mentor.
        """


def validity(members: Sequence[Prediction], targets: Targets) -> tuple[Tensor, Tensor]:
    """Return the valid items of each member, and the weights of a mean over them.

    Args:
        members: Predictions of the student and of M mentors.
        targets: Targets with weights ``(N, K)``.

    Returns:
        Booleans and weights, both ``(M + 1, N, K)``. The weights are those of a mean over the
        labelled items of a sample that the member predicts.
    """
    valid = torch.stack([member.valid for member in members])
    return valid, item_weights(targets.weights * valid)


def mean_of_valid(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid samples.

    Args:
        values: ``(..., N)``.
        valid: ``(..., N)`` booleans.

    Returns:
        ``(...)``; 0 if no sample is valid.
    """
    return (values * valid).sum(-1) / valid.sum(-1).clamp(min=1)
