"""Weights of the mentors on each sample: by entropy, by confidence, by learned latents.

The first dimension, M, is that of the mentors. A mentor that is not valid on a sample has a weight
of 0, and the other weights are as if this mentor did not exist.
"""

import torch
from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    r"""Shannon entropy, in nats.

    .. math:: H = -\sum_d p_d \log p_d

    Args:
        probabilities: ``(..., D)``; rows sum to 1. A probability of 0 has an entropy of 0.

    Returns:
        ``(...)`` in [0, log D].

    Example:
        >>> entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
        tensor([0.0000, 0.6931])
    """
    return torch.special.entr(probabilities).sum(dim=-1)


def masked_softmax(values: Tensor, valid: Tensor) -> Tensor:
    r"""Softmax over the valid entries of the first dimension.

    Args:
        values: ``(M, ...)``, finite.
        valid: ``(M, ...)`` booleans.

    Returns:
        ``(M, ...)``; sums to 1 over M, or to 0 if none is valid.
    """
    lowest = torch.finfo(values.dtype).min  # not -inf: the softmax of only -inf would be NaN
    return torch.where(valid, values, lowest).softmax(dim=0) * valid


def entropy_weights(entropies: Tensor, valid: Tensor) -> Tensor:
    r"""EBKD: mentors with a lower entropy have more weight.

    .. math:: w_m = 1 - \frac{H_m}{\sum_{m'} H_{m'}}

    Kwon et al., "Adaptive Knowledge Distillation Based on Entropy", ICASSP 2020. The weights of V
    valid mentors sum to V - 1. Two cases are not covered by the formula: a single valid mentor has
    a weight of 1, and if all entropies are 0, the weights are equal.

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
    r"""CA-MKD: mentors with a lower cross-entropy have more weight.

    .. math:: w_m = \frac{1}{V-1}\Big(1 - \frac{\exp CE_m}{\sum_{m'} \exp CE_{m'}}\Big)

    Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP 2022, arXiv
    2201.00007. V is the number of valid mentors; a single one has a weight of 1.

    Args:
        cross_entropies: :math:`CE`, ``(M, ...)``, finite.
        valid: ``(M, ...)`` booleans.

    Returns:
        ``(M, ...)`` in [0, 1]; sums to 1 over M, or to 0 if none is valid.
    """
    count = valid.sum(dim=0)
    others = (1 - masked_softmax(cross_entropies, valid)) / (count - 1).clamp(min=1)
    return torch.where(count == 1, 1.0, others) * valid


def advantage_weights(advantage: Tensor, valid: Tensor) -> Tensor:
    r"""Running advantage: mentors are weighted by how much better than the student they are.

    .. math::
        w_m = \frac{\max(0, A_m - A)}{\sum_{m'} \max(0, A_{m'} - A)}, \quad
        A = \min\Big(0, \frac1V\sum_{m'} A_{m'}\Big)

    A weighting of this project. The sums are over the V valid mentors. A student that is
    better than the mean of its mentors is compared with this mean, so that those above it go on
    teaching. If all are equally good, so are their weights.

    Args:
        advantage: :math:`A`, ``(M, ...)``, the scores of the mentors minus that of the student.
        valid: ``(M, ...)`` booleans.

    Returns:
        ``(M, ...)``; sums to 1 over M, or to 0 if none is valid.

    Example:
        >>> valid = torch.ones(3, dtype=torch.bool)
        >>> advantage_weights(torch.tensor([0.3, 0.1, -0.4]), valid)
        tensor([0.7500, 0.2500, 0.0000])
        >>> advantage_weights(torch.tensor([-0.1, -0.3, -0.8]), valid)
        tensor([0.7500, 0.2500, 0.0000])
    """
    count = valid.sum(dim=0).clamp(min=1)
    mean = (advantage * valid).sum(dim=0) / count
    above = (advantage - mean.clamp(max=0)).clamp(min=0) * valid
    total = above.sum(dim=0)
    return torch.where(total > 0, above / torch.where(total > 0, total, 1.0), valid / count)


def latent_weights(feature: Tensor, latents: Tensor, shared: Tensor, valid: Tensor) -> Tensor:
    r"""AMTML-KD: learned weights per sample.

    .. math:: \mu_t = \mathrm{softmax}_t\big(w \cdot (\beta \odot \theta_t)\big)

    Liu, Zhang, Wang, "Adaptive Multi-Teacher Multi-level Knowledge Distillation", Neurocomputing
    415 (2020).

    Args:
        feature: :math:`\beta`, ``(N, C)``, the student's pooled feature.
        latents: :math:`\theta`, ``(M, C)``, one row per mentor.
        shared: :math:`w`, ``(C,)``.
        valid: ``(M, N)`` or ``(M, N, K)`` booleans.

    Returns:
        ``(M, N)`` or ``(M, N, K)``; sums to 1 over M, or to 0 if none is valid.
    """
    # A sum, because autocast would compute a matrix product in half precision.
    attraction = (feature * (latents * shared)[:, None]).sum(dim=-1)  # (M, N)
    attraction = attraction.reshape(attraction.shape + (1,) * (valid.ndim - 2))
    return masked_softmax(attraction.expand(valid.shape), valid)
