"""Divergences between a mentor's and the student's distributions, with a temperature each."""

import torch
from torch import Tensor

from .scores import at_least_float32


def softened(logits: Tensor, temperature: Tensor | float) -> Tensor:
    """Logits over their temperature.

    Args:
        logits: ``(..., D)``.
        temperature: Positive: one for all, which keeps the logits' precision, or broadcastable to
            ``(...)``.

    Returns:
        ``(..., D)``, at least float32.
    """
    by = temperature[..., None] if isinstance(temperature, Tensor) else temperature
    return at_least_float32(logits) / by


def kl_divergence(
    student_logits: Tensor,
    mentor_logits: Tensor,
    temperature: Tensor | float,
    student_temperature: Tensor | float | None = None,
) -> Tensor:
    r"""Softened Kullback-Leibler divergence, scaled by the temperatures.

    .. math::
        D = \tau_m\tau_s \sum_d p_d \log\frac{p_d}{q_d},\quad
        p = \mathrm{softmax}(z_m / \tau_m),\ q = \mathrm{softmax}(z_s / \tau_s)

    Hinton et al. 2015, where both temperatures are one. The factor keeps the gradient's size as
    the temperature grows. Computed in at least float32.

    Args:
        student_logits: ``(..., D)``.
        mentor_logits: ``(..., D)``; no gradient should be needed.
        temperature: :math:`\tau_m`, positive: one for all, or broadcastable to ``(...)``.
        student_temperature: :math:`\tau_s`, by default :math:`\tau_m`.

    Returns:
        ``(...)``, not negative.

    Example:
        >>> kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2))
        tensor([0., 0.])
    """
    student_temperature = temperature if student_temperature is None else student_temperature
    log_q = softened(student_logits, student_temperature).log_softmax(-1)
    log_p = softened(mentor_logits, temperature).log_softmax(-1)
    pointwise = torch.nn.functional.kl_div(log_q, log_p, reduction='none', log_target=True)
    return temperature * student_temperature * pointwise.sum(dim=-1)


def soft_target_divergence(
    student_logits: Tensor, target: Tensor, temperature: Tensor | float
) -> Tensor:
    r"""Kullback-Leibler divergence of the softened student from given probabilities.

    .. math:: D = \tau^2 \sum_d p_d \log\frac{p_d}{q_d},\quad q = \mathrm{softmax}(z_s / \tau)

    Args:
        student_logits: ``(..., D)``.
        target: :math:`p`, ``(..., D)``, in [0, 1]; a cell of probability 0 counts nothing.
        temperature: :math:`\tau`, positive: one for all, or broadcastable to ``(...)``.

    Returns:
        ``(...)``, not negative where the target sums to 1.
    """
    log_q = softened(student_logits, temperature).log_softmax(-1)
    pointwise = torch.nn.functional.kl_div(log_q, at_least_float32(target), reduction='none')
    return temperature**2 * pointwise.sum(dim=-1)
