"""The running advantage: each mentor is weighted by its recent lead over the student."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine import dist
from torch import Tensor, nn

from ..functional import advantage_weights, at_least_float32
from ..registry import MODELS
from ..structures import Prediction, Scores, Targets
from .base import Members, require
from .weighted import WeightedKD


@MODELS.register_module()
class RunningAdvantage(WeightedKD):
    r"""Weight mentors by their running advantage over the student; see :class:`WeightedKD`.

    A method of this project. The weights are those of
    :func:`mmkd_classroom.functional.advantage_weights`, which sum to 1. :math:`A_m` is the mentor's
    mean score minus the student's, over the samples of all processes and, by an exponential moving
    average, over the steps. A mentor that does not predict some joints or classes is compared with
    the student on the others. All samples have the same weights, so the noise of single scores is
    averaged out.

    .. math::
        A_m = \frac{\mathrm{EMA}(\sum_k w_k (s_{mk} - s_{0k}))}{\mathrm{EMA}(\sum_k w_k)}

    The sums are over the items that the mentor predicts, and means over the samples. The buffer
    ``averages``, ``(2, M)`` in float32, has the two moving averages. It is saved in checkpoints and
    changes in training mode only.

    Args:
        temperature: See :class:`WeightedKD`.
        weight: :math:`\lambda`, weight of the distillation loss.
        decay: Decay of the moving average, per step.

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
        # The ratio of two moving averages needs no correction for their start at 0.
        self.register_buffer('averages', torch.zeros(2, len(members.mentors)))

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> nn.Module:
        super()._apply(fn, *args, **kwargs)
        # In half precision their small steps would be lost to rounding.
        self.averages = at_least_float32(self.averages)
        return self

    @torch.no_grad()
    def mentor_weights(
        self, mentors: Sequence[Prediction], scores: Scores, targets: Targets
    ) -> Tensor:
        """See :meth:`WeightedKD.mentor_weights`."""
        valid = scores.valid[1:]
        if self.training:
            # A student that overflows once, as with AMP, must not stay in the average.
            known = valid & scores.item[0].isfinite()
            compared = targets.weights * known
            difference = torch.where(known, scores.item[1:] - scores.item[0], 0.0) * compared
            means = torch.stack([difference, compared]).sum(dim=-1).mean(dim=-1).to(self.averages)
            dist.all_reduce(means, op='mean')
            self.averages.lerp_(means, 1 - self.decay)
        difference, compared = self.averages
        advantage = difference / torch.where(compared > 0, compared, 1.0)
        return advantage_weights(advantage[:, None, None], valid)
