"""Kullback-Leibler divergence between standardised logits, independent of their scale."""

from torch import Tensor

from ..functional import kl_divergence, standardised
from ..registry import TASK_UTILS
from ..structures import ClassTargets, Prediction
from .base import Divergence


@TASK_UTILS.register_module()
class StandardisedKL(Divergence):
    r"""Kullback-Leibler divergence of logits that are standardised over the classes.

    .. math::
        D = \tau^2 D_\mathrm{KL}\big(\sigma(\mathcal{Z}(z_m) / \tau) \,\|\,
            \sigma(\mathcal{Z}(z_s) / \tau)\big),\quad
        \mathcal{Z}(z) = \frac{z - \bar z}{\mathrm{std}(z)}

    Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024. For classes. The
    authors use a temperature of 2 and weights of 9 and more.
    """

    kinds = frozenset({'classes'})

    def __call__(
        self,
        student: Prediction,
        mentor: Prediction,
        targets: ClassTargets,
        temperature: Tensor | float,
        student_temperature: Tensor | float | None = None,
    ) -> Tensor:
        """See :class:`Divergence`."""
        (ours,), (theirs,) = student.logits, mentor.logits
        return kl_divergence(
            standardised(ours), standardised(theirs), temperature, student_temperature
        )
