"""Ranking classifiers by the probability they give to the true class."""

from torch import Tensor

from ..functional import log_likelihood
from ..registry import TASK_UTILS
from ..structures import ClassTruth
from .base import Ranker, mean_of_valid


@TASK_UTILS.register_module()
class TrueClassRanker(Ranker):
    """Probability of the true class, from the logits and the hard label.

    ClassroomKD (arXiv 2409.20237). Label smoothing in the training loss does not enter; for
    mixup and CutMix the score is ``exp(-CE)`` against the soft label.
    """

    kind = 'classes'

    def score(self, prediction: Tensor, truth: ClassTruth) -> Tensor:
        """``(..., N, 1)`` probabilities from ``(..., N, C)`` logits."""
        return log_likelihood(prediction, truth.labels).exp().unsqueeze(-1)

    def surprise(self, prediction: Tensor, truth: ClassTruth) -> Tensor:
        """``(..., N, 1)`` cross-entropies, which do not underflow as their scores do."""
        return -log_likelihood(prediction, truth.labels).unsqueeze(-1)

    def correct(self, prediction: Tensor, truth: ClassTruth) -> Tensor:
        """``(..., N)``: the largest logit is the (heaviest) label's."""
        labels = truth.labels
        return prediction.argmax(-1) == (labels.argmax(-1) if labels.ndim == 2 else labels)

    def batch_score(self, prediction: Tensor, truth: ClassTruth, valid: Tensor) -> Tensor:
        """``(...)``: ``exp(-mean CE)``, the geometric mean, as the authors score a batch."""
        mean = mean_of_valid(log_likelihood(prediction, truth.labels), valid)
        return mean.exp() * valid.any(-1)
