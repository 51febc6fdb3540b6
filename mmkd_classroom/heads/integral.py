"""Head adapter for heads that integrate a map: a joint is the mean of a distribution over cells."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from ..functional import at_least_float32
from ..registry import TASK_UTILS
from .pose_models import pose_head
from .regression import Labels, RegressionAdapter


@TASK_UTILS.register_module()
class IntegralAdapter(RegressionAdapter):
    """``IntegralRegressionHead`` and ``DSNTHead``: a joint is the mean cell of a distribution.

    Sun et al., "Integral Human Pose Regression", ECCV 2018; Nibali et al., "Numerical Coordinate
    Regression with Convolutional Neural Networks", arXiv 1801.07372. The mean along an axis is that
    of the map's marginal, so the marginals are compared. A mentor's joint is encoded as
    DSNT's labels are.

    See :class:`KeypointAdapter` for arguments and errors.
    """

    takes = (
        "MMPose's TopdownPoseEstimator with IntegralRegressionHead or DSNTHead, and "
        'IntegralRegressionLabel'
    )
    has_peaks = True
    codec_types, head_types = ('IntegralRegressionLabel',), ('IntegralRegressionHead',)

    def _codec(self, model: nn.Module) -> Any:
        return pose_head(model).decoder.heatmap_codec

    def _layout(self, model: nn.Module) -> None:
        from mmpose.models.heads import DSNTHead

        head = pose_head(model)
        self._is_dsnt = isinstance(head, DSNTHead)
        self._maps_until = math.inf  # for the weights; see lambda_t of DSNTHead
        self._width = float(self.codec.sigma)
        self.cells = tuple(int(size) for size in head.heatmap_size)
        self.spacing = tuple(size / n for size, n in zip(self.input_size, self.cells))
        self.summary = f'integral of {self.cells[0]}x{self.cells[1]}'
        self._factors = self._calibrate(head.loss_module)
        if self._is_dsnt and head.lambda_t > 0:
            self._maps_until = head.lambda_t

    def split(self, output: Any) -> tuple[Tensor]:
        """Return the coordinates, ``(N, K, 2)`` in units of the input's sides."""
        return (output[0],)

    def axes(self, output: Any) -> tuple[Tensor, ...]:
        """See :meth:`RegressionAdapter.axes`."""
        maps = at_least_float32(output[1])
        least = torch.finfo(maps.dtype).tiny  # the logarithm of 0 has no gradient
        return maps.sum(dim=-2).clamp(min=least).log(), maps.sum(dim=-1).clamp(min=least).log()

    def _maps(self, data_samples: Sequence[Any]) -> Tensor | None:
        if not self._is_dsnt:
            return None
        return torch.stack([sample.gt_fields.heatmaps for sample in data_samples])

    def _loss_of(self, loss: Callable[..., Any], output: Any, labels: Labels) -> Tensor:
        if not self._is_dsnt:
            return loss(output[0], labels.joints, labels.weights)
        targets = [labels.joints, labels.maps]
        of_joints, of_maps = loss(list(output), targets, labels.weights)
        epoch = MessageHub.get_current_instance().get_info('epoch', 0)
        return of_joints + of_maps if epoch < self._maps_until else of_joints

    def _output(self, joints: Tensor) -> Any:
        return joints, self._outer(self.encode(self.joints(joints)))
