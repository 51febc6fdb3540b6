"""Divergences between a mentor's and the student's distributions, with one temperature each."""

import torch
from torch import Tensor

from .precision import at_least_float32


def softened(logits: Tensor, temperature: Tensor | float) -> Tensor:
    """Divide logits by a temperature.

    Args:
        logits: ``(..., D)``.
        temperature: Positive number, which does not change the dtype, or a tensor broadcastable to
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
    r"""Kullback-Leibler divergence of softened distributions, scaled by the temperatures.

    .. math::
        D = \tau_m\tau_s \sum_d p_d \log\frac{p_d}{q_d},\quad
        p = \mathrm{softmax}(z_m / \tau_m),\ q = \mathrm{softmax}(z_s / \tau_s)

    Hinton et al. 2015, for equal temperatures. The factor makes the size of the gradient
    independent of the temperature. Computed in at least float32.

    Args:
        student_logits: ``(..., D)``.
        mentor_logits: ``(..., D)``; usually without gradient.
        temperature: :math:`\tau_m`, a positive number, or a tensor broadcastable to ``(...)``.
        student_temperature: :math:`\tau_s`. Default: :math:`\tau_m`.

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


def decoupled_divergence(
    student_logits: Tensor,
    mentor_logits: Tensor,
    labels: Tensor,
    temperature: Tensor | float,
    student_temperature: Tensor | float | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Kullback-Leibler divergence of softened distributions in two parts, scaled by temperature.

    .. math::
        \mathrm{TCKD} = \tau_m\tau_s\, D_\mathrm{KL}\big((p_t, 1 - p_t) \,\|\, (q_t, 1 - q_t)\big),
        \quad
        \mathrm{NCKD} = \tau_m\tau_s\, D_\mathrm{KL}\big(\hat p \,\|\, \hat q\big)

    Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022. The target class has probability
    :math:`p_t`; :math:`\hat p` is the distribution over the other classes. The whole divergence is
    :math:`\mathrm{TCKD} + (1 - p_t)\,\mathrm{NCKD}`.

    Args:
        student_logits: ``(..., D)``.
        mentor_logits: ``(..., D)``.
        labels: Target classes ``(...)``.
        temperature: :math:`\tau_m`, a positive number, or a tensor broadcastable to ``(...)``.
        student_temperature: :math:`\tau_s`. Default: :math:`\tau_m`.

    Returns:
        TCKD and NCKD, ``(...)`` each, not negative.
    """
    student_temperature = temperature if student_temperature is None else student_temperature
    z, v = softened(student_logits, student_temperature), softened(mentor_logits, temperature)
    target = labels.long()[..., None]
    log_q, log_p = _against_others(z, target), _against_others(v, target)
    two_classes = (log_p.exp() * (log_p - log_q)).sum(dim=-1)
    # Not -inf, because -inf minus -inf is NaN. The smallest finite number has probability 0, too.
    least = torch.finfo(z.dtype).min
    log_q = z.scatter(-1, target, least).log_softmax(-1)
    log_p = v.scatter(-1, target, least).log_softmax(-1)
    others = torch.nn.functional.kl_div(log_q, log_p, reduction='none', log_target=True)
    scale = temperature * student_temperature
    return scale * two_classes, scale * others.sum(dim=-1)


def _against_others(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probabilities of the target class and of all other classes together, ``(..., 2)``."""
    least = torch.finfo(logits.dtype).min
    others = logits.scatter(-1, target, least).logsumexp(dim=-1, keepdim=True)
    return torch.cat([logits.gather(-1, target), others], dim=-1).log_softmax(-1)


def standardised(logits: Tensor) -> Tensor:
    r"""Logits with mean 0 and standard deviation 1, :math:`(z - \bar z) / (\mathrm{std}(z) + eps)`.

    Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, with eps = 1e-7. Here
    the divisor is at least 0.01: logits that are all equal, as those of a head that starts with
    zeros, would multiply the gradient by 1e7.

    Args:
        logits: ``(..., D)``.

    Returns:
        ``(..., D)``, at least float32.

    Example:
        >>> standardised(torch.tensor([1.0, 2.0, 3.0]))
        tensor([-1.0000,  0.0000,  1.0000])
    """
    logits = at_least_float32(logits)
    centred = logits - logits.mean(dim=-1, keepdim=True)
    return centred / (logits.std(dim=-1, keepdim=True) + 1e-7).clamp(min=0.01)


def correlation_distances(student: Tensor, mentor: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    r"""Pearson distances :math:`1 - \rho` between two matrices of probabilities.

    Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022.

    Args:
        student: ``(N, C)``.
        mentor: ``(N, C)``.
        valid: ``(N,)`` booleans; other rows are ignored in the correlations of columns.

    Returns:
        Distances ``(N,)`` of the rows and ``(C,)`` of the columns, in [0, 2].
    """
    rows = _pearson_distance(student, mentor, torch.ones_like(student))
    weights = valid[:, None].to(student).expand_as(student)
    return rows, _pearson_distance(student.T, mentor.T, weights.T)


def _pearson_distance(x: Tensor, y: Tensor, weights: Tensor, eps: float = 1e-8) -> Tensor:
    """``1 - rho`` of each row, with a weight of 0 or 1 for each entry."""
    count = weights.sum(dim=-1, keepdim=True).clamp(min=1)
    x, y = ((v - (v * weights).sum(dim=-1, keepdim=True) / count) * weights for v in (x, y))
    return 1 - torch.nn.functional.cosine_similarity(x, y, dim=-1, eps=eps)
