"""Ranking pose estimators by OKS or PCK of their decoded joints."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ClassroomError
from ..functional import correct_keypoints, keypoint_similarity
from ..metainfo import read_metainfo
from ..registry import TASK_UTILS
from ..structures import KeypointTruth
from .base import Ranker


class KeypointRanker(Ranker):
    """Common part of the rankers of joints.

    Args:
        correct_thr: A sample whose score reaches it counts as right (``require_correct``).
    """

    kind = 'keypoints'

    def __init__(self, correct_thr: float = 0.5) -> None:
        super().__init__()
        self.correct_thr = correct_thr

    def correct(self, prediction: Tensor, truth: KeypointTruth) -> Tensor:
        """``(..., N)``: the mean score of the labelled joints reaches ``correct_thr``."""
        score = self.score(prediction, truth)
        return (score * truth.weights).sum(-1) >= self.correct_thr


@TASK_UTILS.register_module()
class OKSRanker(KeypointRanker):
    """Object keypoint similarity (COCO).

    Args:
        sigmas: Per-joint standard deviations. By default those of the data set that the training
            samples name, from MMPose's own data set definitions.
        correct_thr: See :class:`KeypointRanker`.
    """

    def __init__(self, sigmas: Sequence[float] | None = None, correct_thr: float = 0.5) -> None:
        super().__init__(correct_thr)
        sigmas = None if sigmas is None else torch.tensor(sigmas, dtype=torch.float32)
        self.register_buffer('sigmas', sigmas, persistent=False)

    def check(self, items: int, metainfo: dict | str | None) -> None:
        """There must be a sigma for each joint."""
        if self.sigmas is not None and self.sigmas.numel() != items:
            raise ClassroomError(
                f'model.ranker.sigmas has {self.sigmas.numel()} values for {items} joints: give '
                'one per joint of the student.'
            )
        if self.sigmas is None and (count := dataset_sigmas(metainfo).numel()) != items:
            raise ClassroomError(
                f'The training data name a data set of {count} joints, but have {items}: give '
                'model.task.metainfo, the definition of the data set, or model.ranker.sigmas.'
            )

    def score(self, prediction: Tensor, truth: KeypointTruth) -> Tensor:
        """``(..., N, K)`` similarities from ``(..., N, K, 2)`` joints in input space."""
        if self.sigmas is None:
            self.sigmas = dataset_sigmas(truth.metainfo).to(prediction.device)
        return keypoint_similarity(prediction, truth.joints, truth.area, self.sigmas)


@TASK_UTILS.register_module()
class PCKRanker(KeypointRanker):
    """Share of correct keypoints.

    Args:
        thr: A joint is correct within this share of the normaliser.
        norm: ``'bbox'``, the longer side of the person's box (PCK), or ``'head'``, MPII's head
            size (PCKh).
        correct_thr: See :class:`KeypointRanker`.

    Raises:
        ClassroomError: At construction for an unknown ``norm`` or a ``thr`` that is not positive;
            in training for ``norm='head'`` on samples without ``head_size``.
    """

    def __init__(self, thr: float = 0.2, norm: str = 'bbox', correct_thr: float = 0.5) -> None:
        super().__init__(correct_thr)
        if norm not in ('bbox', 'head'):
            raise ClassroomError(f"model.ranker.norm is {norm!r}: choose 'bbox' or 'head'.")
        if not thr > 0:
            raise ClassroomError(f'model.ranker.thr is {thr}: it must be positive.')
        self.thr = thr
        self.norm = norm

    def score(self, prediction: Tensor, truth: KeypointTruth) -> Tensor:
        """``(..., N, K)``, 0 or 1, from ``(..., N, K, 2)`` joints in input space."""
        size = truth.bbox_size if self.norm == 'bbox' else truth.head_size
        if size is None:
            raise ClassroomError(
                "model.ranker.norm is 'head', but the training samples have no head_size, which "
                "MMPose's MpiiDataset gives with a headbox_file only: use norm='bbox'."
            )
        return correct_keypoints(prediction, truth.joints, size, self.thr)


def usual_ranker(metainfo: dict | str | None) -> KeypointRanker:
    """OKS, or, for a data set without sigmas, PCK.

    Args:
        metainfo: As in :func:`dataset_sigmas`.
    """
    try:
        dataset_sigmas(metainfo)
    except ClassroomError:
        return PCKRanker()
    return OKSRanker()


def dataset_sigmas(metainfo: dict | str | None) -> Tensor:
    """Sigmas of a data set.

    Args:
        metainfo: Its definition, or the name of one of MMPose's, such as ``'coco'``.

    Returns:
        ``(K,)``.

    Raises:
        ClassroomError: MMPose has no such definition, or it has no sigmas.
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
    return torch.as_tensor(meta['sigmas'], dtype=torch.float32)
