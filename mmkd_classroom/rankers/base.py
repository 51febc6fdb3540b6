"""The contract of a ranker: how well did a member do on each item of each sample?"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Ranker(nn.Module, ABC):
    """Scores predictions against the truth, on the device.

    A sample has K items that are judged on their own: its joints, or, for a class, one.
    """

    #: Which truth it reads: ``'classes'`` or ``'keypoints'``; a task accepts its own kind.
    kind: str

    def check(self, items: int, metainfo: dict | str | None) -> None:  # noqa: B027 (may do nothing)
        """Raise a :class:`ClassroomError` if it cannot judge so many items of this data set."""

    @abstractmethod
    def score(self, prediction: Tensor, truth: Any) -> Tensor:
        """Score of each item.

        Args:
            prediction: ``(..., N, C)`` logits or ``(..., N, K, 2)`` joints.
            truth: The matching structure of :mod:`mmkd_classroom.structures`. Its weights may be
                ``(..., N, K)`` as well.

        Returns:
            ``(..., N, K)`` in [0, 1].
        """

    @abstractmethod
    def correct(self, prediction: Tensor, truth: Any) -> Tensor:
        """Whether each sample counts as right, for the option ``require_correct``.

        Returns:
            ``(..., N)`` booleans.
        """

    def surprise(self, prediction: Tensor, truth: Any) -> Tensor:
        """``-log`` of the score, finite: a score of 0 counts as the least positive number.

        Returns:
            ``(..., N, K)``, not negative.
        """
        score = self.score(prediction, truth)
        return -score.clamp(min=torch.finfo(score.dtype).tiny).log()

    def batch_score(self, prediction: Tensor, truth: Any, valid: Tensor) -> Tensor:
        """One score for a whole batch, for ``granularity='batch'``: the mean over its samples.

        Args:
            prediction: As in :meth:`score`.
            truth: As in :meth:`score`.
            valid: ``(..., N)`` booleans; the other samples do not count.

        Returns:
            ``(...)`` in [0, 1]; 0 where no sample is valid.
        """
        score = (self.score(prediction, truth) * truth.weights).sum(-1)
        return mean_of_valid(score, valid)


def mean_of_valid(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of ``(..., N)`` values over the valid ones, 0 where none is."""
    return (values * valid).sum(-1) / valid.sum(-1).clamp(min=1)
