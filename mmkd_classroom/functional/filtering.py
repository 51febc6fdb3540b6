"""Knowledge Filtering: ranks, active mentors, gaps and temperatures.

ClassroomKD, Sarode et al., arXiv 2409.20237. Member 0 is the student, members 1..M are the mentors.
The trailing dimensions are arbitrary, such as samples, samples and joints, or none for a batch.
"""

import torch
from torch import Tensor


def ranks(scores: Tensor) -> Tensor:
    r"""Rank of each member: its fraction of the sum of scores, times the number of mentors.

    .. math:: r_k = \frac{M\, q_k}{\sum_j q_j}

    The sum is over student and mentors. If all scores are 0, all ranks are 0.

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
        ties: Whether a mentor with the same rank as the student is active.

    Returns:
        ``(M, ...)`` booleans.
    """
    return rank[1:] >= rank[:1] if ties else rank[1:] > rank[:1]


def gap(rank: Tensor) -> Tensor:
    r"""Relative gap between each mentor and the student; 0 if the mentor does not rank above it.

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
    r"""Temperature for a gap, :math:`\tau_m = 1 + \tau_{max}\psi_m`.

    Args:
        psi: Gap of any shape, in [0, 1].
        tau_max: Not negative.

    Returns:
        Temperatures of the same shape, in [1, 1 + tau_max].
    """
    return 1 + tau_max * psi


def dtkd_temperatures(
    student_peak: Tensor, mentor_peak: Tensor, reference: float
) -> tuple[Tensor, Tensor]:
    r"""Temperatures of student and mentor, proportional to their peak logits.

    .. math::
        \tau_s = \frac{2\max z_s}{\max z_m + \max z_s}\tau,\quad
        \tau_m = \frac{2\max z_m}{\max z_m + \max z_s}\tau

    DTKD (2024). If a peak is not positive, the formula is not defined and both temperatures are the
    reference.

    Args:
        student_peak: Largest logit of the student, any shape.
        mentor_peak: Largest logit of the mentor, the same shape.
        reference: :math:`\tau`.

    Returns:
        :math:`\tau_s` and :math:`\tau_m`, of the same shape.
    """
    meaningful = (student_peak > 0) & (mentor_peak > 0)
    student_peak = torch.where(meaningful, student_peak, torch.ones_like(student_peak))
    mentor_peak = torch.where(meaningful, mentor_peak, torch.ones_like(mentor_peak))
    unit = 2 * reference / (student_peak + mentor_peak)
    return student_peak * unit, mentor_peak * unit
