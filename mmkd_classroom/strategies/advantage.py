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
    :math:`A_m` is the running mean of the mentor's score minus the student's, over the samples of
    all processes. A mentor that does not predict some joints or classes is compared with the
    student on the others. All samples have the same weights, so the noise of single scores is
    averaged out.

    What is kept is ``sums``, ``(2, M)``: running means of the difference, and of what it is divided
    by. They are saved in checkpoints. In evaluation mode they do not change.

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
        # A ratio of two running means needs no correction for their start at 0.
        self.register_buffer('sums', torch.zeros(2, len(members.mentors)))

    @torch.no_grad()
    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        valid = scores.valid[1:]
        if self.training:
            compared = targets.weights * valid
            difference = (scores.item[1:] - scores.item[0]) * compared
            sums = torch.stack([difference, compared]).sum(dim=-1).mean(dim=-1).to(self.sums)
            dist.all_reduce(sums, op='mean')
            self.sums.lerp_(sums, 1 - self.decay)
        difference, compared = self.sums
        advantage = difference / torch.where(compared > 0, compared, 1.0)
        return advantage_weights(advantage[:, None, None], valid) * valid.sum(dim=0)
