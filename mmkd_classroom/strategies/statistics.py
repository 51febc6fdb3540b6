"""Statistics of a batch for strategies, computed on the device."""

import torch
from torch import Tensor

from ..structures import Scores, Targets


def labelled_mean(values: Tensor, targets: Targets) -> Tensor:
    """Mean over the labelled items of a batch, with the same weight for each sample.

    Args:
        values: ``(..., N or 1, K or 1)``.
        targets: Targets with weights ``(N, K)``.

    Returns:
        ``(...)``; 0 if no item is labelled.
    """
    total = targets.weights.sum()
    return (values * targets.weights).sum(dim=(-2, -1)) / torch.where(total > 0, total, 1.0)


@torch.no_grad()
def member_statistics(scores: Scores, targets: Targets) -> dict[str, Tensor]:
    """Statistics of the members: ``score`` and ``invalid``, ``(M,)``, and ``student_score``.

    A score is the mean over the samples with a labelled item that the member predicts.
    """
    # A joint that a mentor does not predict is no error of it.
    predicts = (targets.weights * scores.valid).any(dim=-1)  # (M + 1, N)
    score = (scores.sample * predicts).sum(dim=-1) / predicts.sum(dim=-1).clamp(min=1)
    invalid = (~scores.valid[1:].any(dim=-1)).sum(dim=-1)  # number of samples
    return dict(score=score[1:], invalid=invalid, student_score=score[0])


@torch.no_grad()
def share_of(parts: Tensor, losses: dict[str, Tensor]) -> Tensor:
    """Fraction of the total loss from each mentor.

    Args:
        parts: Losses of the mentors, ``(M,)``, included in ``losses``.
        losses: Scalars, or ``(N,)``; the total is the sum of those with ``loss`` in their name. Of
            a negative one, such as a log-likelihood of densities, the magnitude counts.

    Returns:
        ``(M,)``.
    """
    whole = sum(value.mean().abs() for name, value in losses.items() if 'loss' in name)
    return parts / torch.where(whole != 0, whole, torch.ones_like(whole))
