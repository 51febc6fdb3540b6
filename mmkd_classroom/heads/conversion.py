"""Convert a mentor's values to the student's head, grid and input size.

The cells of both heads lie at known pixels of the student's input. A conversion keeps the position
of the joint and the confidence of the mentor. It is a class, registered by :func:`converts` for a
pair of heads in the file of the head that was added later. A student of any other pair is taught
what its codec encodes from the mentor's decoded joints (:meth:`KeypointAdapter.encode`).
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from ..functional import at_least_float32, interpolation_matrix, without_autocast
from ..structures import Letterbox

if TYPE_CHECKING:
    from .keypoints import KeypointAdapter

Values = tuple[Tensor, ...]


class Conversion(ABC):
    """Convert a mentor's values to the format of the student's head.

    Attributes:
        is_identity: Whether both formats are the same, so that values are not changed.
        from_joints: Whether the heads have no conversion, so that the mentor's joints are encoded.
        note: What else than the cells is converted, for the table.
    """

    is_identity: bool = False
    from_joints: bool = False
    note: str = ''

    @abstractmethod
    def __call__(self, values: Values, joints: Tensor) -> Values:
        """Convert a mentor's values.

        Args:
            values: ``(N, K, ...)`` each.
            joints: The mentor's decoded joints, ``(N, K, 2)`` in pixels of the student's input.

        Returns:
            Values as for :meth:`KeypointAdapter.prediction` of the student.
        """

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:  # noqa: B027 (may do nothing)
        """Move tensors, as ``nn.Module._apply`` moves parameters."""


class SeparableConversion(Conversion):
    """Base class of conversions that multiply each axis by a matrix.

    Args:
        mentor: Adapter of the mentor.
        student: Adapter of the student.
        positions: For each axis, positions of the student's cells in units of the mentor's cells.
    """

    def __init__(
        self, mentor: KeypointAdapter, student: KeypointAdapter, positions: list[Tensor]
    ) -> None:
        self.mentor, self.student = mentor, student
        self._x, self._y = (matrix.float() for matrix in self.matrices(positions))

    def matrices(self, positions: list[Tensor]) -> list[Tensor]:
        """Matrices of x and y, (student's cells, mentor's cells). Default: interpolation."""
        return [interpolation_matrix(p, size) for p, size in zip(positions, self.mentor.cells)]

    @abstractmethod
    def convert(self, values: Values, x: Tensor, y: Tensor) -> Values:
        """Convert values, at least float32, by the matrices of x and y."""

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """See :class:`Conversion`."""
        # Keep float32: half precision would shift the positions of joints by rounding.
        device = function(self._x).device
        self._x, self._y = self._x.to(device), self._y.to(device)

    def __call__(self, values: Values, joints: Tensor) -> Values:
        """See :class:`Conversion`."""
        values = tuple(at_least_float32(value) for value in values)
        x, y = (matrix.to(values[0].dtype) for matrix in (self._x, self._y))
        # A lower precision would shift the positions of joints by rounding.
        with without_autocast(x):
            return self.convert(values, x, y)


class _Identity(Conversion):
    """Values of the same head on the same cells."""

    is_identity = True

    def __call__(self, values: Values, joints: Tensor) -> Values:
        return values


class _FromJoints(Conversion):
    """The mentor's joints, encoded by the student's codec."""

    from_joints = True

    def __init__(self, student: KeypointAdapter) -> None:
        self._student = student

    def __call__(self, values: Values, joints: Tensor) -> Values:
        return self._student.encode(joints)


_Registered = TypeVar('_Registered', bound=Callable[..., Conversion])
_CONVERSIONS: dict[tuple[type, type], Callable[..., Conversion]] = {}


def converts(mentor: type, student: type) -> Callable[[_Registered], _Registered]:
    """Register a conversion, whose arguments are those of :class:`SeparableConversion`.

    Args:
        mentor: Type of the mentor's adapter.
        student: Type of the student's adapter.
    """

    def register(conversion: _Registered) -> _Registered:
        _CONVERSIONS[mentor, student] = conversion
        return conversion

    return register


def build_conversion(
    mentor: KeypointAdapter, student: KeypointAdapter, letterbox: Letterbox
) -> Conversion:
    """Build the conversion between two heads.

    Args:
        mentor: Adapter of the mentor.
        student: Adapter of the student.
        letterbox: Position of the student's input in the mentor's.
    """
    # The adapters' own types, or base classes that have a conversion.
    pairs = itertools.product(type(mentor).__mro__, type(student).__mro__)
    pair = next((pair for pair in pairs if pair in _CONVERSIONS), None)
    if pair is None:
        return _FromJoints(student)
    positions = [_positions(mentor, student, letterbox, axis) for axis in (0, 1)]
    same_cells = mentor.cells == student.cells and all(
        torch.allclose(row, torch.arange(len(row)).to(row), atol=1e-6) for row in positions
    )
    conversion = _CONVERSIONS[pair](mentor, student, positions)
    same = pair[0] is pair[1] and mentor.unit == student.unit and same_cells
    return _Identity() if same and not conversion.note else conversion


def _positions(
    mentor: KeypointAdapter, student: KeypointAdapter, letterbox: Letterbox, axis: int
) -> Tensor:
    """Positions of the student's cells along an axis, in units of the mentor's cells."""
    pixels = torch.arange(student.cells[axis], dtype=torch.float64) * student.spacing[axis]
    theirs = letterbox.scale[axis] * (pixels + student.origin[axis]) + letterbox.offset[axis]
    return (theirs - mentor.origin[axis]) / mentor.spacing[axis]
