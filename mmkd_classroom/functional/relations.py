"""What the student's outputs and features have in common with the mentors', beyond their values.

Relational knowledge distillation compares the distances and angles between samples; hints compare
feature maps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .scores import at_least_float32


def squared_distances(embeddings: Tensor) -> Tensor:
    r"""Squared Euclidean distance between all pairs of samples, for each item on its own.

    .. math:: d^2_{ij} = \|e_i\|^2 + \|e_j\|^2 - 2\, e_i \cdot e_j

    By inner products, so that memory grows with N^2 and not with N^2 D. They lose digits where the
    distance is small beside the vectors, hence about the mean and in float64 (which autocast
    leaves alone, too).

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
    # What is left of equal vectors is rounding, and the gradient of its root would be noise.
    return torch.where(squared > 1e-13 * sums, squared, 0.0).to(embeddings.dtype)


def relation_distances(embeddings: Tensor, valid: Tensor) -> Tensor:
    r"""RKD's distance potential: lengths in units of their mean.

    .. math::
        \psi_{ij} = \frac{\|e_i - e_j\|}{\mu},\quad
        \mu = \text{mean over the pairs that differ}

    Park et al., "Relational Knowledge Distillation", CVPR 2019. The difference of two samples
    covers the items that are valid in both.

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

    Park et al. 2019. By the law of cosines only distances are needed: the N^2 difference vectors
    of a batch of heatmaps would not fit into memory.

    Args:
        embeddings: ``(N, K, D)``.
        valid: ``(N, K)`` booleans.
        corners: Samples j at which angles are taken, J of them.

    Returns:
        ``(J, N, N)``, indexed ``[j, i, k]``, in [-1, 1]; 0 where two of the samples are equal.
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
        own: Only pairs that begin with these samples; lengths stay in units of the mean over all.

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
        own: Only the angles at these samples.

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
    r"""How far the student's feature map, regressed, is from a mentor's: mean squared difference.

    .. math:: h_i = \frac{1}{C h w}\big\| W * \bar F_s^i - \bar F_m^i \big\|^2

    Romero et al., "FitNets", ICLR 2015, with a 1x1 convolution W and, where ``normalise``, each
    cell's channels scaled to length 1 (AMTML-KD). Where the maps' sizes differ, the mentor's is
    resized: it needs no gradient.

    Args:
        student: ``(N, C_s, h, w)``, with gradient.
        mentor: ``(N, C_m, h', w')``.
        weight: :math:`W`, ``(C_m, C_s, 1, 1)``.
        bias: ``(C_m,)``.
        normalise: Whether to scale channels.

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
    # A model in half precision has the convolution in it as well.
    weight, bias = at_least_float32(weight), None if bias is None else at_least_float32(bias)
    difference = at_least_float32(F.conv2d(student, weight, bias)) - mentor
    return difference.square().mean(dim=(1, 2, 3))


def _unit(maps: Tensor) -> Tensor:
    """Channels scaled to length 1; empty cells stay empty, with gradient 0."""
    squared = maps.square().sum(dim=1, keepdim=True)
    empty = squared <= torch.finfo(maps.dtype).tiny
    return maps * torch.where(empty, 0.0, torch.where(empty, 1.0, squared).rsqrt())


def _both(valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Whether both samples of a pair have an item: ``(N, K)`` to ``(K, N, N)``."""
    mask = valid.t().to(dtype)
    return mask[:, :, None] * mask[:, None, :]


def _sides(shared: Tensor, valid: Tensor, corners: slice) -> Tensor:
    """Of all triangles, the two sides at a corner less the one opposite.

    Args:
        shared: ``(K, N, N)`` squared sides; 0 where an item is not in both samples.
        valid: ``(N, K)`` booleans.
        corners: J samples.

    Returns:
        ``(J, N, N)``, indexed ``[j, i, k]``: summed over the items that all three samples have.
    """
    if len(shared) == 1:  # by broadcasting, which is much quicker than the sum over items
        (side,), mask = shared, valid[:, 0].to(shared.dtype)
        ours = side[corners]
        at_j = ours[:, :, None] * mask + ours[:, None, :] * mask[:, None]
        return at_j - side * mask[corners, None, None]
    # In float64, which autocast leaves alone; an elementwise form would need J N^2 K.
    sides, there = shared.double(), valid.double()
    at_j = torch.einsum('kji,nk->jin', sides[:, corners], there)
    opposite = torch.einsum('kin,jk->jin', sides, there[corners])
    return (at_j + at_j.permute(0, 2, 1) - opposite).to(shared.dtype)


def _root(squared: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0."""
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)
