"""The contract of a strategy: who teaches how much on each sample."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..divergences import Divergence
from ..errors import ClassroomError
from ..heads import HeadAdapter
from ..structures import DistillOutput, Prediction, Scores, Targets


class Strategy(nn.Module, ABC):
    """One distillation algorithm. It sees scores and divergences, never the kind of head.

    Attributes:
        weight: Factor of the distillation loss; a hook may schedule it.
        needs_per_sample_loss: Whether it needs the student's own losses per sample.
    """

    weight: float = 1.0
    needs_per_sample_loss: bool = False

    def check(self, student: HeadAdapter, divergence: Divergence) -> None:
        """Check that the options make sense for the student's head and the divergence.

        Raises:
            ClassroomError: One does not.
        """

    def stages(self, mentors: Sequence[str]) -> tuple[list[str], list[list[str]]]:
        """Which feature maps it reads; see :mod:`mmkd_classroom.features`.

        Args:
            mentors: Names of the M mentors.

        Returns:
            Stages of the student's backbone, and of each mentor's.
        """
        return [], [[] for _ in mentors]

    def build(
        self,
        student: HeadAdapter,
        mentors: Sequence[str],
        student_channels: dict[str, int],
        mentor_channels: Sequence[dict[str, int]],
    ) -> None:
        """Take what follows from the members: defaults, and layers that learn. Called once.

        Args:
            student: Adapter of the student's head.
            mentors: Names of the M mentors.
            student_channels: Channels of the stages that :meth:`stages` asked for.
            mentor_channels: The same of each mentor.
        """

    @abstractmethod
    def forward(
        self,
        student: Prediction,
        mentors: Sequence[Prediction],
        scores: Scores,
        targets: Targets,
        divergence: Divergence,
        losses: dict[str, Tensor],
    ) -> DistillOutput:
        """Losses and statistics of one batch.

        Args:
            student: The student's prediction, with gradient.
            mentors: M predictions.
            scores: Of the student and the mentors.
            targets: Of the batch.
            divergence: Compares two predictions.
            losses: The student's own losses. Those with ``loss`` in their name are trained on. They
                are scalars, or ``(N,)`` where ``needs_per_sample_loss``.

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
