"""Base class of strategies, which weigh the mentors on each sample."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..divergences import Divergence
from ..errors import ClassroomError
from ..heads import HeadAdapter
from ..structures import DistillOutput, Prediction, Scores, Targets


@dataclass(frozen=True)
class Members:
    """What a strategy may know of the members when it is built.

    Attributes:
        adapter: Adapter of the student's head.
        mentors: Names of the M mentors.
        student_channels: Number of channels of the student's :meth:`Strategy.stages`, by name.
        mentor_channels: The same for each mentor.
    """

    adapter: HeadAdapter
    mentors: Sequence[str]
    student_channels: dict[str, int]
    mentor_channels: Sequence[dict[str, int]]


class Strategy(nn.Module, ABC):
    """A distillation algorithm. It uses scores and divergences and is independent of the head.

    Attributes:
        weight: Weight of the distillation loss; a hook may schedule it.
        needs_per_sample_loss: Whether it needs the student's own losses per sample.
    """

    weight: float = 1.0
    needs_per_sample_loss: bool = False

    def check(self, student: HeadAdapter, divergence: Divergence) -> None:
        """Check that the options work with the student's head and the divergence.

        Raises:
            ClassroomError: One of them does not.
        """

    def stages(self, mentors: Sequence[str]) -> tuple[list[str], list[list[str]]]:
        """Stages whose feature maps the strategy needs; see :mod:`mmkd_classroom.features`.

        Args:
            mentors: Names of the M mentors.

        Returns:
            Stages of the student's backbone, and a list of stages for each mentor's backbone.
        """
        return [], [[] for _ in mentors]

    def build(self, members: Members) -> None:
        """Set defaults and create layers that depend on the members. Called once."""

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
        """Compute the losses and statistics of one batch.

        Args:
            student: The student's prediction, with gradient.
            mentors: M predictions.
            scores: Scores of the student and the mentors.
            targets: Targets of the batch.
            divergence: Compares two predictions.
            losses: The student's own losses: scalars, or ``(N,)`` if ``needs_per_sample_loss``.
                Those with ``loss`` in their name are back-propagated.

        Returns:
            The weighted losses of the student with the distillation losses, and the statistics.
        """


def require(holds: bool, option: str, value: Any, what: str) -> None:
    """Raise a :class:`ClassroomError` if an option of ``model.strategy`` has an invalid value.

    Args:
        holds: Whether the value is valid.
        option: Name of the option.
        value: Its value.
        what: The requirement, such as ``'must be positive'``.
    """
    if isinstance(value, float) and not math.isfinite(value):
        holds, what = False, 'must be finite'
    if not holds:
        raise ClassroomError(f'model.strategy.{option} is {value!r}: it {what}.')


def check_temperature(divergence: Divergence, **options: float | None) -> None:
    """Raise a :class:`ClassroomError` if a temperature is given that the divergence ignores.

    Args:
        divergence: The divergence.
        options: Options of ``model.strategy`` that soften distributions; None if not given.
    """
    for option, value in options.items():
        require(
            divergence.of_distributions or not value,
            option,
            value,
            f'is not used by {type(divergence).__name__}, which has no temperature: leave it out',
        )
