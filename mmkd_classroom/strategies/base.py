"""The contract of a strategy: who teaches what on each sample."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from ..structures import Lesson, Prediction
from ..tasks import Task


class Strategy(nn.Module, ABC):
    """One distillation algorithm. It never asks which task it serves.

    Attributes:
        weight: Factor of the distillation loss; a hook may schedule it.
        weighs_samples: Whether it needs the student's task losses per sample.
    """

    weight: float = 1.0
    weighs_samples: bool = False

    def check(self, task: Task) -> None:
        """Raise a :class:`ClassroomError` if an option makes no sense for the task."""

    @abstractmethod
    def forward(
        self,
        student: Prediction,
        mentors: list[Prediction],
        truth: Any,
        task: Task,
        losses: dict[str, Tensor],
    ) -> Lesson:
        """Losses and statistics of one batch.

        Args:
            student: The student's prediction, with gradient.
            mentors: M predictions.
            truth: ``task.truth`` of the batch.
            task: Scores and compares predictions.
            losses: The student's own losses; those with ``loss`` in their name are trained on.
                Scalars, or ``(N,)`` where ``weighs_samples``.

        Returns:
            The student's losses, weighted, with the distillation losses; and the statistics.
        """
