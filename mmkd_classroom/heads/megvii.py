"""Head adapter for heads with heatmaps of height 255 at several levels (MSPN, RSN)."""

from typing import Any

import torch
from torch import Tensor, nn

from ..functional import (
    at_least_float32,
    cells_to_pixels,
    gaussian_blur,
    heatmap_peaks,
    towards_larger,
    without_autocast,
)
from ..registry import TASK_UTILS
from .heatmap import HeatmapAdapter

_HEIGHT = 255.0


@TASK_UTILS.register_module()
class MegviiAdapter(HeatmapAdapter):
    """Heatmaps encoded by ``MegviiHeatmap``, of the last stage and level.

    Li et al., "Rethinking on Multi-Stage Networks for Human Pose Estimation", arXiv 1901.00148. The
    codec rounds a joint down to a cell and blurs the heatmap before decoding, so the position of a
    cell is the pixel at its centre.

    See :class:`HeatmapAdapter` for arguments and errors.
    """

    takes = "MMPose's TopdownPoseEstimator with MegviiHeatmap"
    codec_types = ('MegviiHeatmap',)

    def _layout(self, model: nn.Module) -> None:
        super()._layout(model)
        self.origin = tuple(0.5 * pixels for pixels in self.spacing)
        self.unit = _HEIGHT

    @property
    def sigma(self) -> float:
        """Standard deviation of the codec's Gaussians, in cells, by OpenCV's rule."""
        return 0.3 * ((self.codec.kernel_size - 1) * 0.5 - 1) + 0.8

    def split(self, output: Any) -> tuple[Tensor]:
        """Return ``(N, K, H, W)``."""
        while isinstance(output, (list, tuple)):
            output = output[-1]
        return (output,)

    def decode(self, values: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`KeypointAdapter.decode`."""
        heatmaps = at_least_float32(values[0])
        flat = heatmaps.flatten(0, 1)
        # In bfloat16, values near 255 differ by 1: the blur must not be autocast.
        with without_autocast(flat):
            blurred = gaussian_blur(flat, self.codec.kernel_size)
        cells = heatmap_peaks(blurred)
        step = towards_larger(blurred, cells)
        x, y = cells.unbind(dim=-1)
        # Exactly MMPose's bounds.
        inside = (x > 1) & (x < self.cells[0] - 1) & (y > 1) & (y < self.cells[1] - 1)
        joints = cells + torch.where(inside[:, None], 0.25 * step + 0.5, 0.0)
        heights = flat.flatten(1).amax(dim=1)
        joints = cells_to_pixels(joints, heights, self.spacing)
        shape = heatmaps.shape[:2]
        return joints.unflatten(0, shape), (heights / _HEIGHT + 0.5).unflatten(0, shape)
