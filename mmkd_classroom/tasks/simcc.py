"""Students that give each joint as two distributions, over x and over y (SimCC, RTMPose)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..functional import at_least_float32
from ..registry import TASK_UTILS
from ..structures import Prediction
from .forms import SimCCForm
from .pose import PoseTask


@TASK_UTILS.register_module()
class SimCCTask(PoseTask):
    """``RTMCCHead`` and ``SimCCHead`` with ``SimCCLabel``, Gaussian or label-smoothed.

    Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation",
    arXiv 2107.03332. A joint's divergence is the sum of those of its axes, each divided by its
    number of bins and multiplied by the batch size, as MMPose's ``KLDiscretLoss`` counts, so
    that a ``weight`` of 1 puts mentors and labels on one footing.

    Args:
        ranker: A ranker of joints.
        sharpness: Logits per unit of heatmap, of mentors with heatmaps.
        metainfo: See :class:`PoseTask`.
    """

    form = SimCCForm
    tau_max = 0.0  # measured, see docs/benchmarks.md

    def logits(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        """``(N, K, W_x)`` and ``(N, K, W_y)``: the values times the head's ``beta``."""
        x, y = (at_least_float32(values) * prediction.form.beta for values in prediction.values)
        return x, y

    def peak(self, prediction: Prediction) -> Tensor:
        """Height of each joint's peak over its lowest bin, ``(N, K)``: the zero is arbitrary."""
        heights = [axis.amax(dim=-1) - axis.amin(dim=-1) for axis in self.logits(prediction)]
        return sum(heights).detach() / len(heights)

    def scale(self, logits: Tensor) -> float:
        """Per bin, and summed over the batch."""
        return len(logits) / logits.shape[-1]

    def capture(
        self,
        student: nn.Module,
        inputs: Tensor,
        data_samples: Sequence[Any],
        per_sample: bool,
        stock_loss: Callable[..., dict[str, Tensor]] | None = None,
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """See :meth:`Task.capture`."""
        from mmpose.models import TopdownPoseEstimator
        from mmpose.models.heads import RTMCCHead, SimCCHead

        stock = type(student.head).loss in (RTMCCHead.loss, SimCCHead.loss)
        whole = getattr(stock_loss or student.loss, '__func__', None)
        stock = stock and whole is TopdownPoseEstimator.loss
        if not stock or student.train_cfg.get('compute_acc'):
            return super().capture(student, inputs, data_samples, per_sample, stock_loss)
        # The stock `loss` always computes its accuracy in NumPy, which stops the device in each
        # step. This is the rest of it.
        output = student.head(student.extract_feat(inputs))
        labels = [sample.gt_instance_labels for sample in data_samples]
        targets = tuple(
            torch.cat([label[f'keypoint_{axis}_labels'] for label in labels]) for axis in 'xy'
        )
        weights = torch.cat([label.keypoint_weights for label in labels])
        loss = student.head.loss_module
        loss = self.per_sample(loss) if per_sample else loss
        return self.as_prediction(student, output), dict(loss_kpt=loss(output, targets, weights))

    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """``KLDiscretLoss`` sums over the batch, so a sample's part is multiplied by its size."""
        each = super().per_sample(loss)
        return lambda *parts: each(*parts) * len(parts[-1])
