"""MMPose's samples: the joints and sizes that scores need, and predictions stored in them."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..errors import ClassroomError, shown
from ..functional import item_weights
from ..structures import JointTargets, Prediction

# Ratio of person area to box area if no area is annotated; the same as in MMPose and xtcocotools.
_BODY_SHARE = 0.53
# What brings areas and sizes into the space of the input.
_META_KEYS = ('input_size', 'input_scale')


def joint_count(sample: Any) -> int:
    """Number of joints of a training sample.

    Raises:
        ClassroomError: It lacks the visibility, the joints in input space, or the input's size.
    """
    instances = sample.gt_instances
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
    missing = [key for key in _META_KEYS if key not in sample.metainfo]
    if missing:
        raise ClassroomError(
            f'The training samples have no {" and no ".join(missing)}: add {shown(missing)} to the '
            'meta_keys of PackPoseInputs in train_dataloader.dataset.pipeline, or leave meta_keys '
            'out.'
        )
    return instances.transformed_keypoints.shape[1]


def joint_targets(data_samples: Sequence[Any], device: torch.device) -> JointTargets:
    """Joints in input pixels, copied to the device in one asynchronous transfer."""
    host = torch.from_numpy(np.stack([_host_targets(sample) for sample in data_samples]))
    if device.type == 'cuda':
        host = host.pin_memory()
    table = host.to(device, non_blocking=True)
    labelled = torch.cat([_labelled(sample) for sample in data_samples])
    return JointTargets(
        joints=table[:, 3:].unflatten(1, (-1, 2)),
        weights=item_weights(labelled.to(device, non_blocking=True)),
        area=table[:, 0],
        bbox_size=table[:, 1],
        head_size=table[:, 2],
    )


def with_predictions(
    data_samples: Sequence[Any], joints: Tensor, prediction: Prediction, student: nn.Module
) -> list[Any]:
    """Copy the samples and store predicted joints in them, in pixels of the image.

    Args:
        data_samples: N samples.
        joints: ``(N, K, 2)``, as the student's codec decodes them.
        prediction: Has their confidences, and which of them are valid.
        student: The stock student, which puts joints into the image.
    """
    places = joints[:, None].cpu().numpy()
    scores = (prediction.confidences * prediction.valid)[:, None].float().cpu().numpy()
    instances = [
        InstanceData(keypoints=keypoints, keypoint_scores=score)
        for keypoints, score in zip(places, scores)
    ]
    samples = copy.deepcopy(list(data_samples))
    for sample, has in zip(samples, prediction.valid.cpu().numpy()):
        # A joint that the mentor does not predict is not counted as an error.
        if 'keypoints_visible' in sample.gt_instances:
            sample.gt_instances.keypoints_visible[:, ~has] = 0  # (1, K), or (1, K, 2) with weights
    return student.add_pred_to_datasample(instances, None, samples)


def _labelled(sample: Any) -> Tensor:
    """Weights of the joints, ``(1, K)``, positive if labelled; of the last level if several."""
    weights = sample.gt_instance_labels.keypoint_weights
    return weights[-1] if weights.ndim == 3 else weights


def _host_targets(sample: Any) -> np.ndarray:
    """One row of a sample: area, box size, head size and 2K coordinates, in input pixels."""
    instances, meta = sample.gt_instances, sample.metainfo
    zoom = np.asarray(meta['input_size'], np.float32) / np.asarray(meta['input_scale'], np.float32)
    x1, y1, x2, y2 = instances.bboxes[0]
    area = (meta.get('raw_ann_info') or {}).get('area') or _BODY_SHARE * (x2 - x1) * (y2 - y1)
    head: list[float] = list(np.ravel(instances.get('head_size', 0.0)))[:1]
    sizes = [area * zoom.prod(), max(x2 - x1, y2 - y1) * zoom[0], head[0] * zoom[0]]
    return np.concatenate([sizes, np.ravel(instances.transformed_keypoints[0])]).astype(np.float32)
