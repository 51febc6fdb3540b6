"""A mentor's heatmaps or SimCC axes in the form of the student: other heads, grids and inputs.

Cells of both lie at known pixels of the student's input, so each axis is converted by one matrix.
What a conversion keeps is where the joint is and how sure the mentor is of it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..functional import (
    at_least_float32,
    gaussian_matrix,
    interpolation_matrix,
    triangle_matrix,
    without_autocast,
)
from ..structures import Geometry
from .forms import Form, HeatmapForm, SimCCForm


class Conversion:
    """Converts values from one form to another.

    Args:
        mentor: Form of the values that come.
        student: Form of those that are wanted.
        geometry: Where the student's pixels lie in the mentor's input.
        sharpness: Logits per unit of heatmap.

    Attributes:
        is_identity: Whether the two forms have the same cells at the same pixels.
    """

    def __init__(
        self, mentor: Form, student: Form, geometry: Geometry, sharpness: float = 50.0
    ) -> None:
        positions = [_positions(mentor, student, geometry, axis) for axis in (0, 1)]
        same_kind = type(mentor) is type(student)
        same_cells = mentor.cells == student.cells and all(
            torch.allclose(row, torch.arange(len(row)).to(row), atol=1e-6) for row in positions
        )
        self.is_identity = same_kind and same_cells and _beta(mentor) == _beta(student)
        builder = _BUILDERS[type(mentor), type(student)]
        self._function, matrices = builder(mentor, student, positions, sharpness)
        self._x, self._y = (matrix.float() for matrix in matrices)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the matrices as ``nn.Module._apply`` moves parameters."""
        # Not their type: in half precision the places of joints would be lost to rounding.
        device = function(self._x).device
        self._x, self._y = self._x.to(device), self._y.to(device)

    def __call__(self, values: Any) -> Any:
        """``(N, K, H, W)``, or ``(N, K, W_x)`` and ``(N, K, W_y)``."""
        if self.is_identity:
            return values
        tensors = [values] if isinstance(values, Tensor) else values
        tensors = [at_least_float32(tensor) for tensor in tensors]
        x, y = (matrix.to(tensors[0].dtype) for matrix in (self._x, self._y))
        # In a lower precision a position would be lost to rounding.
        with without_autocast(x):
            return self._function(*tensors, x, y)


def _positions(mentor: Form, student: Form, geometry: Geometry, axis: int) -> Tensor:
    """Where the student's cells lie along an axis, in cells of the mentor."""
    pixels = torch.arange(student.cells[axis], dtype=torch.float64) * student.spacing[axis]
    return (geometry.scale[axis] * pixels + geometry.offset[axis]) / mentor.spacing[axis]


def _beta(form: Form) -> float | None:
    return getattr(form, 'beta', None)


def _heatmap_to_heatmap(
    mentor: HeatmapForm, student: HeatmapForm, positions: list[Tensor], _: float
) -> tuple[Callable, list[Tensor]]:
    """The mentor's map, read at the student's cells."""

    def convert(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return y @ maps @ x.T

    return convert, [interpolation_matrix(p, size) for p, size in zip(positions, mentor.cells)]


def _heatmap_to_simcc(
    mentor: HeatmapForm, student: SimCCForm, positions: list[Tensor], sharpness: float
) -> tuple[Callable, list[Tensor]]:
    """Marginals of the map's distribution over its cells, read at the student's bins.

    They are read as logarithms: there a peak is as smooth as in the map.
    """

    def convert(maps: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = maps * sharpness
        row, column = logits.logsumexp(dim=-2) @ x.T, logits.logsumexp(dim=-1) @ y.T
        return _as_values(row, student), _as_values(column, student)

    return convert, [interpolation_matrix(p, size) for p, size in zip(positions, mentor.cells)]


def _simcc_to_heatmap(
    mentor: SimCCForm, student: HeatmapForm, positions: list[Tensor], _: float
) -> tuple[Callable, list[Tensor]]:
    """The map that the student's codec would draw, in expectation over the mentor's belief.

    The belief is the outer product of the two axes and the drawn Gaussian that of two Gaussians,
    so the expectation is the outer product of two vectors. An unsure mentor gives a low, wide map.
    """

    def convert(axis_x: Tensor, axis_y: Tensor, x: Tensor, y: Tensor) -> Tensor:
        row = (axis_x * mentor.beta).softmax(dim=-1) @ x.T
        column = (axis_y * mentor.beta).softmax(dim=-1) @ y.T
        return column[..., :, None] * row[..., None, :]

    matrices = []
    for p, size in zip(positions, mentor.cells):
        bins = torch.arange(size, dtype=p.dtype)
        matrices.append(gaussian_matrix(p, bins, student.sigma * float(p[1] - p[0])))
    return convert, matrices


def _simcc_to_simcc(
    mentor: SimCCForm, student: SimCCForm, positions: list[Tensor], _: float
) -> tuple[Callable, list[Tensor]]:
    """The mentor's distributions at the student's bins.

    Smooth ones are read as logarithms. The one-bin peak that label smoothing leaves would ring
    there, and be lost between two bins: it is spread over its neighbours as a probability.
    """
    smooth = mentor.codec.smoothing_type == 'gaussian'

    def resample(logits: Tensor, matrix: Tensor) -> Tensor:
        log_p = logits.log_softmax(dim=-1)
        if smooth:
            return _as_values(log_p @ matrix.T, student)
        p = log_p.exp() @ matrix.T
        return _as_values(p.clamp(min=torch.finfo(p.dtype).tiny).log(), student)

    def convert(axis_x: Tensor, axis_y: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return resample(axis_x * mentor.beta, x), resample(axis_y * mentor.beta, y)

    if smooth:
        return convert, [interpolation_matrix(p, n) for p, n in zip(positions, mentor.cells)]
    widths = [max(1.0, float(p[1] - p[0])) for p in positions]
    matrices = [triangle_matrix(p, n, w) for p, n, w in zip(positions, mentor.cells, widths)]
    return convert, matrices


def _as_values(logits: Tensor, student: SimCCForm) -> Tensor:
    """Values from 0 up: to MMPose an axis without a positive value has no joint."""
    return (logits - logits.amin(dim=-1, keepdim=True)) / student.beta


_BUILDERS = {
    (HeatmapForm, HeatmapForm): _heatmap_to_heatmap,
    (HeatmapForm, SimCCForm): _heatmap_to_simcc,
    (SimCCForm, HeatmapForm): _simcc_to_heatmap,
    (SimCCForm, SimCCForm): _simcc_to_simcc,
}
