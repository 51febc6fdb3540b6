"""The running advantage: mentors that have been better than the student so far have more weight."""

from collections.abc import Sequence

import torch
from mmengine import dist
from torch import Tensor

from ..functional import advantage_weights
from ..registry import MODELS
from ..structures import Prediction, Scores, Targets
from .base import Members, require
from .weighted import WeightedKD


@MODELS.register_module()
class RunningAdvantage(WeightedKD):
    r"""Weight mentors by their running advantage over the student; see :class:`WeightedKD`.

    Of this project. The weights are V times those of
    :func:`mmkd_classroom.functional.advantage_weights` (V is the number of valid mentors), where
    :math:`Q` is the running mean of a member's score over the samples of all processes. All samples
    have the same weights, so the noise of single scores is averaged out. Where a mentor's output is
    not finite its score is 0, which lowers its mean for a while.

    What is kept is ``quality``, ``(M + 1,)``, of the student and the mentors; it is saved in
    checkpoints. In evaluation mode it does not change.

    Args:
        temperature: See :class:`WeightedKD`.
        weight: :math:`\lambda`, weight of the distillation loss.
        decay: Of the running mean, per step.

    Raises:
        ClassroomError: An option has an invalid value.
    """

    def __init__(
        self, temperature: float | None = None, weight: float = 1.0, decay: float = 0.98
    ) -> None:
        super().__init__(temperature, weight)
        require(0 <= decay < 1, 'decay', decay, 'must be at least 0 and less than 1')
        self.decay = decay

    def build(self, members: Members) -> None:
        """See :meth:`Strategy.build`."""
        super().build(members)
        # Not corrected for its start at 0: the weights do not depend on its scale.
        self.register_buffer('quality', torch.zeros(1 + len(members.mentors)))

    @torch.no_grad()
    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        if self.training:
            score = scores.sample.mean(dim=-1).to(self.quality)
            dist.all_reduce(score, op='mean')
            self.quality.lerp_(score, 1 - self.decay)
        valid = scores.valid[1:]
        return advantage_weights(self.quality[:, None, None], valid) * valid.sum(dim=0)
