"""The contract of a ranker: how good is each member on each item of each sample?"""

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
        kind: ``'classes'`` or ``'keypoints'``: what it scores.
    """

    kind: str

    def bind(self, items: int, metainfo: dict | str | None, sample: Any) -> None:  # noqa: B027
        """Learn what it must know of the data; called once, before training.

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
            members: The student, then M mentors.
            targets: Of the batch.
        """


def validity(members: Sequence[Prediction], targets: Targets) -> tuple[Tensor, Tensor]:
    """Which items of each member count, and how much in its mean.

    Args:
        members: The student, then M mentors.
        targets: With weights ``(N, K)``.

    Returns:
        Booleans and weights, both ``(M + 1, N, K)``. The weights of a sample average over the
        labelled items that the member has.
    """
    valid = torch.stack([member.valid for member in members])
    return valid, item_weights(targets.weights * valid)


def mean_of_valid(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of ``(..., N)`` values over the valid ones, 0 where none is."""
    return (values * valid).sum(-1) / valid.sum(-1).clamp(min=1)
