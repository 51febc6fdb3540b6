"""The contract of a strategy: who teaches what on each sample."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import ClassroomError
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

    def stages(self, mentors: Sequence[str]) -> tuple[list[str], list[list[str]]]:
        """Which feature maps it reads; see :mod:`mmkd_classroom.features`.

        Args:
            mentors: Names of the M mentors.

        Returns:
            Stages of the student's backbone, and of each mentor's.
        """
        return [], [[] for _ in mentors]

    def adapt(self, student: dict[str, int], mentors: list[dict[str, int]]) -> None:
        """Build what learns along, now that the members are known; called once, at build.

        Args:
            student: Channels of the stages that :meth:`stages` asked for.
            mentors: The same of each of the M mentors.
        """

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


def require(holds: bool, option: str, value: Any, what: str) -> None:
    """Raise unless an option of ``model.strategy`` has a value that it can have.

    Args:
        holds: Whether it has.
        option: Its name.
        value: Its value.
        what: What it must be, such as ``'must be positive'``.
    """
    if not holds:
        raise ClassroomError(f'model.strategy.{option} is {value!r}: it {what}.')


def task_scale(student: Prediction, task: Task) -> float:
    """Factor of a loss that a task's divergences do not contain, such as one on features.

    A heatmap's own loss is far smaller than a cross-entropy. With this factor a weight means the
    same for every task.

    Args:
        student: The student's prediction.
        task: Its task.
    """
    scales = [task.scale(logits) for logits in task.logits(student)]
    return sum(scales) / len(scales)
