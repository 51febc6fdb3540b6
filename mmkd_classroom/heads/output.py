"""From the output of a mentor with any pose head to a prediction in the format of the student's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from ..errors import ClassroomError
from ..functional import at_least_float32, finite_samples
from ..metainfo import Names, joint_names
from ..structures import Letterbox, MentorOutput, Prediction
from .base import OutputAdapter
from .conversion import build_conversion
from .joints import match_joints, matched_by_table

if TYPE_CHECKING:
    from .keypoints import KeypointAdapter


class JointOutputAdapter(OutputAdapter):
    """Convert the output of a mentor with any head, input size and set of joints.

    Args:
        mentor: Adapter of the mentor.
        student: Adapter of the student.
        letterbox: Position of the student's input in the mentor's.
        keypoint_map: See :func:`match_joints`.

    Raises:
        ClassroomError: The joints of the mentor are not known.
    """

    def __init__(
        self,
        mentor: KeypointAdapter,
        student: KeypointAdapter,
        letterbox: Letterbox,
        keypoint_map: Mapping | None = None,
    ) -> None:
        self._mentor, self._student = mentor, student
        self._convert = build_conversion(mentor, student, letterbox)
        self._map = keypoint_map
        names, counts = mentor.names, (mentor.num_items, student.num_items)
        if names is not None and len(names) != counts[0]:
            raise ClassroomError(
                f'{mentor.key} has {counts[0]} joints, but the data set of its config '
                f'{len(names)}: give {mentor.key}.metainfo, the definition of the data set that it '
                'was trained on.'
            )
        if names is None and (counts[0] != counts[1] or keypoint_map):
            raise ClassroomError(
                f'{mentor.key} has {counts[0]} joints, the student {counts[1]}, and its config '
                f"names no data set: give {mentor.key}.metainfo, such as 'aic' or "
                'dict(from_file=...).'
            )
        self._scale = torch.tensor(letterbox.scale)
        self._offset = torch.tensor(letterbox.offset)
        self._index: Tensor | None = None  # None if the joints are the same as the student's
        self._has: Tensor = torch.ones(1, counts[1], dtype=torch.bool)
        if student.names is not None:
            self._match(student.names)

    @property
    def summary(self) -> str:
        """See :class:`OutputAdapter`."""
        count = self._student.num_items
        joints = (
            f'{count - len(self.untaught)} of {count} joints' if self.untaught else 'all joints'
        )
        if self._convert.is_identity:
            return joints
        summaries = f'{self._mentor.summary} -> {self._student.summary}'
        return f'{joints}, {summaries}{self._convert.note}'

    def prepare(self, metainfo: dict | str | None) -> None:
        """Match the joints.

        Args:
            metainfo: Definition of the student's data set, its name, or None.

        Raises:
            ClassroomError: See :func:`match_joints`; or the joints must be matched and the
                student's have no names.
        """
        if self._student.names is not None:  # matched at construction
            return
        try:
            names = joint_names(metainfo, 'dataset_name')
        except ClassroomError:  # MMPose does not define the data set
            names = None
        self._match(names)

    def _match(self, names: Names | None) -> None:
        """Match the joints with these names of the student's joints."""
        self._index, self._has = None, torch.ones_like(self._has)
        self.untaught, self.by_table = (), ()
        key, theirs = self._mentor.key, self._mentor.names
        counts = self._mentor.num_items, self._student.num_items
        if theirs is None or (names is None and not self._map and counts[0] == counts[1]):
            print_log(
                f"The joints of {key} are taken for the student's, in the same order: give "
                'metainfo to have them matched by name.',
                'current',
                level=logging.WARNING,
            )
            return
        if names is None:
            raise ClassroomError(
                f"The data set's joints have no names to match those of {key} with: give "
                'model.adapter.metainfo, the definition of the data set.'
            )
        if len(names) != counts[1]:
            raise ClassroomError(
                f'The student has {counts[1]} joints, its data set {len(names)}: give '
                "model.adapter.metainfo, the definition of the student's joints."
            )
        matched = match_joints(theirs, names, self._map, key)
        self.by_table = matched_by_table(theirs, names, matched)
        if matched == list(range(counts[0])):
            return
        device = self._has.device
        self._has = torch.tensor([[index is not None for index in matched]], device=device)
        self._index = torch.tensor([index or 0 for index in matched], device=device)
        self.untaught = [name for name, index in zip(names, matched) if index is None]

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move all tensors."""
        self._convert.apply(function)
        # Keep float32: half precision would shift the positions of joints by rounding.
        device = function(self._scale).device
        self._scale, self._offset = self._scale.to(device), self._offset.to(device)
        self._has = function(self._has)
        self._index = None if self._index is None else function(self._index)

    @property
    def factor(self) -> float:
        """See :class:`OutputAdapter`."""
        return self._mentor.factor

    def read(self, output: Any) -> MentorOutput:
        """See :class:`OutputAdapter`. Joints are decoded in the format of the mentor's head."""
        output = output[0] if self._mentor.predicts_visibility else output
        values, finite = finite_samples(self._mentor.read(output))
        if self._index is not None:
            values = tuple(value.index_select(1, self._index) for value in values)
        return MentorOutput(values, finite, *self._mentor.decode(values))

    def predict(self, output: MentorOutput) -> Prediction:
        """See :class:`OutputAdapter`."""
        joints = at_least_float32((output.joints - self._offset) / self._scale)
        valid = output.finite[:, None] & self._has
        if self._convert.from_joints:
            valid = valid & self._mentor.located(output.joints)
        values = self._convert(output.values, joints)
        prediction = self._student.prediction(values, joints, output.confidences, valid)
        return replace(prediction, raw=output.values)

    def settings(self) -> dict[str, Any]:
        """See :class:`OutputAdapter`."""
        return dict(
            codec=repr(vars(self._mentor.codec)),
            joints=None if self._index is None else self._index.tolist(),
        )
