"""A mentor's values in the form of the student's head: other heads, grids and inputs.

Cells of both lie at known pixels of the student's input, so each axis is converted by one matrix.
A conversion keeps where the joint is and how sure the mentor is of it.

Each pair of heads has a converter, which is registered by :func:`converts` in the file of the
younger one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from ..errors import ClassroomError
from ..functional import at_least_float32, interpolation_matrix, without_autocast
from ..structures import Letterbox

if TYPE_CHECKING:
    from .keypoints import KeypointAdapter

Values = tuple[Tensor, ...]
#: Takes the mentor's values, at least float32, and the matrices of x and y; returns the student's.
Function = Callable[..., Values]
#: Takes the adapters of mentor and student and, for each axis, where the student's cells lie in
#: cells of the mentor; returns the function and its matrices of x and y.
Converter = Callable[
    ['KeypointAdapter', 'KeypointAdapter', list[Tensor]], tuple[Function, list[Tensor]]
]
_Made = TypeVar('_Made', bound=Converter)

_CONVERTERS: dict[tuple[type, type], Converter] = {}


def converts(mentor: type, student: type) -> Callable[[_Made], _Made]:
    """Register a converter.

    Args:
        mentor: Type of the adapter whose values come.
        student: Type of the adapter whose values are wanted.
    """

    def register(converter: _Made) -> _Made:
        _CONVERTERS[mentor, student] = converter
        return converter

    return register


class Conversion:
    """Converts a mentor's values to the student's.

    Args:
        mentor: Adapter of the mentor.
        student: Adapter of the student.
        letterbox: Where the student's pixels lie in the mentor's input.

    Raises:
        ClassroomError: There is no converter for these heads.

    Attributes:
        is_identity: Whether the values are the same already.
    """

    def __init__(
        self, mentor: KeypointAdapter, student: KeypointAdapter, letterbox: Letterbox
    ) -> None:
        converter = _CONVERTERS.get((type(mentor), type(student)))
        if converter is None:
            raise ClassroomError(
                f'{mentor.key} has a head for {type(mentor).__name__}, which cannot teach a '
                f'student with one for {type(student).__name__}: there is no conversion. Choose '
                "a mentor with a head of the student's kind."
            )
        positions = [_positions(mentor, student, letterbox, axis) for axis in (0, 1)]
        same_cells = mentor.cells == student.cells and all(
            torch.allclose(row, torch.arange(len(row)).to(row), atol=1e-6) for row in positions
        )
        same_kind = type(mentor) is type(student) and mentor.unit == student.unit
        self.is_identity = same_kind and same_cells
        self._function, matrices = converter(mentor, student, positions)
        self._x, self._y = (matrix.float() for matrix in matrices)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the matrices as ``nn.Module._apply`` moves parameters."""
        # Not their type: in half precision the places of joints would be lost to rounding.
        device = function(self._x).device
        self._x, self._y = self._x.to(device), self._y.to(device)

    def __call__(self, values: Values) -> Values:
        """The student's values of a mentor's ``(N, K, ...)``."""
        if self.is_identity:
            return values
        values = tuple(at_least_float32(value) for value in values)
        x, y = (matrix.to(values[0].dtype) for matrix in (self._x, self._y))
        # In a lower precision a position would be lost to rounding.
        with without_autocast(x):
            return self._function(*values, x, y)


def _positions(
    mentor: KeypointAdapter, student: KeypointAdapter, letterbox: Letterbox, axis: int
) -> Tensor:
    """Where the student's cells lie along an axis, in cells of the mentor."""
    pixels = torch.arange(student.cells[axis], dtype=torch.float64) * student.spacing[axis]
    return (letterbox.scale[axis] * pixels + letterbox.offset[axis]) / mentor.spacing[axis]


def interpolation_matrices(mentor: KeypointAdapter, positions: list[Tensor]) -> list[Tensor]:
    """Matrices that read a mentor's axes at the student's cells."""
    return [interpolation_matrix(p, size) for p, size in zip(positions, mentor.cells)]
