"""The forms in which stock pose heads give joints: heatmaps, and SimCC's two axes.

A form knows where its cells lie in the input, what its values mean, and how its codec would
decode them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..dry_run import dry_run
from ..errors import ClassroomError
from ..functional import (
    at_least_float32,
    heatmap_peaks,
    refine_quarter,
    refine_taylor,
    vector_peaks,
    without_autocast,
)


@dataclass(frozen=True)
class HeatmapForm:
    """A heatmap ``(H, W)`` per joint, coded by MSRA, DARK or UDP (Gaussian).

    Attributes:
        codec: MMPose's ``MSRAHeatmap`` or ``UDPHeatmap``.
    """

    codec: Any

    @property
    def cells(self) -> tuple[int, int]:
        """Number of cells along x and y."""
        return tuple(int(size) for size in self.codec.heatmap_size)

    @property
    def spacing(self) -> tuple[float, float]:
        """Input pixels between two cells: cell 0 lies on pixel 0, in UDP the last on the last."""
        return tuple(float(factor) for factor in self.codec.scale_factor)

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the input."""
        return tuple(int(size) for size in self.codec.input_size)

    @property
    def sigma(self) -> float:
        """Of the Gaussians that the codec draws, in cells."""
        return float(self.codec.sigma)

    @property
    def is_udp(self) -> bool:
        """Whether the corners of the map are those of the input."""
        return type(self.codec).__name__ == 'UDPHeatmap'

    @staticmethod
    def values(output: Any) -> Tensor:
        """``(N, K, H, W)``; of several stages (Hourglass, CPM, MSPN) the last, as MMPose."""
        return output[-1] if isinstance(output, (list, tuple)) else output

    @staticmethod
    def cells_of(values: Tensor) -> tuple[int, int]:
        """Number of cells along x and y that values have."""
        return values.shape[-1], values.shape[-2]

    def joints(self, values: Tensor) -> Tensor:
        """``(N, K, 2)`` in input pixels, as the inverse of the codec's ``encode``."""
        heatmaps = at_least_float32(values)
        flat = heatmaps.flatten(0, 1)
        cells = heatmap_peaks(flat)
        if self.is_udp or self.codec.unbiased:
            # Half-precision matmuls of autocast would cost a sixth of a pixel.
            with without_autocast(flat):
                joints = refine_taylor(flat, cells, self.codec.blur_kernel_size)
        else:
            joints = refine_quarter(flat, cells)
        # MMPose puts a joint whose map has no positive value at (-1, -1).
        joints = torch.where((flat.flatten(1).amax(dim=1) > 0)[:, None], joints, -1.0)
        # The way into the space of `transformed_keypoints`. UDP's own `decode` stretches by
        # another W / (W - 1), which its way back to the image undoes: up to a pixel.
        x, y = (joints[:, axis] * self.spacing[axis] for axis in (0, 1))
        return torch.stack([x, y], dim=-1).unflatten(0, heatmaps.shape[:2])

    def decoded(self, joints: Tensor) -> Tensor:
        """Joints in input pixels as the codec's ``decode`` gives them."""
        if not self.is_udp:
            return joints
        size = joints.new_tensor(self.input_size)
        return joints * size / (size - 1)


@dataclass(frozen=True)
class SimCCForm:
    """Two distributions per joint, over bins along x ``(W_x)`` and along y ``(W_y)``.

    Attributes:
        codec: MMPose's ``SimCCLabel``.
        beta: The head's factor from values to logits, of its ``KLDiscretLoss``.
    """

    codec: Any
    beta: float = 1.0

    @property
    def cells(self) -> tuple[int, int]:
        """Number of bins along x and y."""
        return tuple(int(size * self.codec.simcc_split_ratio) for size in self.codec.input_size)

    @property
    def spacing(self) -> tuple[float, float]:
        """Input pixels between two bins; bin 0 lies on pixel 0."""
        return (1 / self.codec.simcc_split_ratio,) * 2

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the input."""
        return tuple(int(size) for size in self.codec.input_size)

    @staticmethod
    def values(output: Any) -> tuple[Tensor, Tensor]:
        """``(N, K, W_x)`` and ``(N, K, W_y)``; of several stages the last."""
        x, y = output[-1] if isinstance(output[-1], (list, tuple)) else output
        return x, y

    @staticmethod
    def cells_of(values: tuple[Tensor, Tensor]) -> tuple[int, int]:
        """Number of bins along x and y that values have."""
        return values[0].shape[-1], values[1].shape[-1]

    def joints(self, values: tuple[Tensor, Tensor]) -> Tensor:
        """``(N, K, 2)`` in input pixels, to the bin, as the codec decodes without DARK."""
        x, y = values
        joints = vector_peaks(x, y).to(torch.promote_types(x.dtype, torch.float32))
        return joints * self.spacing[0]

    @staticmethod
    def decoded(joints: Tensor) -> Tensor:
        """Joints in input pixels as the codec's ``decode`` gives them."""
        return joints


Form = HeatmapForm | SimCCForm


def form_of(model: nn.Module, key: str) -> Form:
    """The form of a stock top-down estimator.

    Args:
        model: MMPose's ``TopdownPoseEstimator``.
        key: Its config key, such as ``model.student``.

    Raises:
        ClassroomError: It is another kind of model, or its codec is not supported.
    """
    from mmpose.codecs import MSRAHeatmap, SimCCLabel, UDPHeatmap
    from mmpose.models import TopdownPoseEstimator

    if not isinstance(model, TopdownPoseEstimator):
        raise ClassroomError(
            f"{key} is a {type(model).__name__}, but model.task is for poses: it takes MMPose's "
            'TopdownPoseEstimator with a heatmap or SimCC head.'
        )
    head = pose_head(model)
    codec = getattr(head, 'decoder', None)
    if isinstance(codec, SimCCLabel):
        return SimCCForm(codec, float(getattr(head.loss_module, 'beta', 1.0)))
    kind = getattr(codec, 'heatmap_type', 'gaussian')
    if isinstance(codec, (MSRAHeatmap, UDPHeatmap)) and kind == 'gaussian':
        return HeatmapForm(codec)
    option = '' if kind == 'gaussian' else f' and heatmap_type={kind!r}'
    raise ClassroomError(
        f'{key}.head is a {type(head).__name__} with the codec {type(codec).__name__}{option}: '
        "model.task takes heads with MSRAHeatmap, UDPHeatmap with heatmap_type='gaussian', or "
        'SimCCLabel; choose a config with such a head.'
    )


def pose_head(model: nn.Module) -> nn.Module:
    """The head that tells where joints are: what ``VisPredictHead`` wraps, or the head itself."""
    return model.head.pose_head if predicts_visibility(model) else model.head


def predicts_visibility(model: nn.Module) -> bool:
    """Whether the head returns its joints beside their visibility (``VisPredictHead``)."""
    from mmpose.models.heads import VisPredictHead

    return isinstance(model.head, VisPredictHead)


def read_values(form: Form, output: Any, key: str) -> Any:
    """What a head returned, as the form's values.

    Args:
        form: Of the head.
        output: What its ``forward`` returned, without a visibility.
        key: The model's config key, such as ``model.student``.

    Returns:
        ``(N, K, H, W)``, or ``(N, K, W_x)`` and ``(N, K, W_y)``.

    Raises:
        ClassroomError: They have another size than the codec says.
    """
    values = form.values(output)
    found = form.cells_of(values)
    if found == form.cells:
        return values
    option = 'heatmap_size' if isinstance(form, HeatmapForm) else 'simcc_split_ratio'
    raise ClassroomError(
        f'{key}.head gives {found[0]} x {found[1]} cells (along x, y) for a joint, but its codec '
        f'{type(form.codec).__name__} is for {form.cells[0]} x {form.cells[1]}, from an input of '
        f'{form.input_size[0]} x {form.input_size[1]}: MMPose itself would decode joints in the '
        f'wrong places. Correct input_size or {option} of {key}.head.decoder.'
    )


def check_size(model: nn.Module, form: Form, key: str) -> None:
    """Raise a :class:`ClassroomError` if a head's output has another size than its codec says.

    Args:
        model: It is left as it is.
        form: See :func:`form_of`.
        key: Its config key, for messages.
    """
    output = dry_run(model, form.input_size)
    if output is not None:  # else `read_values` checks in training
        read_values(form, output[0] if predicts_visibility(model) else output, key)
