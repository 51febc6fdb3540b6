"""Losses on relations between samples and on feature maps.

Relational knowledge distillation compares the distances and angles between samples; hints compare
feature maps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32


def squared_distances(embeddings: Tensor) -> Tensor:
    r"""Squared Euclidean distance between all pairs of samples, separately for each item.

    .. math:: d^2_{ij} = \|e_i\|^2 + \|e_j\|^2 - 2\, e_i \cdot e_j

    Inner products need memory of N^2 instead of N^2 D. They lose precision if the distance is small
    compared with the vectors, so the mean is subtracted first and the computation is in float64,
    which autocast does not change.

    Args:
        embeddings: ``(N, K, D)``.

    Returns:
        ``(K, N, N)`` in the type of ``embeddings``, not negative; exactly 0 between equal samples.
    """
    x = embeddings.transpose(0, 1).double()  # (K, N, D)
    x = x - x.mean(dim=1, keepdim=True).detach()
    gram = x @ x.transpose(1, 2)
    norms = gram.diagonal(dim1=1, dim2=2)
    sums = norms[:, :, None] + norms[:, None, :]
    squared = sums - 2 * gram
    # For equal vectors only a rounding error remains, and the gradient of its root would be noise.
    return torch.where(squared > 1e-13 * sums, squared, 0.0).to(embeddings.dtype)


def relation_distances(embeddings: Tensor, valid: Tensor) -> Tensor:
    r"""RKD's distance potential: distances divided by their mean.

    .. math::
        \psi_{ij} = \frac{\|e_i - e_j\|}{\mu},\quad
        \mu = \text{mean over the pairs that differ}

    Park et al., "Relational Knowledge Distillation", CVPR 2019. The distance between two samples
    uses the items that are valid in both.

    Args:
        embeddings: ``(N, K, D)``.
        valid: ``(N, K)`` booleans.

    Returns:
        ``(N, N)``.
    """
    length = _root(_both(valid, embeddings.dtype).mul(squared_distances(embeddings)).sum(dim=0))
    differ = (length > 0).sum().clamp(min=1)
    mean = length.sum() / differ
    return length / torch.where(mean > 0, mean, 1.0)


def relation_angles(embeddings: Tensor, valid: Tensor, corners: slice = slice(None)) -> Tensor:
    r"""RKD's angle potential: the cosine of the angle at sample j between samples i and k.

    .. math::
        \cos\angle_{ijk} =
          \frac{(e_i - e_j) \cdot (e_k - e_j)}{\|e_i - e_j\|\,\|e_k - e_j\|},\quad
        (e_i - e_j) \cdot (e_k - e_j) = \tfrac12 (d^2_{ij} + d^2_{kj} - d^2_{ik})

    Park et al. 2019. The law of cosines needs only distances; the N^2 difference vectors of a batch
    of heatmaps would not fit into memory.

    Args:
        embeddings: ``(N, K, D)``.
        valid: ``(N, K)`` booleans.
        corners: The J samples j at which angles are computed.

    Returns:
        ``(J, N, N)``, indexed ``[j, i, k]``, in [-1, 1]; 0 if sample i or k equals sample j.
    """
    squared = squared_distances(embeddings)  # (K, N, N)
    both = _both(valid, embeddings.dtype)
    shared = both * squared
    product = 0.5 * _sides(shared, valid, corners)
    length = _root(shared.sum(dim=0))[corners]  # (J, N)
    inverse = torch.where(length > 0, 1 / torch.where(length > 0, length, 1.0), 0.0)
    return product * inverse[:, :, None] * inverse[:, None, :]


def relation_distance_loss(
    student: Tensor, target: Tensor, valid: Tensor, own: slice = slice(None)
) -> Tensor:
    """Smooth L1 between the :func:`relation_distances` of two batches, over all N^2 pairs.

    Args:
        student: ``(N, K, D)``, with gradient.
        target: ``(N, K, D')``.
        valid: ``(N, K)`` booleans, for both.
        own: Use only pairs with these first samples; the mean distance is still that of all pairs.

    Returns:
        Scalar, at least float32.
    """
    student, target = at_least_float32(student), at_least_float32(target)
    ours, theirs = (relation_distances(side, valid)[own] for side in (student, target))
    return F.smooth_l1_loss(ours, theirs)


def relation_angle_loss(
    student: Tensor, target: Tensor, valid: Tensor, own: slice = slice(None)
) -> Tensor:
    """Smooth L1 between the :func:`relation_angles` of two batches, over all N^3 triples.

    Args:
        student: ``(N, K, D)``, with gradient.
        target: ``(N, K, D')``.
        valid: ``(N, K)`` booleans, for both.
        own: Use only the angles at these samples.

    Returns:
        Scalar, at least float32.
    """
    student, target = at_least_float32(student), at_least_float32(target)
    ours, theirs = (relation_angles(side, valid, own) for side in (student, target))
    return F.smooth_l1_loss(ours, theirs)


def hint_distance(
    student: Tensor,
    mentor: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    normalise: bool = True,
) -> Tensor:
    r"""Mean squared error between the student's feature map after a 1x1 convolution and a mentor's.

    .. math:: h_i = \frac{1}{C h w}\big\| W * \bar F_s^i - \bar F_m^i \big\|^2

    Romero et al., "FitNets", ICLR 2015, with a 1x1 convolution W. With ``normalise``, the channels
    of each cell are scaled to a norm of 1 (AMTML-KD). If the sizes differ, the mentor's map is
    resized, because it needs no gradient.

    Args:
        student: ``(N, C_s, h, w)``, with gradient.
        mentor: ``(N, C_m, h', w')``.
        weight: :math:`W`, ``(C_m, C_s, 1, 1)``.
        bias: ``(C_m,)``.
        normalise: Whether to scale the channels.

    Returns:
        ``(N,)``, at least float32.
    """
    student, mentor = at_least_float32(student), at_least_float32(mentor)
    if mentor.shape[-2:] != student.shape[-2:]:
        mentor = F.interpolate(
            mentor, size=student.shape[-2:], mode='bilinear', antialias=True, align_corners=False
        )
    if normalise:
        student, mentor = _unit(student), _unit(mentor)
    # If the model is in half precision, so is the convolution.
    weight, bias = at_least_float32(weight), None if bias is None else at_least_float32(bias)
    difference = at_least_float32(F.conv2d(student, weight, bias)) - mentor
    return difference.square().mean(dim=(1, 2, 3))


def _unit(maps: Tensor) -> Tensor:
    """Scale the channels of each cell to a norm of 1; zero cells stay zero, with gradient 0."""
    squared = maps.square().sum(dim=1, keepdim=True)
    empty = squared <= torch.finfo(maps.dtype).tiny
    return maps * torch.where(empty, 0.0, torch.where(empty, 1.0, squared).rsqrt())


def _both(valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Whether an item is valid in both samples of a pair: ``(N, K)`` to ``(K, N, N)``."""
    mask = valid.t().to(dtype)
    return mask[:, :, None] * mask[:, None, :]


def _sides(shared: Tensor, valid: Tensor, corners: slice) -> Tensor:
    """For all triangles, the squared sides at a corner minus the squared opposite side.

    Args:
        shared: ``(K, N, N)`` squared sides; 0 if an item is not valid in both samples.
        valid: ``(N, K)`` booleans.
        corners: J samples.

    Returns:
        ``(J, N, N)``, indexed ``[j, i, k]``: the sum over the items valid in all three samples.
    """
    if len(shared) == 1:  # broadcasting is much faster than the sum over items
        (side,), mask = shared, valid[:, 0].to(shared.dtype)
        ours = side[corners]
        at_j = ours[:, :, None] * mask + ours[:, None, :] * mask[:, None]
        return at_j - side * mask[corners, None, None]
    # In float64, which autocast does not change. Elementwise it would need memory of J N^2 K.
    sides, there = shared.double(), valid.double()
    at_j = torch.einsum('kji,nk->jin', sides[:, corners], there)
    opposite = torch.einsum('kin,jk->jin', sides, there[corners])
    return (at_j + at_j.permute(0, 2, 1) - opposite).to(shared.dtype)


def _root(squared: Tensor) -> Tensor:
    """Square root with gradient 0 at 0."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
