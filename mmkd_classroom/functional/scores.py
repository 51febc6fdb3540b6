"""Scores of predictions: likelihood of the true class, similarity and correctness of joints."""

import torch
from torch import Tensor

from .precision import at_least_float32


def log_likelihood(logits: Tensor, target: Tensor) -> Tensor:
    r"""Log-likelihood of the target, the negative cross-entropy, per sample.

    .. math:: \ell_i = \sum_c y_{ic} \log\mathrm{softmax}(z_i)_c

    Args:
        logits: ``(..., N, C)``, any floating type; computed in at least float32.
        target: Class indices ``(N,)``, or soft labels ``(N, C)`` whose rows sum to 1
            (mixup, CutMix).

    Returns:
        ``(..., N)``, in (-inf, 0].
    """
    log_probability = at_least_float32(logits).log_softmax(dim=-1)
    if target.ndim == 2:
        return (log_probability * target).sum(dim=-1)
    index = target.long().expand(log_probability.shape[:-1]).unsqueeze(-1)
    return log_probability.gather(-1, index).squeeze(-1)


def keypoint_similarity(prediction: Tensor, truth: Tensor, area: Tensor, sigmas: Tensor) -> Tensor:
    r"""Similarity of each joint, the term of one joint in OKS.

    .. math:: s_{ik} = \exp\left(-\frac{d_{ik}^2}{2\, a_i\, (2\sigma_k)^2}\right)

    COCO keypoint evaluation (Lin et al. 2014). Coordinates and ``area`` must be in the same space:
    here the network's input, in pixels and square pixels.

    Args:
        prediction: ``(..., N, K, 2)`` joints.
        truth: ``(N, K, 2)`` target joints.
        area: ``(N,)``, positive.
        sigmas: ``(K,)``, the data set's per-joint standard deviations.

    Returns:
        ``(..., N, K)`` in [0, 1].
    """
    squared_distance = (prediction - truth).square().sum(dim=-1)
    # xtcocotools adds the same epsilon to the area.
    spread = 2 * (2 * sigmas).square() * (area[:, None] + torch.finfo(torch.float64).eps)
    return (-squared_distance / spread).exp()


def correct_keypoints(prediction: Tensor, truth: Tensor, normaliser: Tensor, thr: float) -> Tensor:
    """Whether the distance of each joint to its target is below ``thr * normaliser``, as in PCK.

    Args:
        prediction: ``(..., N, K, 2)`` joints.
        truth: ``(N, K, 2)`` target joints.
        normaliser: ``(N,)`` lengths in the unit of the joints: box size (PCK) or head size (PCKh).
        thr: Fraction of the normaliser.

    Returns:
        ``(..., N, K)``, 0 or 1, in the type of ``prediction``.
    """
    distance = (prediction - truth).square().sum(dim=-1).sqrt()
    return (distance / normaliser[:, None] < thr).to(prediction.dtype)


def item_weights(labelled: Tensor) -> Tensor:
    """Weights of a mean over the labelled items of each sample.

    Args:
        labelled: ``(..., K)``, positive if the item is labelled.

    Returns:
        ``(..., K)``; a row sums to 1, or to 0 if no item is labelled.
    """
    mask = (labelled > 0).to(torch.promote_types(labelled.dtype, torch.float32))
    return mask / mask.sum(dim=-1, keepdim=True).clamp(min=1)
