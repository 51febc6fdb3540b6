"""Top-down pose estimation with MMPose's ``TopdownPoseEstimator``: what all its heads share."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..errors import ClassroomError
from ..functional import at_least_float32, item_weights
from ..metainfo import Names, joint_names, metainfo_of
from ..rankers import Ranker, usual_ranker
from ..structures import Geometry, KeypointTruth, Prediction
from .base import Reader, Task, finite_part, shadowed
from .conversion import Conversion
from .forms import (
    Form,
    HeatmapForm,
    check_size,
    form_of,
    pose_head,
    predicts_visibility,
    read_values,
)
from .joints import match_joints

# A box's share that a person covers, where no area is annotated: MMPose's and xtcocotools' rule.
_BODY_SHARE = 0.53


class PoseTask(Task):
    """Joints from any stock head, and from mentors of any other.

    A mentor's heatmaps or SimCC axes are converted to the student's form, joint by joint; where
    a mentor lacks one of the student's joints, it does not teach it.

    Args:
        ranker: A ranker of joints.
        sharpness: Logits per unit of heatmap, of students and of mentors with heatmaps.
        metainfo: The student's joints: ``dict(from_file=...)`` or a full definition as in
            MMPose, or the name of one of its data sets. By default of the data set that the
            training samples name.

    Raises:
        ClassroomError: ``sharpness`` is not positive, ``metainfo`` cannot be read, or the ranker
            is of another kind.
    """

    kind = 'keypoints'
    mentor_options = frozenset({'keypoint_map', 'metainfo'})
    #: The form that a student of this task has.
    form: type[Form]

    def __init__(
        self,
        ranker: Ranker | None = None,
        sharpness: float = 50.0,
        metainfo: dict | str | None = None,
    ) -> None:
        super().__init__(ranker)
        if not sharpness > 0:
            raise ClassroomError(f'model.task.sharpness is {sharpness}: it must be positive.')
        self.sharpness = sharpness
        self.metainfo = metainfo
        self.names = joint_names(metainfo, 'model.task.metainfo')

    def check_student(self, student: nn.Module) -> None:
        """The student must be a top-down estimator with a head of this task.

        Its head's accuracy is switched off unless the config asks for it: MMPose computes it in
        NumPy, one stop of the device per step. The student's mean score is reported instead.
        """
        form = form_of(student, 'model.student')
        if not isinstance(form, self.form):
            raise ClassroomError(
                f'model.student.head is a {type(pose_head(student)).__name__} with the codec '
                f'{type(form.codec).__name__}, but model.task is a {type(self).__name__}: use '
                "'mmkd_classroom.HeatmapTask' for heatmaps, 'mmkd_classroom.SimCCTask' for SimCC."
            )
        check_size(student, form, 'model.student')
        student.train_cfg.setdefault('compute_acc', False)

    def input_size(self, model: nn.Module, key: str) -> tuple[int, int]:
        """That of the head's codec."""
        return form_of(model, key).input_size

    def reader(
        self,
        mentor: nn.Module,
        student: nn.Module,
        key: str,
        config: Config,
        geometry: Geometry | None = None,
        **options: Any,
    ) -> 'PoseReader':
        """See :meth:`Task.reader`; the options are ``keypoint_map`` and ``metainfo``."""
        ours, theirs = form_of(student, 'model.student'), form_of(mentor, key)
        check_size(mentor, theirs, key)
        geometry = geometry or Geometry(theirs.input_size)
        names = joint_names(
            options.get('metainfo') or metainfo_of(config, mentor.head.out_channels),
            f'{key}.metainfo',
        )
        counts = mentor.head.out_channels, student.head.out_channels
        reader = PoseReader(
            key,
            theirs,
            ours,
            geometry,
            Conversion(theirs, ours, geometry, self.sharpness),
            names,
            counts,
            options.get('keypoint_map'),
            predicts_visibility(mentor),
        )
        if self.names is not None:
            reader.bind(self.names)
        return reader

    def check_samples(self, data_samples: Sequence[Any], metainfo: dict | None = None) -> None:
        """Samples must have visibility and the joints in input space."""
        if self.metainfo is None and 'keypoint_id2name' in (metainfo or {}):
            self.metainfo = metainfo
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
        metainfo = self._metainfo(data_samples)
        if self.ranker is None:
            self.ranker = usual_ranker(metainfo)
        self.ranker.check(instances.transformed_keypoints.shape[1], metainfo)

    def _metainfo(self, data_samples: Sequence[Any]) -> dict | str | None:
        return self.metainfo or data_samples[0].metainfo.get('dataset_name')

    def item_names(self, data_samples: Sequence[Any]) -> Names | None:
        """The joints' names, by ``metainfo``, or else by the data set that the samples name."""
        if self.names is not None:
            return self.names
        try:
            return joint_names(self._metainfo(data_samples), 'dataset_name')
        except ClassroomError:  # a data set that is not MMPose's
            return None

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
            metainfo=self._metainfo(data_samples),
        )

    def head(self, student: nn.Module) -> nn.Module:
        """See :meth:`Task.head`."""
        return pose_head(student)

    def capture(
        self,
        student: nn.Module,
        inputs: Tensor,
        data_samples: Sequence[Any],
        per_sample: bool,
        stock_loss: Callable[..., dict[str, Tensor]] | None = None,
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """See :meth:`Task.capture`; where the head predicts visibility, its loss is one of them."""
        with ExitStack() as stack:
            if predicts_visibility(student):
                # Its `loss` keeps to itself that the stock accuracy is off.
                told = shadowed(pose_head(student), 'loss', partial(_told, student.train_cfg))
                stack.enter_context(told)
                if per_sample:
                    visibility = shadowed(student.head.loss_module, 'forward', _of_each_sample)
                    stack.enter_context(visibility)
            return super().capture(student, inputs, data_samples, per_sample, stock_loss)

    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """MMPose's losses have no ``reduction`` to choose; each sample is mapped on its own."""
        return _of_each_sample(loss)[0]

    def as_prediction(self, student: nn.Module, output: Any) -> Prediction:
        """The values of the student's form."""
        form = form_of(student, 'model.student')
        return Prediction(read_values(form, output, 'model.student'), form)

    def judged(self, prediction: Prediction) -> Tensor:
        """Joints ``(N, K, 2)`` in input pixels, as the head's own codec would decode them."""
        if prediction.joints is not None:
            return at_least_float32(prediction.joints)
        values = prediction.values
        values = values.detach() if isinstance(values, Tensor) else [v.detach() for v in values]
        return prediction.form.joints(values)

    def write(
        self, prediction: Prediction, data_samples: Sequence[Any], student: nn.Module
    ) -> list[Any]:
        """Predicted instances, in pixels of the image; the scores are the peaks' logits."""
        joints = prediction.form.decoded(self.judged(prediction))[:, None].cpu().numpy()
        scores = (self.peak(prediction) * prediction.valid)[:, None].float().cpu().numpy()
        instances = [
            InstanceData(keypoints=keypoints, keypoint_scores=score)
            for keypoints, score in zip(joints, scores)
        ]
        samples = copy.deepcopy(list(data_samples))
        for sample, has in zip(samples, prediction.valid.expand(joints.shape[0], joints.shape[2])):
            # A joint that the mentor does not know is none that it missed.
            if 'keypoints_visible' in sample.gt_instances:
                sample.gt_instances.keypoints_visible *= has.cpu().numpy()
        return student.add_pred_to_datasample(instances, None, samples)


class PoseReader(Reader):
    """Reads a mentor of any form, input size and set of joints.

    Args:
        key: The mentor's config key, for messages.
        mentor: Its form.
        student: The student's form.
        geometry: Where the student's pixels lie in the mentor's input.
        conversion: From the mentor's form to the student's.
        names: The mentor's joints, or None where nothing names them.
        counts: Number of the mentor's joints and of the student's.
        keypoint_map: See :func:`match_joints`.
        predicts_visibility: Whether its head returns visibility beside the joints.

    Raises:
        ClassroomError: Nothing tells which joint is which.
    """

    def __init__(
        self,
        key: str,
        mentor: Form,
        student: Form,
        geometry: Geometry,
        conversion: Conversion,
        names: Names | None,
        counts: tuple[int, int],
        keypoint_map: Mapping | None,
        predicts_visibility: bool = False,
    ) -> None:
        self._key = key
        self._mentor, self._student = mentor, student
        self._conversion = conversion
        self._counts = counts
        self._map = keypoint_map
        self._predicts_visibility = predicts_visibility
        if names is not None and len(names) != counts[0]:
            raise ClassroomError(
                f'{key} has {counts[0]} joints, but the data set of its config {len(names)}: give '
                f'{key}.metainfo, the definition of the data set that it was trained on.'
            )
        if names is None and (counts[0] != counts[1] or keypoint_map):
            raise ClassroomError(
                f'{key} has {counts[0]} joints, the student {counts[1]}, and its config names no '
                f"data set: give {key}.metainfo, such as 'aic' or dict(from_file=...)."
            )
        self._names = names
        self._scale = torch.tensor(geometry.scale)
        self._offset = torch.tensor(geometry.offset)
        self._index: Tensor | None = None  # None while the joints are the student's
        self._has: Tensor = torch.ones(1, counts[1], dtype=torch.bool)

    @property
    def summary(self) -> str:
        """See :class:`Reader`."""
        taught = self._counts[1] - len(self.untaught)
        joints = 'all joints' if not self.untaught else f'{taught} of {self._counts[1]} joints'
        if self._conversion.is_identity:
            return joints
        return f'{joints}, {_describe(self._mentor)} -> {_describe(self._student)}'

    def bind(self, names: Names | None) -> None:
        """Match the joints.

        Raises:
            ClassroomError: See :func:`match_joints`; or they have to be matched and the student's
                have no names.
        """
        self._index, self._has, self.untaught = None, torch.ones_like(self._has), ()
        if self._names is None or (names is None and not self._map and len(set(self._counts)) == 1):
            print_log(
                f"The joints of {self._key} are taken for the student's, in the same order: "
                'give metainfo to have them matched by name.',
                'current',
                level=logging.WARNING,
            )
            return
        if names is None:
            raise ClassroomError(
                f"The data set's joints have no names to match those of {self._key} with: give "
                'model.task.metainfo, the definition of the data set.'
            )
        if len(names) != self._counts[1]:
            raise ClassroomError(
                f'The student has {self._counts[1]} joints, its data set {len(names)}: give '
                "model.task.metainfo, the definition of the student's joints."
            )
        matched = match_joints(self._names, names, self._map, self._key)
        if matched == list(range(self._counts[0])):
            return
        device = self._has.device
        self._has = torch.tensor([[index is not None for index in matched]], device=device)
        self._index = torch.tensor([index or 0 for index in matched], device=device)
        self.untaught = [name for name, index in zip(names, matched) if index is None]

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move all tensors."""
        self._conversion.apply(function)
        # Not their type: in half precision the places of joints would be lost to rounding.
        device = function(self._scale).device
        self._scale, self._offset = self._scale.to(device), self._offset.to(device)
        self._has = function(self._has)
        self._index = None if self._index is None else function(self._index)

    def __call__(self, output: Any) -> Prediction:
        """The mentor's prediction, with its joints decoded in its own form."""
        output = output[0] if self._predicts_visibility else output
        values = read_values(self._mentor, output, self._key)
        tensors, finite = finite_part([values] if isinstance(values, Tensor) else values)
        if self._index is not None:
            tensors = [tensor.index_select(1, self._index) for tensor in tensors]
        values = tensors[0] if isinstance(values, Tensor) else tuple(tensors)
        joints = (self._mentor.joints(values) - self._offset) / self._scale
        return Prediction(
            self._conversion(values), self._student, finite & self._has, joints=joints
        )


def _describe(form: Form) -> str:
    kind = 'heatmap' if isinstance(form, HeatmapForm) else 'SimCC'
    return f'{kind} {form.cells[0]}x{form.cells[1]}'


def _told(train_cfg: dict, loss: Callable) -> tuple[Callable, None]:
    return partial(loss, train_cfg=train_cfg), None


def _of_each_sample(loss: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], None]:
    """A loss of ``(N, ...)`` tensors that is a mean over samples, as ``(N,)``."""

    def alone(*sample: Any) -> Tensor:
        return loss(*tree_map(lambda tensor: tensor[None], sample))

    def unreduced(*parts: Any) -> Tensor:
        return torch.vmap(alone)(*[part for part in parts if part is not None])

    return unreduced, None


def _host_truth(sample: Any) -> np.ndarray:
    """One row: area, box size, head size and 2K coordinates, in input pixels."""
    instances, meta = sample.gt_instances, sample.metainfo
    zoom = np.asarray(meta['input_size'], np.float32) / np.asarray(meta['input_scale'], np.float32)
    x1, y1, x2, y2 = instances.bboxes[0]
    area = (meta.get('raw_ann_info') or {}).get('area') or _BODY_SHARE * (x2 - x1) * (y2 - y1)
    head: list[float] = list(np.ravel(instances.get('head_size', 0.0)))[:1]
    sizes = [area * zoom.prod(), max(x2 - x1, y2 - y1) * zoom[0], head[0] * zoom[0]]
    return np.concatenate([sizes, np.ravel(instances.transformed_keypoints[0])]).astype(np.float32)
