"""Top-down pose estimation with heatmaps: MMPose's ``TopdownPoseEstimator``."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ClassroomError
from ..functional import (
    at_least_float32,
    heatmap_peaks,
    item_weights,
    kl_divergence,
    refine_quarter,
    refine_taylor,
)
from ..rankers import Ranker
from ..registry import TASK_UTILS
from ..structures import KeypointTruth, Prediction
from .base import Task

# A box's share that a person covers, where no area is annotated: MMPose's and xtcocotools' rule.
_BODY_SHARE = 0.53


@TASK_UTILS.register_module()
class HeatmapTask(Task):
    """Heads that return one heatmap per joint, coded by MSRA, UDP (Gaussian) or DARK.

    A joint's heatmap is distilled as a distribution over its cells. Heads trained by MSE give
    values in [0, 1], whose plain softmax is nearly flat, so they are multiplied by ``sharpness``
    first. The divergence is divided by the number of cells, as the heads' MSE losses are, so that
    one ``weight`` of the strategy serves every heatmap size. ``docs/benchmarks.md`` has
    measurements.

    Args:
        ranker: A ranker of joints.
        distance: ``'kl'`` over the cells of each joint, or ``'mse'`` between the heatmaps, which
            has no temperature.
        sharpness: Logits per unit of heatmap, for ``'kl'``.

    Raises:
        ClassroomError: Unknown ``distance``, ``sharpness`` not positive, or a ranker of another
            kind.
    """

    kind = 'keypoints'

    def __init__(self, ranker: Ranker, distance: str = 'kl', sharpness: float = 50.0) -> None:
        super().__init__(ranker)
        if distance not in ('kl', 'mse'):
            raise ClassroomError(f"model.task.distance is {distance!r}: choose 'kl' or 'mse'.")
        if not sharpness > 0:
            raise ClassroomError(f'model.task.sharpness is {sharpness}: it must be positive.')
        self.distance = distance
        self.sharpness = sharpness

    def check_student(self, student: nn.Module) -> None:
        """The student must be a top-down estimator with a heatmap head.

        Its head's accuracy is switched off unless the config asks for it: MMPose computes it in
        NumPy, one stop of the device per step. The student's mean score is reported instead.
        """
        _check_heatmaps(student, 'model.student')
        student.train_cfg.setdefault('compute_acc', False)

    def check_mentor(self, mentor: nn.Module, student: nn.Module, key: str) -> None:
        """A mentor must draw the student's joints on the student's grid, by the same codec."""
        _check_heatmaps(mentor, key)
        theirs, ours = mentor.head.decoder, student.head.decoder
        for what, left, right in [
            ('joints', mentor.head.out_channels, student.head.out_channels),
            ('an input size (width, height) of', tuple(theirs.input_size), tuple(ours.input_size)),
            ('a heatmap size of', tuple(theirs.heatmap_size), tuple(ours.heatmap_size)),
            # The corners of a UDP map are those of the input; MSRA's cells are tiles of it.
            ('heatmaps coded by', type(theirs).__name__, type(ours).__name__),
        ]:
            if left != right:
                raise ClassroomError(
                    f'{key} has {what} {left}, the student {right}: choose a mentor that agrees '
                    'with the student.'
                )

    def check_samples(self, data_samples: Sequence[Any]) -> None:
        """Samples must have visibility and the joints in input space."""
        instances = data_samples[0].gt_instances
        if 'keypoints_visible' not in instances:
            raise ClassroomError(
                'The training samples have no keypoints_visible: the data set in '
                'train_dataloader.dataset must give the visibility of each joint, or every '
                'missing joint would count as labelled.'
            )
        if 'transformed_keypoints' not in instances:
            raise ClassroomError(
                'The training samples have no joints in input space: write '
                "dict(type='PackPoseInputs', pack_transformed=True) as the last step of "
                'train_dataloader.dataset.pipeline.'
            )

    def truth(self, data_samples: Sequence[Any], device: torch.device) -> KeypointTruth:
        """The truth in input pixels, in one transfer that the device does not wait for."""
        host = torch.from_numpy(np.stack([_host_truth(sample) for sample in data_samples]))
        if device.type == 'cuda':
            host = host.pin_memory()
        table = host.to(device, non_blocking=True)
        labelled = torch.cat([s.gt_instance_labels.keypoint_weights for s in data_samples])
        has_head = 'head_size' in data_samples[0].gt_instances
        return KeypointTruth(
            joints=table[:, 3:].unflatten(1, (-1, 2)),
            weights=item_weights(labelled.to(device, non_blocking=True)),
            area=table[:, 0],
            bbox_size=table[:, 1],
            head_size=table[:, 2] if has_head else None,
            dataset_name=data_samples[0].metainfo.get('dataset_name'),
        )

    def as_prediction(self, model: nn.Module, output: Any) -> Prediction:
        """Heatmaps ``(N, K, H, W)``; of several stages (Hourglass, CPM) the last, as MMPose."""
        output = output[-1] if isinstance(output, (list, tuple)) else output
        return Prediction(output, codec=model.head.decoder)

    def judged(self, prediction: Prediction) -> Tensor:
        """Joints ``(N, K, 2)`` in input pixels, as the head's own codec would decode them."""
        heatmaps = at_least_float32(prediction.values.detach())
        return decode(heatmaps, prediction.codec)

    def divergence(
        self,
        student: Prediction,
        mentor: Prediction,
        temperature: Tensor,
        student_temperature: Tensor | None = None,
    ) -> Tensor:
        """KL or squared distance of each joint, per cell, ``(N, K)``."""
        if self.distance == 'mse':
            difference = at_least_float32(student.values) - at_least_float32(mentor.values)
            return difference.square().mean(dim=(-2, -1))
        logits = self._logits(student)
        divergence = kl_divergence(logits, self._logits(mentor), temperature, student_temperature)
        return divergence / logits.shape[-1]

    def peak(self, prediction: Prediction) -> Tensor:
        """Greatest logit of each joint, ``(N, K)``."""
        return self._logits(prediction).detach().amax(dim=-1)

    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """MMPose's heatmap losses have no ``reduction``; each sample is mapped on its own."""

        def unreduced(*tensors: Tensor) -> Tensor:
            return torch.vmap(lambda *parts: loss(*(part[None] for part in parts)))(*tensors)

        return unreduced

    def _logits(self, prediction: Prediction) -> Tensor:
        return at_least_float32(prediction.values).flatten(-2) * self.sharpness


def decode(heatmaps: Tensor, codec: Any) -> Tensor:
    """Joints in input pixels, by the rules of an MMPose codec: the inverse of its ``encode``.

    Args:
        heatmaps: ``(N, K, H, W)``.
        codec: ``MSRAHeatmap`` (``unbiased`` or not) or ``UDPHeatmap`` (Gaussian).

    Returns:
        ``(N, K, 2)`` (x, y).
    """
    flat = heatmaps.flatten(0, 1)
    cells = heatmap_peaks(flat)
    if type(codec).__name__ == 'UDPHeatmap' or codec.unbiased:
        joints = refine_taylor(flat, cells, codec.blur_kernel_size)
    else:
        joints = refine_quarter(flat, cells)
    # MMPose puts a joint whose map has no positive value at (-1, -1).
    joints = torch.where((flat.flatten(1).amax(dim=1) > 0)[:, None], joints, -1.0)
    # The inverse of `codec.encode`, into the space of `transformed_keypoints`. UDP's own `decode`
    # stretches by another W / (W - 1), which its way back to the image undoes: up to a pixel.
    x, y = (joints[:, axis] * float(codec.scale_factor[axis]) for axis in (0, 1))
    return torch.stack([x, y], dim=-1).unflatten(0, heatmaps.shape[:2])


def _host_truth(sample: Any) -> np.ndarray:
    """One row: area, box size, head size and 2K coordinates, in input pixels."""
    instances, meta = sample.gt_instances, sample.metainfo
    zoom = np.asarray(meta['input_size'], np.float32) / np.asarray(meta['input_scale'], np.float32)
    x1, y1, x2, y2 = instances.bboxes[0]
    area = (meta.get('raw_ann_info') or {}).get('area') or _BODY_SHARE * (x2 - x1) * (y2 - y1)
    head: list[float] = list(np.ravel(instances.get('head_size', 0.0)))[:1]
    sizes = [area * zoom.prod(), max(x2 - x1, y2 - y1) * zoom[0], head[0] * zoom[0]]
    return np.concatenate([sizes, np.ravel(instances.transformed_keypoints[0])]).astype(np.float32)


def _check_heatmaps(model: nn.Module, key: str) -> None:
    from mmpose.codecs import MSRAHeatmap, UDPHeatmap
    from mmpose.models import TopdownPoseEstimator

    if not isinstance(model, TopdownPoseEstimator):
        raise ClassroomError(
            f'{key} is a {type(model).__name__}, but model.task is HeatmapTask: it takes '
            "MMPose's TopdownPoseEstimator with a heatmap head."
        )
    codec = getattr(model.head, 'decoder', None)
    if not isinstance(codec, (MSRAHeatmap, UDPHeatmap)) or (
        isinstance(codec, UDPHeatmap) and codec.heatmap_type != 'gaussian'
    ):
        raise ClassroomError(
            f'{key}.head is a {type(model.head).__name__} with the codec '
            f'{type(codec).__name__}: HeatmapTask takes MSRAHeatmap, or UDPHeatmap with '
            "heatmap_type='gaussian'."
        )
