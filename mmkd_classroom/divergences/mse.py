"""Mean squared error between heatmaps."""

from torch import Tensor

from ..errors import ClassroomError
from ..functional import at_least_float32
from ..heads import HeadAdapter, HeatmapAdapter
from ..registry import TASK_UTILS
from ..structures import JointTargets, Prediction
from .base import Divergence


@TASK_UTILS.register_module()
class MSE(Divergence):
    """Mean squared error between the heatmaps of each joint. The temperature has no effect.

    For heads with heatmaps, and strategies that do not mix distributions.
    """

    kinds = frozenset({'keypoints'})
    of_distributions = False

    def check(self, student: HeadAdapter) -> None:
        """See :class:`Divergence`."""
        super().check(student)
        if not isinstance(student, HeatmapAdapter):
            raise ClassroomError(
                'model.divergence is MSE, which compares heatmaps, but the student predicts '
                f"{student.summary}: use 'mmkd_classroom.KLDivergence'."
            )

    def __call__(
        self,
        student: Prediction,
        mentor: Prediction,
        targets: JointTargets,
        temperature: Tensor | float,
        student_temperature: Tensor | float | None = None,
    ) -> Tensor:
        """See :class:`Divergence`."""
        difference = at_least_float32(student.values[0]) - at_least_float32(mentor.values[0])
        return difference.square().mean(dim=(-2, -1))
