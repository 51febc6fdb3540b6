"""Knowledge Filtering: who ranks above the student, by how much, and how softly to teach.

ClassroomKD, Sarode et al., arXiv 2409.20237. Member 0 is the student, members 1..M the mentors;
the trailing dimensions are any: samples, samples and joints, or one value for a whole batch.
"""

import torch
from torch import Tensor


def ranks(scores: Tensor) -> Tensor:
    r"""Rank of each classroom member: its share of all scores, times the number of mentors.

    .. math:: r_k = \frac{M\, q_k}{\sum_j q_j}

    The sum runs over student and mentors. Where every score is 0 so is every rank.

    Args:
        scores: ``(M + 1, ...)``, in [0, 1].

    Returns:
        ``(M + 1, ...)`` in [0, M].
    """
    total = scores.sum(dim=0, keepdim=True)
    mentors = scores.shape[0] - 1
    return mentors * scores / torch.where(total > 0, total, torch.ones_like(total))


def active_mentors(rank: Tensor, ties: bool = False) -> Tensor:
    """Whether each mentor ranks above the student, :math:`r_m > r_s`.

    Args:
        rank: ``(M + 1, ...)`` from :func:`ranks`.
        ties: Whether a mentor as good as the student teaches too.

    Returns:
        ``(M, ...)`` booleans.
    """
    return rank[1:] >= rank[:1] if ties else rank[1:] > rank[:1]


def gap(rank: Tensor) -> Tensor:
    r"""Relative gap between each mentor and the student, 0 where the mentor is not above it.

    .. math:: \psi_m = \max\left(0, \frac{r_m - r_s}{r_m}\right)

    Args:
        rank: ``(M + 1, ...)`` from :func:`ranks`.

    Returns:
        ``(M, ...)`` in [0, 1].
    """
    mentor, student = rank[1:], rank[:1]
    safe = torch.where(mentor > 0, mentor, torch.ones_like(mentor))
    return ((mentor - student) / safe).clamp(min=0)


def temperature(psi: Tensor, tau_max: float) -> Tensor:
    r"""A wide gap softens the targets, :math:`\tau_m = 1 + \tau_{max}\psi_m`.

    Args:
        psi: Gap, any shape, in [0, 1].
        tau_max: Not negative.

    Returns:
        Temperatures of the same shape, in [1, 1 + tau_max].
    """
    return 1 + tau_max * psi


def dtkd_temperatures(student_peak: Tensor, mentor_peak: Tensor, reference: float) -> tuple:
    r"""Temperatures of student and mentor that share out a reference by their peak logits.

    .. math::
        \tau_s = \frac{2\max z_s}{\max z_m + \max z_s}\tau,\quad
        \tau_m = \frac{2\max z_m}{\max z_m + \max z_s}\tau

    DTKD (2024). Where a peak is not positive the formula has no meaning and both temperatures
    are the reference.

    Args:
        student_peak: Greatest logit, any shape.
        mentor_peak: Greatest logit, the same shape.
        reference: :math:`\tau`.

    Returns:
        Two tensors, :math:`\tau_s` and :math:`\tau_m`, of that shape.
    """
    meaningful = (student_peak > 0) & (mentor_peak > 0)
    student_peak = torch.where(meaningful, student_peak, torch.ones_like(student_peak))
    mentor_peak = torch.where(meaningful, mentor_peak, torch.ones_like(mentor_peak))
    unit = 2 * reference / (student_peak + mentor_peak)
    return student_peak * unit, mentor_peak * unit
