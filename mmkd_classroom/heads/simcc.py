"""Head adapter for heads with two distributions per joint, over x and over y (SimCC, RTMPose)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..functional import gaussian_matrix, log_gaussian, triangle_matrix, vector_peaks
from ..registry import TASK_UTILS
from .conversion import SeparableConversion, Values, converts
from .heatmap import HeatmapAdapter
from .keypoints import KeypointAdapter
from .pose_models import pose_head


@TASK_UTILS.register_module()
class SimCCAdapter(KeypointAdapter):
    """``RTMCCHead`` and ``SimCCHead`` with ``SimCCLabel``, Gaussian or label-smoothed.

    Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation",
    arXiv 2107.03332. The divergence of a joint is the sum over its axes, each divided by its number
    of bins and multiplied by the batch size, as in MMPose's ``KLDiscretLoss``. With a ``weight`` of
    1, mentors and labels have the same weight if all joints are labelled. Otherwise mentors have
    more: MMPose averages over all joints, and a classroom over the labelled ones.

    See :class:`KeypointAdapter` for arguments and errors.
    """

    takes = "MMPose's TopdownPoseEstimator with SimCCLabel"
    codec_types = ('SimCCLabel',)
    own_loss_heads = ('SimCCHead', 'RTMCCHead')
    cells_option = 'simcc_split_ratio'
    unit: float

    def _layout(self, model: nn.Module) -> None:
        ratio = self.codec.simcc_split_ratio
        self.cells = tuple(int(size * ratio) for size in self.codec.input_size)
        self.spacing = (1 / ratio,) * 2  # bin 0 lies on pixel 0
        self.summary = f'SimCC {self.cells[0]}x{self.cells[1]}'
        loss = pose_head(model).loss_module
        # The loss multiplies the values by beta.
        self.unit = float(getattr(loss, 'beta', 1.0))
        # And the labels, if it takes their softmax.
        softmax = getattr(loss, 'label_softmax', False)
        self._label_beta = float(loss.label_beta) if softmax else None

    def split(self, output: Any) -> tuple[Tensor, Tensor]:
        """Return ``(N, K, W_x)`` and ``(N, K, W_y)``, of the last stage if there are several."""
        x, y = output[-1] if isinstance(output[-1], (list, tuple)) else output
        return x, y

    def cells_of(self, values: tuple[Tensor, Tensor]) -> tuple[int, int]:
        """See :meth:`KeypointAdapter.cells_of`."""
        return values[0].shape[-1], values[1].shape[-1]

    def decode(self, values: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`KeypointAdapter.decode`; to whole bins, as in the codec without DARK."""
        bins, heights = vector_peaks(*values)
        return bins.to(torch.promote_types(heights.dtype, torch.float32)) * self.spacing[0], heights

    @property
    def factor(self) -> float:
        """See :attr:`KeypointAdapter.factor`."""
        return self.unit

    def encode(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`KeypointAdapter.encode`; the values have the labels' softmax."""
        x, y = self.centres(joints)
        return self._label(x, 0), self._label(y, 1)

    def _label(self, centres: Tensor, axis: int) -> Tensor:
        """Values ``(N, K, W)`` of an axis for joints ``(N, K)`` in units of bins."""
        count, codec = self.cells[axis], self.codec
        if codec.smoothing_type == 'standard':
            smooth = codec.label_smooth_weight
            bins = torch.arange(count, device=centres.device)
            p = torch.where(bins == centres.round()[..., None], 1 - smooth, smooth / (count - 1))
            p = p.to(centres).clamp(min=torch.finfo(centres.dtype).tiny)
            return _as_values(p.log(), self)
        sigma = float(codec.sigma[axis])
        logits = log_gaussian(centres, sigma, count)
        if self._label_beta is not None:
            height = 1 / (sigma * math.sqrt(2 * math.pi)) if codec.normalize else 1.0
            logits = logits.exp() * (height * self._label_beta)
        return _as_values(logits, self)

    def loss_scales(self, batch_size: int) -> tuple[float, float]:
        """See :meth:`KeypointAdapter.loss_scales`."""
        return tuple(batch_size / bins for bins in self.cells)

    def own_loss(
        self, loss: Callable[..., Any], output: Any, data_samples: Sequence[Any]
    ) -> Tensor:
        """See :meth:`KeypointAdapter.own_loss`."""
        labels = [sample.gt_instance_labels for sample in data_samples]
        targets = tuple(
            torch.cat([label[f'keypoint_{axis}_labels'] for label in labels]) for axis in 'xy'
        )
        return loss(output, targets, torch.cat([label.keypoint_weights for label in labels]))

    def per_sample(self, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Multiply by the batch size, because ``KLDiscretLoss`` sums over the batch."""
        each = super().per_sample(loss)
        return lambda *parts: each(*parts) * len(parts[-1])


@converts(HeatmapAdapter, SimCCAdapter)
class HeatmapToSimCC(SeparableConversion):
    """Marginals of the heatmap's distribution over its cells, interpolated at the student's bins.

    Logarithms are interpolated, because a peak is as smooth in them as in the heatmap.
    """

    mentor: HeatmapAdapter

    def convert(self, values: Values, x: Tensor, y: Tensor) -> Values:
        """See :class:`SeparableConversion`."""
        logits = values[0] * (self.student.sharpness / self.mentor.unit)
        row, column = logits.logsumexp(dim=-2) @ x.T, logits.logsumexp(dim=-1) @ y.T
        return _as_values(row, self.student), _as_values(column, self.student)


@converts(SimCCAdapter, HeatmapAdapter)
class SimCCToHeatmap(SeparableConversion):
    """Expected heatmap of the student's codec for a joint drawn from the mentor's distribution.

    The mentor's distribution is the outer product of its two axes, and a Gaussian heatmap is the
    outer product of two Gaussians, so the expectation is the outer product of two vectors. A mentor
    with low confidence gives a low, wide heatmap.
    """

    student: HeatmapAdapter

    def matrices(self, positions: list[Tensor]) -> list[Tensor]:
        """Gaussians of the student's codec around the mentor's bins."""
        matrices = []
        for p, size in zip(positions, self.mentor.cells):
            bins = torch.arange(size, dtype=p.dtype)
            matrices.append(gaussian_matrix(p, bins, self.student.sigma * float(p[1] - p[0])))
        return matrices

    def convert(self, values: Values, x: Tensor, y: Tensor) -> Values:
        """See :class:`SeparableConversion`."""
        row, column = ((axis * self.mentor.unit).softmax(dim=-1) for axis in values)
        row, column = row @ x.T, column @ y.T
        column = column if self.student.unit == 1 else column * self.student.unit
        return (column[..., :, None] * row[..., None, :],)


@converts(SimCCAdapter, SimCCAdapter)
class SimCCToSimCC(SeparableConversion):
    """Interpolate the mentor's distributions at the student's bins.

    Logarithms are interpolated for heads with Gaussian labels. Label smoothing leaves a peak of one
    bin, which would cause ringing and could be missed between two bins. Its probability is spread
    over the neighbouring bins instead.
    """

    mentor: SimCCAdapter

    def matrices(self, positions: list[Tensor]) -> list[Tensor]:
        """Interpolation, or triangles for a mentor with label smoothing."""
        if self._is_smooth:
            return super().matrices(positions)
        widths = [max(1.0, float(p[1] - p[0])) for p in positions]
        return [triangle_matrix(p, n, w) for p, n, w in zip(positions, self.mentor.cells, widths)]

    def convert(self, values: Values, x: Tensor, y: Tensor) -> Values:
        """See :class:`SeparableConversion`."""
        return tuple(
            self._resample(axis * self.mentor.unit, matrix) for axis, matrix in zip(values, (x, y))
        )

    @property
    def _is_smooth(self) -> bool:
        return self.mentor.codec.smoothing_type == 'gaussian'

    def _resample(self, logits: Tensor, matrix: Tensor) -> Tensor:
        log_p = logits.log_softmax(dim=-1)
        if self._is_smooth:
            return _as_values(log_p @ matrix.T, self.student)
        p = log_p.exp() @ matrix.T
        return _as_values(p.clamp(min=torch.finfo(p.dtype).tiny).log(), self.student)


def _as_values(logits: Tensor, student: KeypointAdapter) -> Tensor:
    """Shift logits to a minimum of 0, because MMPose needs a positive value to find a joint."""
    return (logits - logits.amin(dim=-1, keepdim=True)) / student.unit
