"""A mentor's values in the form of the student's head: other heads, grids and inputs.

Cells of both lie at known pixels of the student's input, so each axis is converted by one matrix.
A conversion keeps where the joint is and how sure the mentor is of it.

Each pair of heads has a converter, which is registered by :func:`converts` in the file of the
younger one.
"""

from __future__ import annotations

import itertools
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
        kinds = _converted_kinds(mentor, student)
        positions = [_positions(mentor, student, letterbox, axis) for axis in (0, 1)]
        same_cells = mentor.cells == student.cells and all(
            torch.allclose(row, torch.arange(len(row)).to(row), atol=1e-6) for row in positions
        )
        same_kind = kinds[0] is kinds[1] and mentor.unit == student.unit
        self.is_identity = same_kind and same_cells
        self._function, matrices = _CONVERTERS[kinds](mentor, student, positions)
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


def _converted_kinds(mentor: KeypointAdapter, student: KeypointAdapter) -> tuple[type, type]:
    """The pair of types, or of their bases, that has a converter."""
    for pair in itertools.product(type(mentor).__mro__, type(student).__mro__):
        if pair in _CONVERTERS:
            return pair
    raise ClassroomError(
        f'{mentor.key} has a head of the kind {type(mentor).__name__}, and there is no conversion '
        f"to the student's {type(student).__name__}: choose a mentor with a head of the student's "
        'kind.'
    )


def _positions(
    mentor: KeypointAdapter, student: KeypointAdapter, letterbox: Letterbox, axis: int
) -> Tensor:
    """Where the student's cells lie along an axis, in cells of the mentor."""
    pixels = torch.arange(student.cells[axis], dtype=torch.float64) * student.spacing[axis]
    theirs = letterbox.scale[axis] * (pixels + student.origin[axis]) + letterbox.offset[axis]
    return (theirs - mentor.origin[axis]) / mentor.spacing[axis]


def interpolation_matrices(mentor: KeypointAdapter, positions: list[Tensor]) -> list[Tensor]:
    """Matrices that read a mentor's axes at the student's cells."""
    return [interpolation_matrix(p, size) for p, size in zip(positions, mentor.cells)]
