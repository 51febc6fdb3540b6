"""Common parts of the head adapters for MMPose's top-down pose estimators."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..dry_run import dry_run
from ..errors import ClassroomError
from ..metainfo import joint_names, metainfo_of
from ..structures import JointTargets, Letterbox, Prediction
from .base import HeadAdapter, StockLoss
from .capture import captured_loss, wrapped
from .output import JointOutputAdapter
from .pose_models import is_top_down, pose_head, predicts_visibility
from .pose_samples import joint_count, joint_targets, with_predictions


class KeypointAdapter(HeadAdapter):
    """Base class of the adapters for heads of top-down pose estimators.

    A joint is distilled as one or two distributions over cells: on a grid over the input, or along
    its axes.

    Args:
        model: See :class:`HeadAdapter`.
        key: See :class:`HeadAdapter`.
        config: See :class:`HeadAdapter`; the joints of a mentor are read from it.
        sharpness: Heatmap values of student and mentors are multiplied by it to get logits.
        metainfo: Definition of the model's joints: ``dict(from_file=...)`` or a full definition as
            in MMPose, or the name of one of its data sets. Default: for a mentor the data set in
            its config, for the student the one of the training samples.

    Raises:
        ClassroomError: The head's output has another size than its codec, ``sharpness`` is not
            positive, or ``metainfo`` cannot be read.

    Attributes:
        codec: MMPose's codec of the head.
        names: Names of the joints, or None if not known.
        cells: Number of cells along x and y.
        spacing: Input pixels between two cells, along x and y.
        origin: Pixel of the first cell, along x and y.
        unit: Unit of the head's values: for SimCC the factor from values to logits, for heatmaps
            the height of a peak.
    """

    kind = 'keypoints'
    mentor_options = frozenset({'keypoint_map', 'metainfo'})
    tau_max, temperature = 0.0, 1.0  # measured, see docs/ablation.md
    #: Codecs of MMPose that it reads, with maps of this kind, and their heads, or () for any.
    codec_types: tuple[str, ...] = ()
    heatmap_type: str = 'gaussian'
    head_types: tuple[str, ...] = ()
    #: Heads whose stock ``loss`` is :meth:`own_loss` and an accuracy.
    own_loss_heads: tuple[str, ...] = ()
    #: Whether the student computes the stock loss of such a head, and nothing else.
    _runs_own_loss: bool = False
    #: The codec's option that sets the number of cells, for messages.
    cells_option: str
    #: The head's option that sets the number of joints.
    joints_option: str = 'out_channels'

    cells: tuple[int, int]
    spacing: tuple[float, float]
    origin: tuple[float, float] = (0.0, 0.0)
    unit: float = 1.0

    @classmethod
    def accepts(cls, model: nn.Module) -> bool:
        """Accept a top-down model with one of the codecs and heads of the class."""
        if not is_top_down(model):
            return False
        from mmpose import codecs
        from mmpose.models import heads

        head = pose_head(model)
        codec = getattr(head, 'decoder', None)
        return (
            isinstance(codec, _types(codecs, cls.codec_types))
            and getattr(codec, 'heatmap_type', 'gaussian') == cls.heatmap_type
            and (not cls.head_types or isinstance(head, _types(heads, cls.head_types)))
        )

    def __init__(
        self,
        model: nn.Module,
        key: str,
        config: Config | None = None,
        sharpness: float = 50.0,
        metainfo: dict | str | None = None,
    ) -> None:
        if not sharpness > 0:
            raise ClassroomError(f'model.adapter.sharpness is {sharpness}: it must be positive.')
        self.key = key
        self.codec = self._codec(model)
        self.sharpness = sharpness
        self.num_items = getattr(pose_head(model), self.joints_option)
        self.predicts_visibility = predicts_visibility(model)
        self.input_size = tuple(int(size) for size in self.codec.input_size)
        self._layout(model)
        output = dry_run(model, self.input_size)
        if output is not None:  # else it is checked in training
            self.read(output[0] if self.predicts_visibility else output)
        if metainfo is None and config is not None:
            metainfo = metainfo_of(config, self.num_items)
        self.metainfo = metainfo
        where = 'model.adapter' if key == 'model.student' else key
        self.names = joint_names(metainfo, f'{where}.metainfo')

    # --- the format of the output ----------------------------------------------------------------

    def _codec(self, model: nn.Module) -> Any:
        """Return the codec that has ``input_size``."""
        return pose_head(model).decoder

    @abstractmethod
    def _layout(self, model: nn.Module) -> None:
        """Set ``cells``, ``spacing``, ``unit`` and ``summary`` from the codec and the head."""

    @abstractmethod
    def split(self, output: Any) -> tuple[Tensor, ...]:
        """Return the values, ``(N, K, ...)`` each, from the output of the head.

        The output has no visibility. If there are several stages, the values are of the last.
        """

    def cells_of(self, values: tuple[Tensor, ...]) -> tuple[int, int]:
        """Number of cells of values, along x and y. Default: of maps ``(N, K, H, W)``."""
        return values[0].shape[-1], values[0].shape[-2]

    @abstractmethod
    def decode(self, values: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Decode joints and confidences.

        Args:
            values: Without gradient.

        Returns:
            Joints ``(N, K, 2)`` in pixels of the model's input, the inverse of the codec's
            ``encode``; and confidences ``(N, K)``, the codec's score of each joint.
        """

    @abstractmethod
    def loss_scales(self, batch_size: int) -> tuple[float, ...]:
        """Factor of the divergence of each of the values that are taught.

        They bring the divergence to the scale of the head's own loss. Values beyond the last factor
        are not taught.

        Args:
            batch_size: N, for a head whose own loss is a sum over the batch.
        """

    def prediction(
        self,
        values: tuple[Tensor, ...],
        joints: Tensor,
        confidences: Tensor,
        valid: Tensor | None = None,
    ) -> Prediction:
        """Build a prediction from values of this head; ``valid`` is ``(N, K)``, default all."""
        scales = self.loss_scales(len(joints))
        valid = torch.ones_like(confidences, dtype=torch.bool) if valid is None else valid
        return Prediction(values[: len(scales)], self.factor, scales, valid, joints, confidences)

    @abstractmethod
    def encode(self, joints: Tensor) -> tuple[Tensor, ...]:
        """Encode joints as the codec encodes labels, but without rounding their place.

        This is the target of a student if the heads have no conversion.

        Args:
            joints: ``(N, K, 2)`` in pixels of the model's input, at least float32.

        Returns:
            Values as for :meth:`prediction`.
        """

    def located(self, joints: Tensor) -> Tensor:
        """Whether joints have a place. MMPose puts one at -1 if none of its values is positive.

        Args:
            joints: Of :meth:`decode`, ``(N, K, 2)``.

        Returns:
            ``(N, K)`` booleans.
        """
        return (joints >= 0).any(dim=-1)

    def centres(self, joints: Tensor) -> list[Tensor]:
        """Joints in units of cells, along x and y: ``(N, K)`` each."""
        return [(joints[..., axis] - self.origin[axis]) / self.spacing[axis] for axis in (0, 1)]

    @property
    @abstractmethod
    def factor(self) -> float:
        """Logits per unit of the head's values."""

    def stock_joints(self, joints: Tensor) -> Tensor:
        """Convert joints to those of the codec's own ``decode``.

        Args:
            joints: Of :meth:`decode`, ``(N, K, 2)`` in pixels of the model's input.

        Returns:
            ``(N, K, 2)``, as the codec returns them before they are put into the image.
        """
        if not self.is_udp:
            return joints
        size = joints.new_tensor(self.input_size)
        return joints * size / (size - 1)

    @property
    def is_udp(self) -> bool:
        """Whether the codec is UDP's, which aligns the corners of heatmap and input."""
        return type(self.codec).__name__ == 'UDPHeatmap'

    def read(self, output: Any) -> tuple[Tensor, ...]:
        """See :meth:`HeadAdapter.read`; ``output`` has no visibility."""
        values = self.split(output)
        found = self.cells_of(values)
        if found != self.cells:
            raise ClassroomError(
                f'{self.key}.head gives {found[0]} x {found[1]} cells (along x, y) for a joint, but'
                f' its codec {type(self.codec).__name__} is for {self.cells[0]} x {self.cells[1]}, '
                f'from an input of {self.input_size[0]} x {self.input_size[1]}: MMPose itself would'
                f' decode joints in the wrong places. Correct input_size or {self.cells_option} of '
                f'{self.key}.head.decoder.'
            )
        return values

    # --- as a student ----------------------------------------------------------------------------

    def check_student(self, student: nn.Module, per_sample: bool) -> None:
        """Accept any head."""

    def configure_student(self, student: nn.Module) -> None:
        """Turn off the accuracy of the head unless the config sets ``compute_acc``.

        MMPose computes it in NumPy, which synchronises with the device in each step. The student's
        mean score is reported instead.
        """
        from mmpose.models import TopdownPoseEstimator, heads

        student.train_cfg.setdefault('compute_acc', False)
        known = [head.loss for head in _types(heads, self.own_loss_heads)]
        self._runs_own_loss = (
            type(student).loss is TopdownPoseEstimator.loss
            and type(student.head).loss in known
            and not student.train_cfg['compute_acc']
        )

    def check_samples(
        self, data_samples: Sequence[Any], metainfo: dict | None = None
    ) -> dict | str | None:
        """Check that samples have the visibility and the joints in input space."""
        joints = joint_count(data_samples[0])
        if joints != self.num_items:
            raise ClassroomError(
                f'The training samples have {joints} joints, the student {self.num_items} '
                f'(model.student.head.{self.joints_option}): choose a train_dataloader.dataset '
                "with the student's joints."
            )
        if self.metainfo is not None:
            return self.metainfo
        if 'keypoint_id2name' in (metainfo or {}):
            return metainfo
        return data_samples[0].metainfo.get('dataset_name')

    def loss(
        self,
        student: nn.Module,
        stock_loss: StockLoss,
        inputs: Tensor,
        data_samples: Sequence[Any],
        per_sample: bool = False,
    ) -> tuple[Prediction, dict[str, Tensor]]:
        """See :meth:`HeadAdapter.loss`; includes the loss of the visibility if it is predicted."""
        if self._runs_own_loss:
            # The stock `loss` computes the accuracy in NumPy even if it is not wanted, which
            # synchronises with the device in each step.
            output = student.head(student.extract_feat(inputs))
            loss = student.head.loss_module
            loss = self.per_sample(loss) if per_sample else loss
            value = self.own_loss(loss, output, data_samples)
            return self.student_prediction(output), dict(loss_kpt=value)
        head = pose_head(student)
        with ExitStack() as stack:
            if self.predicts_visibility:
                # The `loss` of `VisPredictHead` does not pass on `compute_acc`.
                told = partial(_with_train_cfg, student.train_cfg)
                stack.enter_context(wrapped(head, 'loss', told))
                if per_sample:
                    visibility = student.head.loss_module
                    stack.enter_context(wrapped(visibility, 'forward', mean_per_sample))
            output, losses = captured_loss(
                head, stock_loss, inputs, data_samples, self.per_sample if per_sample else None
            )
        return self.student_prediction(output), losses

    def own_loss(
        self, loss: Callable[..., Any], output: Any, data_samples: Sequence[Any]
    ) -> Tensor:
        """The loss of one of :attr:`own_loss_heads`.

        Returns a scalar, or ``(N,)`` from a loss per sample.

        Args:
            loss: The head's loss module, or its form per sample.
            output: Output of the head.
            data_samples: Samples of the batch.
        """
        raise NotImplementedError

    def student_prediction(self, output: Any) -> Prediction:
        """Build the prediction from the output of the student's head, without visibility."""
        values = self.read(output)
        return self.prediction(values, *self.decode(tuple(value.detach() for value in values)))

    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Make the head's loss function return ``(N,)``, whose mean is the loss."""
        return mean_per_sample(loss)

    def targets(self, data_samples: Sequence[Any], device: torch.device) -> JointTargets:
        """Joints in input pixels."""
        return joint_targets(data_samples, device)

    def write(
        self, prediction: Prediction, data_samples: Sequence[Any], student: nn.Module
    ) -> list[Any]:
        """Copy the samples with predicted instances, in pixels of the image."""
        joints = self.stock_joints(prediction.joints)
        return with_predictions(data_samples, joints, prediction, student)

    def output_adapter(
        self,
        mentor: 'KeypointAdapter',
        letterbox: Letterbox | None = None,
        keypoint_map: Mapping | None = None,
    ) -> 'JointOutputAdapter':
        """See :meth:`HeadAdapter.output_adapter`; for ``keypoint_map`` :func:`match_joints`."""
        letterbox = letterbox or Letterbox()
        mentor.sharpness = self.sharpness  # an option of the classroom, not of a mentor
        return JointOutputAdapter(mentor, self, letterbox, keypoint_map)


def mean_per_sample(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make a loss of ``(N, ...)`` tensors, a mean over samples, return ``(N,)``.

    MMPose's losses have no option ``reduction``, so ``torch.vmap`` calls the loss per sample.
    """

    def alone(*sample: Any) -> Tensor:
        return loss(*tree_map(lambda tensor: tensor[None], sample))

    def unreduced(*parts: Any) -> Tensor:
        return torch.vmap(alone)(*[part for part in parts if part is not None])

    return unreduced


def _with_train_cfg(train_cfg: dict, loss: Callable) -> Callable:
    return partial(loss, train_cfg=train_cfg)


def _types(module: Any, names: Sequence[str]) -> tuple[type, ...]:
    return tuple(getattr(module, name) for name in names)
