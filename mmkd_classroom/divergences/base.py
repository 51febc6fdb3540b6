"""Base class of divergences between the student and a mentor, per item."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from ..errors import ClassroomError
from ..heads import HeadAdapter
from ..structures import Prediction, Targets


class Divergence(ABC):
    """Compare two predictions item by item. A strategy weighs the result.

    Attributes:
        kinds: Kinds of items that it can compare: ``'classes'``, ``'keypoints'``.
        of_distributions: Whether it compares distributions softened by a temperature. Strategies
            that mix the mentors' distributions need it.
    """

    kinds: frozenset[str] = frozenset({'classes', 'keypoints'})
    of_distributions: bool = True

    def check(self, student: HeadAdapter) -> None:
        """Check that the divergence works with the student's head.

        Raises:
            ClassroomError: It does not.
        """
        if student.kind not in self.kinds:
            raise ClassroomError(
                f'model.divergence is {type(self).__name__}, which compares '
                f'{" and ".join(sorted(self.kinds))}, but the student predicts {student.kind}: '
                "use 'mmkd_classroom.KLDivergence'."
            )

    def prepare(self, sample: Any) -> None:  # noqa: B027 (may do nothing)
        """Check a training sample. Called once, before training.

        Args:
            sample: A training sample.

        Raises:
            ClassroomError: The divergence needs targets that the samples do not have.
        """

    @abstractmethod
    def __call__(
        self,
        student: Prediction,
        mentor: Prediction,
        targets: Targets,
        temperature: Tensor | float,
        student_temperature: Tensor | float | None = None,
    ) -> Tensor:
        """Compute the divergence of each item.

        Args:
            student: Prediction of the student, with gradient.
            mentor: Prediction of a mentor, without gradient, or AMTML's mixture of mentors, with
                gradient.
            targets: Targets of the batch.
            temperature: Positive number, or a tensor broadcastable to ``(N, K)``.
            student_temperature: Temperature of the student. Default: ``temperature``.

        Returns:
            ``(N, K)``, not negative.
        """


def check_weights(**weights: float) -> None:
    """Raise a :class:`ClassroomError` unless all weights of a divergence are 0 or greater."""
    for option, value in weights.items():
        if not value >= 0:
            raise ClassroomError(f'model.divergence.{option} is {value}: it must not be negative.')
