"""Head adapter for UDP's offset maps: a disc around each joint, and offsets from cells to it."""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ClassroomError
from ..functional import (
    at_least_float32,
    cells_to_pixels,
    gaussian_blur,
    heatmap_peaks,
    without_autocast,
)
from ..registry import TASK_UTILS
from .conversion import SeparableConversion, Values, converts
from .keypoints import KeypointAdapter


@TASK_UTILS.register_module()
class OffsetAdapter(KeypointAdapter):
    """``UDPHeatmap`` with ``heatmap_type='combined'``: three maps per joint.

    Huang et al., "The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose
    Estimation", CVPR 2020. The first map is 1 on a disc around the joint; it is distilled as a
    distribution over its cells, like a heatmap. The other two, the offsets from each cell to the
    joint, are used to decode a mentor, but are not distilled: they have a meaning within the disc
    only, and are no distributions.

    See :class:`KeypointAdapter` for arguments and errors.
    """

    takes = "MMPose's TopdownPoseEstimator with UDPHeatmap and heatmap_type='combined'"
    codec_types = ('UDPHeatmap',)
    heatmap_type = 'combined'
    cells_option = 'heatmap_size'

    def _layout(self, model: nn.Module) -> None:
        if self.num_items % 3:
            raise ClassroomError(
                f'{self.key}.head.out_channels is {self.num_items}, but its codec needs 3 maps per '
                "joint (heatmap_type='combined'): correct it."
            )
        self.num_items //= 3
        self.cells = tuple(int(size) for size in self.codec.heatmap_size)
        # The first cell lies on the first pixel, the last on the last.
        self.spacing = tuple(float(factor) for factor in self.codec.scale_factor)
        self.summary = f'discs {self.cells[0]}x{self.cells[1]} with offsets'

    @property
    def radius(self) -> float:
        """Radius of the discs and unit of the offsets, in cells."""
        return self.codec.radius_factor * max(self.cells)

    def split(self, output: Any) -> tuple[Tensor, Tensor]:
        """Return discs ``(N, K, H, W)`` and offsets ``(N, K, 2, H, W)``, of the last stage."""
        maps = output[-1] if isinstance(output, (list, tuple)) else output
        maps = maps.unflatten(1, (-1, 3))
        return maps[:, :, 0], maps[:, :, 1:]

    def decode(self, values: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`KeypointAdapter.decode`; the offset at the peak of the blurred disc."""
        discs, offsets = (at_least_float32(value).flatten(0, 1) for value in values)
        with without_autocast(discs):
            # As OpenCV, which reflects at the border without repeating it.
            blurred = gaussian_blur(discs, 2 * self.codec.blur_kernel_size + 1, border='reflect')
        cells = heatmap_peaks(blurred)
        index = cells[:, 1] * self.cells[0] + cells[:, 0]
        offset = offsets.flatten(2).gather(2, index[:, None, None].expand(-1, 2, 1))[..., 0]
        heights = blurred.flatten(1).amax(dim=1)
        joints = cells_to_pixels(cells + offset * self.radius, heights, self.spacing)
        shape = values[0].shape[:2]
        return joints.unflatten(0, shape), heights.unflatten(0, shape)

    @property
    def factor(self) -> float:
        """See :attr:`KeypointAdapter.factor`."""
        return self.sharpness

    def encode(self, joints: Tensor) -> tuple[Tensor]:
        """See :meth:`KeypointAdapter.encode`; the discs."""
        x, y = (
            (torch.arange(cells, device=joints.device) - centres[..., None]).square()
            for centres, cells in zip(self.centres(joints), self.cells)
        )
        return ((y[..., :, None] + x[..., None, :] <= self.radius**2).to(joints),)

    def loss_scales(self, batch_size: int) -> tuple[float]:
        """See :meth:`KeypointAdapter.loss_scales`; of the discs, which are the first values."""
        return (1 / (self.cells[0] * self.cells[1]),)


@converts(OffsetAdapter, OffsetAdapter)
class DiscsToDiscs(SeparableConversion):
    """Interpolate the mentor's discs at the student's cells."""

    def convert(self, values: Values, x: Tensor, y: Tensor) -> Values:
        """See :class:`SeparableConversion`; the offsets are not taught."""
        return (y @ values[0] @ x.T,)
