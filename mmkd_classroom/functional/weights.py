"""How much each mentor says on each sample: by entropy, by confidence, by learned latents.

Mentors lie along the first dimension, M. A mentor that is not valid on a sample has weight 0
there, and the others have the weights that they would have without it.
"""

import torch
from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    r"""Shannon entropy, in nats.

    .. math:: H = -\sum_d p_d \log p_d

    Args:
        probabilities: ``(..., D)``, rows that sum to 1; a probability of 0 adds nothing.

    Returns:
        ``(...)`` in [0, log D].

    Example:
        >>> entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
        tensor([0.0000, 0.6931])
    """
    return torch.special.entr(probabilities).sum(dim=-1)


def masked_softmax(values: Tensor, valid: Tensor) -> Tensor:
    r"""Softmax over the valid ones of the first dimension.

    Args:
        values: ``(M, ...)``, finite.
        valid: ``(M, ...)`` booleans.

    Returns:
        ``(M, ...)``; sums to 1 over M, or to 0 where none is valid.
    """
    lowest = torch.finfo(values.dtype).min  # not -inf: where none is valid the softmax must exist
    return torch.where(valid, values, lowest).softmax(dim=0) * valid


def entropy_weights(entropies: Tensor, valid: Tensor) -> Tensor:
    r"""EBKD: the more certain a mentor is, the more it says.

    .. math:: w_m = 1 - \frac{H_m}{\sum_{m'} H_{m'}}

    Kwon et al., "Adaptive Knowledge Distillation Based on Entropy", ICASSP 2020. The weights of V
    valid mentors sum to V - 1. The formula has two gaps: a mentor alone has weight 1, for there is
    nothing to compare it with, and mentors without any entropy share it equally.

    Args:
        entropies: :math:`H`, ``(M, ...)``, not negative.
        valid: ``(M, ...)`` booleans.

    Returns:
        ``(M, ...)`` in [0, 1]; 0 where not valid.
    """
    entropies = torch.where(valid, entropies, 0.0)
    count = valid.sum(dim=0)
    total = entropies.sum(dim=0)
    share = torch.where(
        total > 0, entropies / torch.where(total > 0, total, 1.0), 1.0 / count.clamp(min=1)
    )
    return torch.where(count == 1, 1.0, 1 - share) * valid


def confidence_weights(cross_entropies: Tensor, valid: Tensor) -> Tensor:
    r"""CA-MKD: the nearer a mentor is to the truth, the more it says.

    .. math:: w_m = \frac{1}{M-1}\Big(1 - \frac{\exp CE_m}{\sum_{m'} \exp CE_{m'}}\Big)

    Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP 2022, arXiv
    2201.00007. M counts the valid mentors; one alone has weight 1.

    Args:
        cross_entropies: :math:`CE`, ``(M, ...)``, finite.
        valid: ``(M, ...)`` booleans.

    Returns:
        ``(M, ...)`` in [0, 1]; sums to 1 over M, or to 0 where none is valid.
    """
    count = valid.sum(dim=0)
    others = (1 - masked_softmax(cross_entropies, valid)) / (count - 1).clamp(min=1)
    return torch.where(count == 1, 1.0, others) * valid


def latent_weights(feature: Tensor, latents: Tensor, shared: Tensor, valid: Tensor) -> Tensor:
    r"""AMTML-KD: weights that the student learns, per sample.

    .. math:: \mu_t = \mathrm{softmax}_t\big(w \cdot (\beta \odot \theta_t)\big)

    Liu, Zhang, Wang, "Adaptive Multi-Teacher Multi-level Knowledge Distillation", Neurocomputing
    415 (2020).

    Args:
        feature: :math:`\beta`, ``(N, C)``, the student's pooled feature.
        latents: :math:`\theta`, ``(M, C)``, one row per mentor.
        shared: :math:`w`, ``(C,)``.
        valid: ``(M, N)`` or ``(M, N, K)`` booleans.

    Returns:
        ``(M, N)`` or ``(M, N, K)``; sums to 1 over M, or to 0 where none is valid.
    """
    # A sum, not a matrix product, which autocast would compute in half precision.
    attraction = (feature * (latents * shared)[:, None]).sum(dim=-1)  # (M, N)
    attraction = attraction.reshape(attraction.shape + (1,) * (valid.ndim - 2))
    return masked_softmax(attraction.expand(valid.shape), valid)
