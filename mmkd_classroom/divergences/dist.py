"""DIST: correlation between the probabilities of student and mentor."""

from torch import Tensor

from ..functional import correlation_distances, softened
from ..registry import TASK_UTILS
from ..structures import ClassTargets, Prediction
from .base import Divergence, check_weights


@TASK_UTILS.register_module()
class DIST(Divergence):
    r"""Correlation over the classes of each sample, and over the samples of each class.

    .. math:: D_i = \tau^2 \big(\beta\, (1 - \rho(p_s^i, p_m^i)) + \gamma\,
        \frac1C \sum_c (1 - \rho(p_s^{\cdot c}, p_m^{\cdot c}))\big)

    Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, with Pearson's
    correlation :math:`\rho` of probabilities softened by :math:`\tau`. For classes. The second term
    is computed over the batch of a process and added to each sample, so the mean over a batch is
    the authors' loss. Samples on which the mentor is not valid are ignored.

    Args:
        beta: :math:`\beta`, weight of the relation between classes.
        gamma: :math:`\gamma`, weight of the relation between samples.

    Raises:
        ClassroomError: A weight is negative.
    """

    kinds = frozenset({'classes'})

    def __init__(self, beta: float = 1.0, gamma: float = 1.0) -> None:
        check_weights(beta=beta, gamma=gamma)
        self.beta = beta
        self.gamma = gamma

    def __call__(
        self,
        student: Prediction,
        mentor: Prediction,
        targets: ClassTargets,
        temperature: Tensor | float,
        student_temperature: Tensor | float | None = None,
    ) -> Tensor:
        """See :class:`Divergence`."""
        (ours,), (theirs,) = student.logits, mentor.logits  # (N, 1, C)
        by = temperature if student_temperature is None else student_temperature
        p, q = softened(theirs, temperature).softmax(-1), softened(ours, by).softmax(-1)
        classes, samples = correlation_distances(q[:, 0], p[:, 0], mentor.valid[:, 0])
        divergence = self.beta * classes + self.gamma * samples.mean()
        return temperature * by * divergence[:, None]
