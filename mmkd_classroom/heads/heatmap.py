"""Head adapter for heads with one heatmap per joint."""

from typing import Any

import torch
from torch import Tensor, nn

from ..functional import (
    at_least_float32,
    cells_to_pixels,
    gaussian_matrix,
    heatmap_peaks,
    log_gaussian,
    refine_quarter,
    refine_taylor,
    without_autocast,
)
from ..registry import TASK_UTILS
from .conversion import SeparableConversion, Values, converts
from .keypoints import KeypointAdapter

# Labels whose variances differ by less, in the mentor's cells, are taken for equally wide.
_LEAST_VARIANCE = 0.5
# Share of the diagonal. For deviations of 1 to 4 cells the error is at most 5.1% of a label's
# height, and 1.5% where the label is not cut off.
_RIDGE = 0.01


@TASK_UTILS.register_module()
class HeatmapAdapter(KeypointAdapter):
    """Heatmaps encoded by MSRA, DARK, or UDP with Gaussians.

    The heatmap of a joint is distilled as a distribution over its cells. Heads trained with MSE
    return values in [0, 1], whose softmax is nearly uniform, so the values are first multiplied by
    ``sharpness``. Divergences are divided by the number of cells, like the MSE losses of the heads,
    so that the same ``weight`` of the strategy works for every heatmap size. See
    ``docs/ablation.md`` for measurements.

    See :class:`KeypointAdapter` for arguments and errors.
    """

    takes = (
        "MMPose's TopdownPoseEstimator with MSRAHeatmap, or UDPHeatmap with heatmap_type='gaussian'"
    )
    codec_types = ('MSRAHeatmap', 'UDPHeatmap')
    cells_option = 'heatmap_size'

    def _layout(self, model: nn.Module) -> None:
        self.cells = tuple(int(size) for size in self.codec.heatmap_size)
        # Cell 0 lies on pixel 0; in UDP the last cell lies on the last pixel.
        self.spacing = tuple(float(factor) for factor in self.codec.scale_factor)
        self.summary = f'heatmap {self.cells[0]}x{self.cells[1]}'

    @property
    def sigma(self) -> float:
        """Standard deviation of the codec's Gaussians, in cells."""
        return float(self.codec.sigma)

    def split(self, output: Any) -> tuple[Tensor]:
        """Return ``(N, K, H, W)``; of the last stage if there are several (Hourglass, CPM)."""
        return (output[-1] if isinstance(output, (list, tuple)) else output,)

    def decode(self, values: tuple[Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`KeypointAdapter.decode`."""
        heatmaps = at_least_float32(values[0])
        flat = heatmaps.flatten(0, 1)
        cells = heatmap_peaks(flat)
        if self.is_udp or self.codec.unbiased:
            # Under autocast the error of half-precision matmuls is a sixth of a pixel.
            with without_autocast(flat):
                joints = refine_taylor(flat, cells, self.codec.blur_kernel_size)
        else:
            joints = refine_quarter(flat, cells)
        heights = flat.flatten(1).amax(dim=1)
        # The space of `transformed_keypoints`. UDP's own `decode` also multiplies by W / (W - 1),
        # up to a pixel, and its transformation to the image reverts this.
        joints = cells_to_pixels(joints, heights, self.spacing)
        shape = heatmaps.shape[:2]
        return joints.unflatten(0, shape), heights.unflatten(0, shape)

    @property
    def factor(self) -> float:
        """See :attr:`KeypointAdapter.factor`."""
        return self.sharpness / self.unit

    def encode(self, joints: Tensor) -> tuple[Tensor]:
        """See :meth:`KeypointAdapter.encode`."""
        x, y = (
            log_gaussian(centres, self.sigma, cells).exp()
            for centres, cells in zip(self.centres(joints), self.cells)
        )
        return (self.unit * y[..., :, None] * x[..., None, :],)

    def loss_scales(self, batch_size: int) -> tuple[float]:
        """See :meth:`KeypointAdapter.loss_scales`."""
        # The head's own squared error grows with the square of the heatmaps' height.
        return (self.unit**2 / (self.cells[0] * self.cells[1]),)


@converts(HeatmapAdapter, HeatmapAdapter)
class HeatmapToHeatmap(SeparableConversion):
    """Expected heatmap of the student's codec for a joint drawn from the mentor's distribution.

    A heatmap that was trained by MSE is the mean of the codec's Gaussians over the places where the
    joint may be. If the student's Gaussians are wider than the mentor's, each of these is turned
    into one of the student's by a linear map. Otherwise the heatmap is interpolated at the
    student's cells.
    """

    mentor: HeatmapAdapter
    student: HeatmapAdapter

    def matrices(self, positions: list[Tensor]) -> list[Tensor]:
        """A map of labels where the student's Gaussians are wider, else interpolation."""
        matrices = super().matrices(positions)
        for axis, p in enumerate(positions):
            wide = self.student.sigma * float(p[1] - p[0])
            if wide**2 - self.mentor.sigma**2 >= _LEAST_VARIANCE:
                matrices[axis] = _widened(p, self.mentor.cells[axis], self.mentor.sigma, wide)
                self.note = ' (widened)'
        return matrices

    def convert(self, values: Values, x: Tensor, y: Tensor) -> Values:
        """See :class:`SeparableConversion`."""
        maps = y @ values[0] @ x.T
        ratio = self.student.unit / self.mentor.unit
        return (maps if ratio == 1 else maps * ratio,)


def _widened(positions: Tensor, size: int, narrow: float, wide: float) -> Tensor:
    """Matrix ``(P, size)`` that turns the mentor's labels along an axis into the student's.

    It is fitted by ridge regression to labels of joints anywhere on the axis. In the interior it is
    a Gaussian blur; at the borders, where labels are cut off, a blur would lower and move them.

    Args:
        positions: Positions of the student's cells, ``(P,)``, in units of the mentor's cells.
        size: Number of the mentor's cells.
        narrow: Deviation of the mentor's Gaussians, in its cells.
        wide: Deviation of the student's, in the mentor's cells.
    """
    joints = torch.linspace(-0.5, size - 0.5, 4 * size + 1, dtype=positions.dtype)
    theirs = gaussian_matrix(torch.arange(size).to(positions), joints, narrow)
    ours = gaussian_matrix(positions, joints, wide)
    gram = theirs @ theirs.T
    gram = gram + _RIDGE * gram.diagonal().mean() * torch.eye(size).to(gram)
    return torch.linalg.solve(gram, theirs @ ours.T).T
