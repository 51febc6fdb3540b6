"""What a strategy reports of a batch, computed on the device."""

import torch
from torch import Tensor

from ..structures import Scores, Targets


def labelled_mean(values: Tensor, targets: Targets) -> Tensor:
    """Mean over the labelled items of a batch, each sample counting alike.

    Args:
        values: ``(..., N or 1, K or 1)``.
        targets: With weights ``(N, K)``.

    Returns:
        ``(...)``; 0 where nothing is labelled.
    """
    total = targets.weights.sum()
    return (values * targets.weights).sum(dim=(-2, -1)) / torch.where(total > 0, total, 1.0)


@torch.no_grad()
def member_statistics(scores: Scores, targets: Targets) -> dict[str, Tensor]:
    """How good the members are: ``score`` and ``invalid`` ``(M,)``, and ``student_score``."""
    score = labelled_mean(scores.item, targets)
    return dict(score=score[1:], invalid=invalid_samples(scores), student_score=score[0])


def invalid_samples(scores: Scores) -> Tensor:
    """Number of samples on which each mentor said nothing, ``(M,)``."""
    return (~scores.valid[1:].any(dim=-1)).sum(dim=-1)


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
