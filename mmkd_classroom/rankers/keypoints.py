"""Rank pose estimators by OKS or PCK of their decoded joints."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ClassroomError
from ..functional import at_least_float32, correct_keypoints, keypoint_similarity
from ..json_files import is_number
from ..metainfo import read_metainfo
from ..registry import TASK_UTILS
from ..structures import JointTargets, Prediction, Scores
from .base import Ranker, mean_of_valid, validity


class KeypointRanker(Ranker):
    """Base class of rankers of joints. A subclass implements :meth:`score`.

    Args:
        correct_thr: A sample is correct if its score is at least this (for ``require_correct``).
    """

    kind = 'keypoints'

    def __init__(self, correct_thr: float = 0.5) -> None:
        super().__init__()
        if not 0 <= correct_thr <= 1:
            raise ClassroomError(
                f'model.ranker.correct_thr is {correct_thr}: it must be between 0 and 1, as scores.'
            )
        self.correct_thr = correct_thr

    @abstractmethod
    def score(self, joints: Tensor, confidences: Tensor, targets: JointTargets) -> Tensor:
        """Score of each joint.

        Args:
            joints: ``(..., N, K, 2)``, decoded, in pixels of the student's input.
            confidences: ``(..., N, K)``, the score of each joint by the member's codec.
            targets: Targets of the batch.

        Returns:
            ``(..., N, K)`` in [0, 1].
        """

    @torch.no_grad()
    def forward(self, members: Sequence[Prediction], targets: JointTargets) -> Scores:
        """See :class:`Ranker`.

        The score of a sample is the mean over its labelled joints that the member predicts; the
        score of a batch is the mean over the samples that have such joints. ``nll`` is ``-log`` of
        the score, clamped to the smallest positive number.
        """
        joints = torch.stack([member.joints for member in members])
        confidences = torch.stack([at_least_float32(member.confidences) for member in members])
        valid, weights = validity(members, targets)
        item = self.score(joints, confidences, targets) * valid
        sample = (item * weights).sum(dim=-1)
        return Scores(
            item=item,
            sample=sample,
            batch=mean_of_valid(sample, weights.any(dim=-1)),
            valid=valid,
            correct=sample >= self.correct_thr,
            nll=-item.clamp(min=torch.finfo(item.dtype).tiny).log(),
        )


@TASK_UTILS.register_module()
class OKSRanker(KeypointRanker):
    """Object keypoint similarity (COCO).

    Args:
        sigmas: Per-joint standard deviations. Default: those of the training data set, from
            MMPose's data set definitions.
        correct_thr: See :class:`KeypointRanker`.
    """

    def __init__(self, sigmas: Sequence[float] | None = None, correct_thr: float = 0.5) -> None:
        super().__init__(correct_thr)
        self.given = sigmas is not None
        if self.given and not all(is_number(sigma) and sigma > 0 for sigma in sigmas):
            raise ClassroomError(f'model.ranker.sigmas is {sigmas!r}: give numbers above 0.')
        sigmas = torch.tensor(sigmas, dtype=torch.float32) if self.given else None
        self.register_buffer('sigmas', sigmas, persistent=False)

    def prepare(self, items: int, metainfo: dict | str | None, sample: Any) -> None:
        """Look up the sigmas and check that there is one per joint."""
        if self.given and self.sigmas.numel() != items:
            raise ClassroomError(
                f'model.ranker.sigmas has {self.sigmas.numel()} values for {items} joints: give '
                'one per joint of the student.'
            )
        if not self.given:
            sigmas = dataset_sigmas(metainfo)
            if sigmas.numel() != items:
                raise ClassroomError(
                    f'The training data name a data set of {sigmas.numel()} joints, the student '
                    f'has {items}: give model.adapter.metainfo, the definition of the data set, or '
                    'model.ranker.sigmas.'
                )
            self.sigmas = sigmas

    def score(self, joints: Tensor, confidences: Tensor, targets: JointTargets) -> Tensor:
        """See :meth:`KeypointRanker.score`."""
        return keypoint_similarity(joints, targets.joints, targets.area, self.sigmas)


@TASK_UTILS.register_module()
class PCKRanker(KeypointRanker):
    """Percentage of correct keypoints (PCK), as a fraction.

    Args:
        thr: A joint is correct if its distance is below this fraction of the normaliser.
        norm: ``'bbox'``, the longer side of the person's box (PCK), or ``'head'``, MPII's head
            size (PCKh).
        correct_thr: See :class:`KeypointRanker`.

    Raises:
        ClassroomError: Unknown ``norm``, or ``thr`` is not positive.
    """

    def __init__(self, thr: float = 0.2, norm: str = 'bbox', correct_thr: float = 0.5) -> None:
        super().__init__(correct_thr)
        if norm not in ('bbox', 'head'):
            raise ClassroomError(f"model.ranker.norm is {norm!r}: choose 'bbox' or 'head'.")
        if not thr > 0:
            raise ClassroomError(f'model.ranker.thr is {thr}: it must be positive.')
        self.thr = thr
        self.norm = norm

    def prepare(self, items: int, metainfo: dict | str | None, sample: Any) -> None:
        """Check that samples have a ``head_size`` if ``norm='head'``."""
        if self.norm == 'head' and 'head_size' not in sample.gt_instances:
            raise ClassroomError(
                "model.ranker.norm is 'head', but the training samples have no head_size, which "
                "MMPose's MpiiDataset gives with a headbox_file only: use norm='bbox'."
            )

    def score(self, joints: Tensor, confidences: Tensor, targets: JointTargets) -> Tensor:
        """See :meth:`KeypointRanker.score`; 0 or 1."""
        size = targets.bbox_size if self.norm == 'bbox' else targets.head_size
        return correct_keypoints(joints, targets.joints, size, self.thr)


def dataset_sigmas(metainfo: dict | str | None) -> Tensor:
    """Per-joint sigmas of a data set.

    Args:
        metainfo: Definition of the data set, or a name that MMPose defines, such as ``'coco'``.

    Returns:
        ``(K,)``.

    Raises:
        ClassroomError: MMPose has no such definition, or it has no sigmas, or not above 0.
    """
    remedy = (
        "rank by PCK, model.ranker = dict(type='mmkd_classroom.PCKRanker'), or give "
        'model.ranker.sigmas, one value per joint.'
    )
    if metainfo is None:
        raise ClassroomError(
            f'model.ranker is an OKSRanker, but the training samples name no data set: {remedy}'
        )
    try:
        meta = read_metainfo(metainfo, 'dataset_name')
    except ClassroomError as error:
        raise ClassroomError(
            f'model.ranker is an OKSRanker, but MMPose does not define the data set {metainfo!r}, '
            f'so nothing tells its sigmas: {remedy}'
        ) from error
    if len(meta['sigmas']) == 0:
        raise ClassroomError(
            f'model.ranker is an OKSRanker, but the data set {meta["dataset_name"]!r} has no '
            f'sigmas: {remedy}'
        )
    if not all(sigma > 0 for sigma in meta['sigmas']):
        raise ClassroomError(
            f'model.ranker is an OKSRanker, but the data set {meta["dataset_name"]!r} has sigmas '
            f'that are not above 0, so every OKS would be 0: {remedy}'
        )
    return torch.as_tensor(meta['sigmas'], dtype=torch.float32)
