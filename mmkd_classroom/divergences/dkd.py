"""Decoupled knowledge distillation: separate weights for the target class and the others."""

from typing import Any

from torch import Tensor

from ..errors import ClassroomError
from ..functional import decoupled_divergence
from ..heads import HeadAdapter
from ..registry import TASK_UTILS
from ..structures import ClassTargets, Prediction
from .base import Divergence, check_weights


@TASK_UTILS.register_module()
class DKD(Divergence):
    r"""Kullback-Leibler divergence in two parts with separate weights.

    .. math:: D = \tau^2 \big(\alpha\, \mathrm{TCKD} + \beta\, \mathrm{NCKD}\big)

    Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022. TCKD compares the probability of the
    target class, NCKD the distributions over the other classes; see
    :func:`mmkd_classroom.functional.decoupled_divergence`. For classes with hard labels.

    Args:
        alpha: :math:`\alpha`, weight of the target class.
        beta: :math:`\beta`, weight of the other classes. The authors use 8 on CIFAR-100 and 0.5 on
            ImageNet for most pairs.

    Raises:
        ClassroomError: A weight is negative.
    """

    kinds = frozenset({'classes'})

    def __init__(self, alpha: float = 1.0, beta: float = 8.0) -> None:
        check_weights(alpha=alpha, beta=beta)
        self.alpha = alpha
        self.beta = beta

    def check(self, student: HeadAdapter) -> None:
        """See :class:`Divergence`."""
        super().check(student)
        if student.soft_labels:
            raise ClassroomError(
                'model.divergence is DKD, which needs one true class a sample, but '
                'data_preprocessor mixes labels (to_onehot, or a batch augmentation such as '
                "Mixup): use 'mmkd_classroom.KLDivergence'."
            )

    def prepare(self, sample: Any) -> None:
        """See :class:`Divergence`."""
        if 'gt_score' in sample:
            raise ClassroomError(
                'model.divergence is DKD, which needs one true class a sample, but the training '
                "samples have soft labels (gt_score): use 'mmkd_classroom.KLDivergence'."
            )

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
        target_class, other_classes = decoupled_divergence(
            ours, theirs, targets.labels[:, None], temperature, student_temperature
        )
        return self.alpha * target_class + self.beta * other_classes
