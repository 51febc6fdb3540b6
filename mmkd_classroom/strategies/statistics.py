"""What a strategy reports of a batch, computed on the device."""

from typing import Any

import torch
from torch import Tensor

from ..structures import Prediction
from ..tasks import Task


def labelled_mean(values: Tensor, truth: Any) -> Tensor:
    """Mean over the labelled items of a batch, each sample counting alike.

    Args:
        values: ``(..., N or 1, K or 1)``.
        truth: Has ``weights`` ``(N, K)``.

    Returns:
        ``(...)``; 0 where nothing is labelled.
    """
    total = truth.weights.sum()
    return (values * truth.weights).sum(dim=(-2, -1)) / torch.where(total > 0, total, 1.0)


@torch.no_grad()
def member_statistics(members: list[Prediction], truth: Any, task: Task) -> dict[str, Tensor]:
    """How good the members are: ``score`` and ``invalid`` ``(M,)``, and ``student_score``.

    Args:
        members: The student, then M mentors.
        truth: ``task.truth`` of the batch.
        task: Scores them.
    """
    score = labelled_mean(task.scores(members, truth), truth)
    broken = [(~member.valid.any(dim=-1)).sum() for member in members[1:]]
    return dict(score=score[1:], invalid=torch.stack(broken), student_score=score[0])


@torch.no_grad()
def share_of(parts: Tensor, losses: dict[str, Tensor]) -> Tensor:
    """What part of the whole loss each mentor makes up.

    Args:
        parts: ``(M,)``, contained in ``losses``.
        losses: Scalars, or ``(N,)``; those with ``loss`` in their name add up to the whole.

    Returns:
        ``(M,)``.
    """
    whole = sum(value.mean() for name, value in losses.items() if 'loss' in name)
    return parts / torch.where(whole != 0, whole, torch.ones_like(whole))
