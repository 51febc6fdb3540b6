"""Kullback-Leibler divergence between softened distributions."""

from torch import Tensor

from ..functional import kl_divergence
from ..registry import TASK_UTILS
from ..structures import Prediction, Targets
from .base import Divergence


@TASK_UTILS.register_module()
class KLDivergence(Divergence):
    r"""Kullback-Leibler divergence of softened distributions, summed over those of an item.

    .. math::
        D = \sum_{fields} s\, \tau^2\,
            D_\mathrm{KL}\big(\sigma(z_m / \tau) \,\|\, \sigma(z_s / \tau)\big)

    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015. A field is one distribution
    of an item: SimCC and heads that regress joints have two, other heads one. The scale s depends
    on the head and is 1 for classes; see :attr:`mmkd_classroom.structures.Prediction.scales`. For
    all heads.
    """

    def __call__(
        self,
        student: Prediction,
        mentor: Prediction,
        targets: Targets,
        temperature: Tensor | float,
        student_temperature: Tensor | float | None = None,
    ) -> Tensor:
        """See :class:`Divergence`."""
        return sum(
            scale * kl_divergence(ours, theirs, temperature, student_temperature)
            for scale, ours, theirs in zip(student.scales, student.logits, mentor.logits)
        )
