"""Head adapters for heads that regress coordinates: DeepPose and RLE (``integral.py`` has others).

A joint becomes two distributions, along x and along y, so that divergences, temperatures and
strategies work as for SimCC. See ``docs/regression.md`` for the formulas.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ..functional import at_least_float32, kl_divergence, log_gaussian, log_laplace
from ..registry import TASK_UTILS
from ..structures import Prediction
from .conversion import Conversion, Values, converts
from .heatmap import HeatmapAdapter
from .keypoints import KeypointAdapter
from .pose_models import pose_head
from .simcc import HeatmapToSimCC, SimCCAdapter, SimCCToHeatmap, SimCCToSimCC

# Cells per side of the input, and cells beyond each of its borders: four deviations of a point.
_CELLS, _MARGIN = 256, 32
# Standard deviation of a point, in cells: as wide as in MMPose's heatmaps, 2 of 64 cells.
_POINT = 8.0
# Smallest scale of RLE, in cells, which show nothing narrower.
_NARROWEST = 1.0
# Part of the input at which the divergence equals the head's own loss. MMPose's heads count a joint
# as correct within it.
_DISTANCE = 0.05


class Labels(NamedTuple):
    """Labels of a batch, as the heads' losses take them.

    Attributes:
        joints: ``(N, K, 2)``, in units of the input's sides.
        weights: ``(N, K)``.
        maps: Labels of DSNT's maps ``(N, K, H, W)``; None for other heads.
    """

    joints: Tensor
    weights: Tensor
    maps: Tensor | None


@TASK_UTILS.register_module()
class RegressionAdapter(KeypointAdapter):
    """``RegressionHead`` (DeepPose): a joint is a point.

    Toshev and Szegedy, "DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014. A
    point is the centre of a Gaussian of fixed width along each axis. The divergence of two points
    is then proportional to their squared distance. It is scaled to the head's own loss, with the
    mentor's joint as the label.

    See :class:`KeypointAdapter` for arguments and errors.
    """

    takes = "MMPose's TopdownPoseEstimator with RegressionHead and RegressionLabel"
    joints_option = 'num_joints'
    has_peaks = False
    codec_types, head_types = ('RegressionLabel',), ('RegressionHead',)
    own_loss_heads = ('RegressionHead', 'RLEHead', 'IntegralRegressionHead', 'DSNTHead')
    _width = _POINT

    # Without `sharpness`: no heatmap is converted to these heads.
    def __init__(
        self,
        model: nn.Module,
        key: str,
        config: Config | None = None,
        metainfo: dict | str | None = None,
    ) -> None:
        super().__init__(model, key, config, metainfo=metainfo)

    def _layout(self, model: nn.Module) -> None:
        self.cells = (_CELLS + 2 * _MARGIN,) * 2
        self.spacing = tuple(size / _CELLS for size in self.input_size)
        self.origin = tuple(-_MARGIN * step for step in self.spacing)
        self.summary = 'coordinates'
        self._factors = self._calibrate(pose_head(model).loss_module)

    def split(self, output: Any) -> tuple[Tensor]:
        """Return ``(N, K, 2)`` coordinates in units of the input's sides; RLE adds its scales."""
        return (output,)

    def cells_of(self, values: tuple[Tensor]) -> tuple[int, int]:
        """See :meth:`KeypointAdapter.cells_of`; the head itself has no cells."""
        return self.cells

    def decode(self, values: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`KeypointAdapter.decode`; the codec's score of a point is 1."""
        joints = self.joints(values[0])
        return joints, torch.ones_like(joints[..., 0])

    def located(self, joints: Tensor) -> Tensor:
        """See :meth:`KeypointAdapter.located`; a point always has a place."""
        return torch.ones_like(joints[..., 0], dtype=torch.bool)

    @property
    def factor(self) -> float:
        """See :attr:`KeypointAdapter.factor`."""
        return 1.0

    def encode(self, joints: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`KeypointAdapter.encode`."""
        return tuple(
            log_gaussian(centres, self._width, cells)
            for centres, cells in zip(self.centres(joints), self.cells)
        )

    def axes(self, output: Any) -> tuple[Tensor, ...]:
        """Logits ``(N, K, D)`` along x and y from the output of the head, with gradient."""
        return self.encode(self.joints(output))

    def deviations(self, output: Tensor) -> list[Tensor]:
        """Scales along x and y, ``(N, K)`` each, in cells; 0 of a head that has none."""
        return [torch.zeros_like(centre) for centre in self.centres(self.joints(output))]

    def student_prediction(self, output: Any) -> Prediction:
        """See :meth:`KeypointAdapter.student_prediction`."""
        values = tuple(value.detach() for value in self.read(output))
        return self.prediction(self.axes(output), *self.decode(values))

    def loss_scales(self, batch_size: int) -> tuple[float, float]:
        """See :meth:`KeypointAdapter.loss_scales`; of the two axes."""
        return self._factors

    def own_loss(
        self, loss: Callable[..., Any], output: Any, data_samples: Sequence[Any]
    ) -> Tensor:
        """See :meth:`KeypointAdapter.own_loss`."""
        labels = [sample.gt_instance_labels for sample in data_samples]
        joints = torch.cat([label.keypoint_labels for label in labels])
        weights = torch.cat([label.keypoint_weights for label in labels])
        return self._loss_of(loss, output, Labels(joints, weights, self._maps(data_samples)))

    def joints(self, output: Tensor) -> Tensor:
        """Joints ``(N, K, 2)`` in pixels of the input from coordinates, with gradient."""
        coordinates = at_least_float32(output)
        sides = [coordinates[..., axis] * self.input_size[axis] for axis in (0, 1)]
        return torch.stack(sides, dim=-1)

    def _loss_of(self, loss: Callable[..., Any], output: Any, labels: Labels) -> Tensor:
        """The head's own loss of an output.

        Args:
            loss: The head's loss module.
            output: Output of the head.
            labels: Its labels.
        """
        return loss(output, labels.joints, labels.weights[..., None])

    def _maps(self, data_samples: Sequence[Any]) -> Tensor | None:
        """Labels of the head's maps, if its loss has any."""
        return None

    def _output(self, joints: Tensor) -> Any:
        """The output of a head that predicts joints ``(N, K, 2)``, in units of the sides."""
        return joints

    @torch.no_grad()
    def _calibrate(self, loss: Callable[..., Any]) -> tuple[float, float]:
        """Factor for the divergence of each axis.

        With it, the divergence of a joint from a mentor's at 5% of the input equals the head's own
        loss with the mentor's joint as the label.
        """
        centre = torch.full((1, self.num_items, 2), 0.5, device='cpu')
        weights = torch.ones_like(centre[..., 0])
        encoded, factors = self.encode(self.joints(centre)), []
        labels = Labels(centre, weights, self._outer(encoded))
        for axis in (0, 1):
            moved = centre.clone()
            moved[..., axis] += _DISTANCE
            own = self._loss_of(loss, self._output(moved), labels)
            axes = self.encode(self.joints(moved))
            factors.append(float(own / kl_divergence(axes[axis], encoded[axis], 1.0).mean()))
        return tuple(factors)

    @staticmethod
    def _outer(axes: tuple[Tensor, Tensor]) -> Tensor:
        """The map ``(N, K, H, W)`` of two independent axes, which sums to 1."""
        x, y = (logits.softmax(dim=-1) for logits in axes)
        return y[..., :, None] * x[..., None, :]


@TASK_UTILS.register_module()
class RLEAdapter(RegressionAdapter):
    """``RLEHead``: a joint has a location and a scale along each axis.

    Li et al., "Human Pose Regression with Residual Log-likelihood Estimation", ICCV 2021. The
    distribution is the one that the head's loss starts from, Laplace or Gaussian, without the flow.
    The divergence is the negative log-likelihood of a joint that is drawn from the mentor's
    distribution, minus a constant. It is multiplied by the number of joints, because the head's
    loss is a sum over them.

    See :class:`KeypointAdapter` for arguments and errors.
    """

    takes = "MMPose's TopdownPoseEstimator with RLEHead and RegressionLabel"
    has_peaks = True
    head_types = ('RLEHead',)

    __init__ = KeypointAdapter.__init__  # with `sharpness`, for heatmaps of mentors

    def _layout(self, model: nn.Module) -> None:
        loss = pose_head(model).loss_module
        laplace = getattr(loss, 'q_distribution', 'laplace') == 'laplace'
        self._density = log_laplace if laplace else log_gaussian
        super()._layout(model)
        self.summary = 'coordinates with scales'

    def decode(self, values: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`KeypointAdapter.decode`; the codec's score is 1 minus the mean scale."""
        scales = at_least_float32(values[0])[..., 2:].sigmoid()
        return self.joints(values[0]), (1 - scales).mean(dim=-1)

    def encode(self, joints: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`KeypointAdapter.encode`; as narrow as the cells allow."""
        centres = self.centres(joints)
        return self.densities(centres, [torch.zeros_like(axis) for axis in centres])

    def densities(self, centres: Sequence[Tensor], scales: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Logits along x and y, ``(N, K, D)`` each, from ``(N, K)`` each, in units of cells."""
        return tuple(
            self._density(centre, scale.clamp(min=_NARROWEST), cells)
            for centre, scale, cells in zip(centres, scales, self.cells)
        )

    def axes(self, output: Tensor) -> tuple[Tensor, ...]:
        """See :meth:`RegressionAdapter.axes`."""
        return self.densities(self.centres(self.joints(output)), self.deviations(output))

    def deviations(self, output: Tensor) -> list[Tensor]:
        """See :meth:`RegressionAdapter.deviations`."""
        scales = at_least_float32(output)[..., 2:].sigmoid() * _CELLS
        return list(scales.unbind(dim=-1))

    def _loss_of(self, loss: Callable[..., Any], output: Any, labels: Labels) -> Tensor:
        joints, scales = output[..., :2], output[..., 2:]
        return loss(joints, scales, labels.joints, labels.weights[..., None])

    def _calibrate(self, loss: Callable[..., Any]) -> tuple[float, float]:
        return (float(self.num_items),) * 2


converts(HeatmapAdapter, RLEAdapter)(HeatmapToSimCC)
converts(SimCCAdapter, RLEAdapter)(SimCCToSimCC)


@converts(RLEAdapter, HeatmapAdapter)
class RLEToHeatmap(SimCCToHeatmap):
    """Expected heatmap of the student's codec for a joint drawn from the mentor's distribution."""

    mentor: RLEAdapter

    def convert(self, values: Values, x: Tensor, y: Tensor) -> Values:
        """See :class:`SeparableConversion`."""
        return super().convert(self.mentor.axes(values[0]), x, y)


@converts(RLEAdapter, SimCCAdapter)
class RLEToSimCC(SimCCToSimCC):
    """Interpolate the logarithms of the mentor's distributions at the student's bins."""

    mentor: RLEAdapter
    _is_smooth = True  # it has no label smoothing

    def convert(self, values: Values, x: Tensor, y: Tensor) -> Values:
        """See :class:`SeparableConversion`."""
        return super().convert(self.mentor.axes(values[0]), x, y)


@converts(RegressionAdapter, RLEAdapter)
class RegressionToRLE(Conversion):
    """The mentor's location and, if it has one, its scale, on the student's cells.

    Args:
        mentor: Adapter of the mentor.
        student: Adapter of the student.
        positions: For each axis, positions of the student's cells in units of the mentor's cells.
    """

    def __init__(
        self, mentor: RegressionAdapter, student: RLEAdapter, positions: list[Tensor]
    ) -> None:
        self._mentor, self._student = mentor, student
        self._firsts = [float(p[0]) for p in positions]
        self._steps = [float(p[1] - p[0]) for p in positions]

    def __call__(self, values: Values, joints: Tensor) -> Values:
        """See :class:`Conversion`."""
        (output,) = values
        centres = self._mentor.centres(self._mentor.joints(output))
        centres = [(c - first) / s for c, first, s in zip(centres, self._firsts, self._steps)]
        scales = [scale / s for scale, s in zip(self._mentor.deviations(output), self._steps)]
        return self._student.densities(centres, scales)
