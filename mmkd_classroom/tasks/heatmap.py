"""Students that draw one heatmap per joint."""

from torch import Tensor

from ..errors import ClassroomError
from ..functional import at_least_float32
from ..rankers import Ranker
from ..registry import TASK_UTILS
from ..structures import Prediction
from .forms import HeatmapForm
from .pose import PoseTask


@TASK_UTILS.register_module()
class HeatmapTask(PoseTask):
    """Heads that return one heatmap per joint, coded by MSRA, UDP (Gaussian) or DARK.

    A joint's heatmap is distilled as a distribution over its cells. Heads trained by MSE give
    values in [0, 1], whose plain softmax is nearly flat, so they are multiplied by ``sharpness``
    first. The divergence is divided by the number of cells, as the heads' MSE losses are, so that
    one ``weight`` of the strategy serves every heatmap size. ``docs/benchmarks.md`` has
    measurements.

    Args:
        ranker: A ranker of joints.
        distance: ``'kl'`` over the cells of each joint, or ``'mse'`` between the heatmaps, which
            has no temperature.
        sharpness: See :class:`PoseTask`.
        metainfo: See :class:`PoseTask`.

    Raises:
        ClassroomError: Unknown ``distance``, or as :class:`PoseTask`.
    """

    form = HeatmapForm
    tau_max = 0.0  # measured, see docs/benchmarks.md

    def __init__(
        self,
        ranker: Ranker | None = None,
        distance: str = 'kl',
        sharpness: float = 50.0,
        metainfo: dict | str | None = None,
    ) -> None:
        super().__init__(ranker, sharpness, metainfo)
        if distance not in ('kl', 'mse'):
            raise ClassroomError(f"model.task.distance is {distance!r}: choose 'kl' or 'mse'.")
        self.distance = distance
        self.compares_distributions = distance == 'kl'

    def logits(self, prediction: Prediction) -> tuple[Tensor]:
        """One distribution over the ``H * W`` cells of each joint."""
        return (at_least_float32(prediction.values).flatten(-2) * self.sharpness,)

    def scale(self, logits: Tensor) -> float:
        """Per cell, as the heads' MSE."""
        return 1 / logits.shape[-1]

    def divergence(
        self,
        student: Prediction,
        mentor: Prediction,
        temperature: Tensor | float,
        student_temperature: Tensor | float | None = None,
    ) -> Tensor:
        """KL or squared distance of each joint, per cell, ``(N, K)``."""
        if self.distance == 'kl':
            return super().divergence(student, mentor, temperature, student_temperature)
        difference = at_least_float32(student.values) - at_least_float32(mentor.values)
        return difference.square().mean(dim=(-2, -1))
