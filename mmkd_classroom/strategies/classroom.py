"""ClassroomKD: on each sample, only mentors that rank above the student teach it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..divergences import Divergence
from ..errors import ClassroomError
from ..functional import (
    active_mentors,
    dtkd_temperatures,
    gap,
    ranks,
    temperature,
)
from ..heads import HeadAdapter
from ..registry import MODELS
from ..structures import DistillOutput, Prediction, Scores, Targets
from .base import Members, Strategy, check_temperature, require
from .statistics import labelled_mean, member_statistics, share_of

_CHOICES = {
    'granularity': ('sample', 'batch', 'keypoint'),
    'temperature_mode': ('gap', 'fixed', 'dtkd'),
    'mentor_weights': ('rank', 'one'),
    'task_weight': ('one', 'score'),
}


@MODELS.register_module()
class ClassroomKD(Strategy):
    r"""Knowledge filtering and mentoring.

    .. math::
        L = \frac1N\sum_i w_s^i L_{task}^i
          + \lambda \sum_m \frac1N\sum_i a_m^i\, r_m^i\, \tau_m^{i\,2}\,
            D_\mathrm{KL}\big(\sigma(z_m^i/\tau_m^i) \,\|\, \sigma(z_s^i/\tau_m^i)\big)

    Sarode et al., "Classroom-Inspired Multi-Mentor Distillation with Adaptive Learning
    Strategies", arXiv 2409.20237. Mentor m is active (a = 1) if its rank r is greater than the
    student's; its temperature is ``1 + tau_max * gap``. For poses, the items of a sample are its
    joints, and the mean over the labelled ones is used.

    Args:
        weight: :math:`\lambda`, weight of the distillation loss.
        tau_max: Temperature added at the largest gap. Default: the value of the student's head
            adapter. The authors use 12 on CIFAR-100 and 4 on ImageNet; for poses, 0 was better
            (``docs/ablation.md``).
        granularity: Unit of ranking: each ``'sample'``, the ``'batch'`` of one process (as in the
            authors' released code, which has one), or, for poses, each ``'keypoint'``.
        filter: Whether to use Knowledge Filtering. If False, all mentors are active.
        ties: Whether a mentor with the same rank as the student is active, as in the released code.
        temperature_mode: ``'gap'`` as above, ``'fixed'``, or ``'dtkd'`` for DTKD's temperatures.
        temperature: Temperature for ``'fixed'``, and reference temperature for ``'dtkd'``. Default:
            the value of the student's head adapter.
        mentor_weights: Weights of the active mentors: their ``'rank'`` r, or ``'one'``.
        require_correct: Whether a mentor must also be correct to be active: ``argmax = y``, or for
            poses a score of at least the ranker's ``correct_thr``.
        task_weight: :math:`w_s`: ``'one'``, or ``'score'``, the student's own score (for classes
            ``exp(-CE)``, as in the released code), which is small at the start of training.

    Raises:
        ClassroomError: An option has an invalid value, or another option makes it useless.
    """

    def __init__(
        self,
        weight: float = 1.0,
        tau_max: float | None = None,
        granularity: str = 'sample',
        filter: bool = True,
        ties: bool = False,
        temperature_mode: str = 'gap',
        temperature: float | None = None,
        mentor_weights: str = 'rank',
        require_correct: bool = False,
        task_weight: str = 'one',
    ) -> None:
        super().__init__()
        choices = dict(
            granularity=granularity,
            temperature_mode=temperature_mode,
            mentor_weights=mentor_weights,
            task_weight=task_weight,
        )
        for key, value in choices.items():
            require(value in _CHOICES[key], key, value, f'must be one of {_CHOICES[key]}')
        require(tau_max is None or tau_max >= 0, 'tau_max', tau_max, 'must not be negative')
        require(weight >= 0, 'weight', weight, 'must not be negative')
        require(
            temperature is None or temperature > 0, 'temperature', temperature, 'must be positive'
        )
        useless = f'is not used with temperature_mode={temperature_mode!r}: leave it out'
        option = 'temperature' if temperature_mode == 'gap' else 'tau_max'
        value = temperature if temperature_mode == 'gap' else tau_max
        require(value is None, option, value, useless)
        require(filter or not ties, 'ties', ties, 'is not used with filter=False: leave it out')
        self.weight = weight
        self.tau_max = tau_max
        self.granularity = granularity
        self.filter = filter
        self.ties = ties
        self.temperature_mode = temperature_mode
        self.temperature = temperature
        self.mentor_weights = mentor_weights
        self.require_correct = require_correct
        self.task_weight = task_weight
        self.needs_per_sample_loss = task_weight == 'score' and granularity != 'batch'

    def check(self, student: HeadAdapter, divergence: Divergence) -> None:
        """Check that the options fit the student's head and the divergence."""
        check_temperature(divergence, tau_max=self.tau_max, temperature=self.temperature)
        if self.granularity == 'keypoint' and student.kind != 'keypoints':
            raise ClassroomError(
                f"model.strategy.granularity is 'keypoint', but the student predicts "
                f"{student.kind}: choose 'sample' or 'batch'."
            )
        if self.temperature_mode == 'dtkd' and not student.has_peaks:
            raise ClassroomError(
                "model.strategy.temperature_mode is 'dtkd', which balances how sure two members "
                f"are, but the student predicts {student.summary}: choose 'gap' or 'fixed'."
            )

    def build(self, members: Members) -> None:
        """See :meth:`Strategy.build`."""
        if self.temperature_mode == 'gap' and self.tau_max is None:
            self.tau_max = members.adapter.tau_max
        if self.temperature_mode != 'gap' and self.temperature is None:
            self.temperature = members.adapter.temperature

    def forward(
        self,
        student: Prediction,
        mentors: Sequence[Prediction],
        scores: Scores,
        targets: Targets,
        divergence: Divergence,
        losses: dict[str, Tensor],
    ) -> DistillOutput:
        """See :meth:`Strategy.forward`."""
        score = self._ranked(scores)  # (M + 1, N or 1, K or 1)
        rank = ranks(score)
        active = self._active(rank, scores)  # (M, N, K)
        psi = gap(rank)
        weights = active * (rank[1:] if self.mentor_weights == 'rank' else 1.0)

        taught, temperatures = [], []
        for index, mentor in enumerate(mentors):
            tau, tau_student = self._temperatures(psi[index], student, mentor)
            distance = divergence(student, mentor, targets, tau, tau_student)  # (N, K)
            coefficient = weights[index] * targets.weights
            taught.append((coefficient * distance).sum(dim=-1).mean())
            temperatures.append(tau)
        per_mentor = self.weight * torch.stack(taught)  # (M,)

        losses = self._weigh(losses, score[0], targets)
        losses['loss_mentors'] = per_mentor.sum()
        statistics = dict(
            active=labelled_mean(active, targets),
            rank_share=labelled_mean(rank[1:], targets),
            temperature=torch.stack([labelled_mean(tau, targets) for tau in temperatures]),
            share=share_of(per_mentor, losses),
            **member_statistics(scores, targets),
        )
        if self.granularity == 'batch':  # by which they are ranked
            statistics.update(score=scores.batch[1:], student_score=scores.batch[0])
        return DistillOutput(losses, statistics, weights)

    def _ranked(self, scores: Scores) -> Tensor:
        """Scores to rank: ``(M + 1, N, K)``, ``(M + 1, N, 1)`` or ``(M + 1, 1, 1)``."""
        if self.granularity == 'batch':
            return scores.batch[:, None, None]
        if self.granularity == 'keypoint':
            return scores.item
        return scores.sample[..., None]

    def _active(self, rank: Tensor, scores: Scores) -> Tensor:
        """Whether each mentor is active on each item: ``(M, N, K)`` booleans."""
        active = (
            active_mentors(rank, self.ties)
            if self.filter
            else torch.ones_like(rank[1:], dtype=torch.bool)
        )
        if self.require_correct:
            active = active & scores.correct[1:, :, None]
        return active & scores.valid[1:]

    def _temperatures(
        self, psi: Tensor, student: Prediction, mentor: Prediction
    ) -> tuple[Tensor, Tensor | None]:
        """Temperature of the mentor and, if it differs, of the student."""
        if self.temperature_mode == 'dtkd':
            tau_student, tau_mentor = dtkd_temperatures(
                student.peaks, mentor.peaks, self.temperature
            )
            return tau_mentor, tau_student
        if self.temperature_mode == 'fixed':
            return torch.full_like(psi, self.temperature), None
        return temperature(psi, self.tau_max), None

    def _weigh(
        self, losses: dict[str, Tensor], score: Tensor, targets: Targets
    ) -> dict[str, Tensor]:
        """Multiply the student's own losses by its score if ``task_weight='score'``."""
        if self.task_weight == 'one':
            return dict(losses)
        if self.granularity == 'batch':
            weight = score.squeeze()
        elif self.granularity == 'sample':
            weight = score[:, 0]
        else:
            weight = (score * targets.weights).sum(dim=-1)
        return {name: value * weight if 'loss' in name else value for name, value in losses.items()}
