"""Convert a mentor's values to the student's head, grid and input size.

The cells of both heads lie at known pixels of the student's input, so each axis is converted by one
matrix. A conversion keeps the position of the joint and the confidence of the mentor.

A pair of heads may have a converter. It is registered by :func:`converts` in the file of the head
that was added later. A student of any other pair is taught what its codec draws around the mentor's
decoded joints (:meth:`KeypointAdapter.draw`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from ..functional import at_least_float32, interpolation_matrix, without_autocast
from ..structures import Letterbox

if TYPE_CHECKING:
    from .keypoints import KeypointAdapter

Values = tuple[Tensor, ...]
#: Takes the mentor's values, at least float32, and the matrices of x and y; returns values in the
#: student's format.
Function = Callable[..., Values]
#: Takes the adapters of mentor and student and, for each axis, the positions of the student's cells
#: in units of the mentor's cells; returns the function and its matrices of x and y.
Converter = Callable[
    ['KeypointAdapter', 'KeypointAdapter', list[Tensor]], tuple[Function, list[Tensor]]
]
_Made = TypeVar('_Made', bound=Converter)

_CONVERTERS: dict[tuple[type, type], Converter] = {}


def converts(mentor: type, student: type) -> Callable[[_Made], _Made]:
    """Register a converter.

    Args:
        mentor: Type of the mentor's adapter.
        student: Type of the student's adapter.
    """

    def register(converter: _Made) -> _Made:
        _CONVERTERS[mentor, student] = converter
        return converter

    return register


class Conversion:
    """Convert a mentor's values to the format of the student's head.

    Args:
        mentor: Adapter of the mentor.
        student: Adapter of the student.
        letterbox: Position of the student's input in the mentor's.

    Attributes:
        is_identity: Whether both formats are the same, so that values are not changed.
        draws: Whether the heads have no converter, so that joints are drawn.
    """

    def __init__(
        self, mentor: KeypointAdapter, student: KeypointAdapter, letterbox: Letterbox
    ) -> None:
        kinds = _converted_kinds(mentor, student)
        self.draws = kinds is None
        self.is_identity = False
        self._parts = kinds, mentor, student, []
        self._function: Function | None = None
        self._x = self._y = torch.zeros(0)
        if kinds is None:
            return
        positions = [_positions(mentor, student, letterbox, axis) for axis in (0, 1)]
        same_cells = mentor.cells == student.cells and all(
            torch.allclose(row, torch.arange(len(row)).to(row), atol=1e-6) for row in positions
        )
        same_kind = kinds[0] is kinds[1] and mentor.unit == student.unit
        self.is_identity = same_kind and same_cells
        self._parts = kinds, mentor, student, positions
        self._function, matrices = _CONVERTERS[kinds](mentor, student, positions)
        self._x, self._y = (matrix.float() for matrix in matrices)

    def __getstate__(self) -> dict:
        # A converter's function is local to it, so it is not pickled but made again.
        return dict(vars(self), _function=None)

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        kinds, *members = self._parts
        if not self.draws:
            self._function, _ = _CONVERTERS[kinds](*members)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the matrices, as ``nn.Module._apply`` moves parameters."""
        # Keep float32: half precision would shift the positions of joints by rounding.
        device = function(self._x).device
        self._x, self._y = self._x.to(device), self._y.to(device)

    def __call__(self, values: Values, joints: Tensor | None = None) -> Values:
        """Convert a mentor's values.

        Args:
            values: ``(N, K, ...)`` each.
            joints: Decoded, ``(N, K, 2)`` in pixels of the student's input; needed to draw them.
        """
        if self.is_identity:
            return values
        if self.draws:
            return self._parts[2].draw(joints)
        values = tuple(at_least_float32(value) for value in values)
        x, y = (matrix.to(values[0].dtype) for matrix in (self._x, self._y))
        # A lower precision would shift the positions of joints by rounding.
        with without_autocast(x):
            return self._function(*values, x, y)


def _converted_kinds(mentor: KeypointAdapter, student: KeypointAdapter) -> tuple[type, type] | None:
    """Find the pair of types, or of their base classes, that has a converter."""
    pairs = itertools.product(type(mentor).__mro__, type(student).__mro__)
    return next((pair for pair in pairs if pair in _CONVERTERS), None)


def _positions(
    mentor: KeypointAdapter, student: KeypointAdapter, letterbox: Letterbox, axis: int
) -> Tensor:
    """Positions of the student's cells along an axis, in units of the mentor's cells."""
    pixels = torch.arange(student.cells[axis], dtype=torch.float64) * student.spacing[axis]
    theirs = letterbox.scale[axis] * (pixels + student.origin[axis]) + letterbox.offset[axis]
    return (theirs - mentor.origin[axis]) / mentor.spacing[axis]


def interpolation_matrices(mentor: KeypointAdapter, positions: list[Tensor]) -> list[Tensor]:
    """Matrices that interpolate a mentor's axes at the student's cells."""
    return [interpolation_matrix(p, size) for p, size in zip(positions, mentor.cells)]
