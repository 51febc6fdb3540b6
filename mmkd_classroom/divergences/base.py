"""The contract of a divergence: how far is the student from a mentor on each item?"""

from abc import ABC, abstractmethod

from torch import Tensor

from ..errors import ClassroomError
from ..heads import HeadAdapter
from ..structures import Prediction, Targets


class Divergence(ABC):
    """Compares two predictions, item by item. A strategy weighs the result.

    Attributes:
        kinds: Which items it can compare: ``'classes'``, ``'keypoints'``.
        of_distributions: Whether it compares distributions that are softened by a temperature, so
            that a strategy may mix those of several mentors.
    """

    kinds: frozenset[str] = frozenset({'classes', 'keypoints'})
    of_distributions: bool = True

    def check(self, student: HeadAdapter) -> None:
        """Check that it fits the student's head.

        Raises:
            ClassroomError: It does not.
        """
        if student.kind not in self.kinds:
            raise ClassroomError(
                f'model.divergence is {type(self).__name__}, which compares '
                f'{" and ".join(sorted(self.kinds))}, but the student predicts {student.kind}: '
                "use 'mmkd_classroom.KLDivergence'."
            )

    @abstractmethod
    def __call__(
        self,
        student: Prediction,
        mentor: Prediction,
        targets: Targets,
        temperature: Tensor | float,
        student_temperature: Tensor | float | None = None,
    ) -> Tensor:
        """The divergence of each item.

        Args:
            student: With gradient.
            mentor: Mostly without; AMTML's mixture of mentors has one.
            targets: Of the batch.
            temperature: Positive; one for all, or broadcastable to ``(N, K)``.
            student_temperature: The same for the student; by default the mentor's.

        Returns:
            ``(N, K)``, not negative.
        """
