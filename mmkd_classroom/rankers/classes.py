"""Rank classifiers by their probability of the true class."""

from collections.abc import Sequence

import torch

from ..functional import log_likelihood
from ..registry import TASK_UTILS
from ..structures import ClassTargets, Prediction, Scores
from .base import Ranker, mean_of_valid


@TASK_UTILS.register_module()
class TrueClassRanker(Ranker):
    """Probability of the true class, from the logits and the hard label.

    ClassroomKD (arXiv 2409.20237). Label smoothing in the training loss has no effect. For mixup
    and CutMix the score is ``exp(-CE)`` with the soft label. The score of a batch is
    ``exp(-mean CE)``, the geometric mean over its samples, as in the authors' code. A sample is
    correct if the largest logit belongs to the label, or to the largest value of a soft label.
    """

    kind = 'classes'

    @torch.no_grad()
    def forward(self, members: Sequence[Prediction], targets: ClassTargets) -> Scores:
        """See :class:`Ranker`."""
        labels = targets.labels
        logits = torch.stack([member.logits[0][:, 0] for member in members])  # (M + 1, N, C)
        likelihood = log_likelihood(logits, labels)  # (M + 1, N)
        valid = torch.stack([member.valid for member in members])  # (M + 1, N, 1)
        item = likelihood.exp()[..., None] * valid
        whole = valid[..., 0]
        return Scores(
            item=item,
            sample=item[..., 0],
            batch=mean_of_valid(likelihood, whole).exp() * whole.any(dim=-1),
            valid=valid,
            correct=logits.argmax(-1) == (labels.argmax(-1) if labels.ndim == 2 else labels),
            nll=-likelihood[..., None],
        )
