"""ClassroomKD: rank the classroom on each sample, let only better mentors teach, at their pace."""

from typing import Any

import torch
from torch import Tensor

from ..errors import ClassroomError
from ..functional import active_mentors, dtkd_temperatures, gap, ranks, temperature
from ..registry import MODELS
from ..structures import Lesson, Prediction
from ..tasks import Task
from .base import Strategy

_CHOICES = {
    'granularity': ('sample', 'batch', 'keypoint'),
    'pace': ('gap', 'fixed', 'dtkd'),
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
    Strategies", arXiv 2409.20237. Mentor m is active (a = 1) where its rank r exceeds the
    student's; its temperature is ``1 + tau_max * gap``. Items of a sample (joints) are averaged
    over the labelled ones.

    Args:
        weight: :math:`\lambda`, the factor of the distillation loss.
        tau_max: Temperature added at the widest gap; by default the task's. The authors take 12 on
            CIFAR-100 and 4 on ImageNet; for poses 0 did better (``docs/benchmarks.md``).
        granularity: Score, filter and pace each ``'sample'``, the whole ``'batch'`` (as the
            authors' released code does), or, for poses, each ``'keypoint'``.
        filter: Knowledge filtering; off, every mentor is active.
        ties: Whether a mentor that ties with the student is active, as in the released code.
        pace: Temperature from the ``'gap'``, ``'fixed'``, or DTKD's (``'dtkd'``).
        temperature: The temperature of ``pace='fixed'`` and the reference of ``'dtkd'``.
        rank_weights: Weight mentors by rank; off, active mentors weigh 1.
        require_correct: A mentor must also be right to be active: ``argmax = y``, or a pose score
            of the ranker's ``correct_thr``.
        task_weight: :math:`w_s`: ``'one'``, or ``'score'``, the student's own score (for classes
            ``exp(-CE)``, as released), which is small at the start of training.

    Raises:
        ClassroomError: An option has a value it cannot have.
    """

    def __init__(
        self,
        weight: float = 1.0,
        tau_max: float | None = None,
        granularity: str = 'sample',
        filter: bool = True,
        ties: bool = False,
        pace: str = 'gap',
        temperature: float = 4.0,
        rank_weights: bool = True,
        require_correct: bool = False,
        task_weight: str = 'one',
    ) -> None:
        super().__init__()
        values = dict(granularity=granularity, pace=pace, task_weight=task_weight)
        for key, value in values.items():
            if value not in _CHOICES[key]:
                raise ClassroomError(
                    f'model.strategy.{key} is {value!r}: choose one of {_CHOICES[key]}.'
                )
        if tau_max is not None and not tau_max >= 0:
            raise ClassroomError(f'model.strategy.tau_max is {tau_max}: it must not be negative.')
        if not weight >= 0:
            raise ClassroomError(f'model.strategy.weight is {weight}: it must not be negative.')
        if not temperature > 0:
            raise ClassroomError(
                f'model.strategy.temperature is {temperature}: it must be positive.'
            )
        self.weight = weight
        self.tau_max = tau_max
        self.granularity = granularity
        self.filter = filter
        self.ties = ties
        self.pace = pace
        self.temperature = temperature
        self.rank_weights = rank_weights
        self.require_correct = require_correct
        self.task_weight = task_weight
        self.weighs_samples = task_weight == 'score' and granularity != 'batch'

    def check(self, task: Task) -> None:
        """Only poses have keypoints. ``tau_max`` is the task's where the config gives none."""
        self.tau_max = task.tau_max if self.tau_max is None else self.tau_max
        if self.granularity == 'keypoint' and task.kind != 'keypoints':
            raise ClassroomError(
                "model.strategy.granularity is 'keypoint', but model.task is a "
                f"{type(task).__name__}: choose 'sample' or 'batch'."
            )

    def forward(
        self,
        student: Prediction,
        mentors: list[Prediction],
        truth: Any,
        task: Task,
        losses: dict[str, Tensor],
    ) -> Lesson:
        """See :meth:`Strategy.forward`."""
        members = [student, *mentors]
        score = self._scores(members, truth, task)  # (M + 1, N or 1, K or 1)
        rank = ranks(score)
        active = self._active(rank, members, truth, task)  # (M, N, K)
        psi = gap(rank)
        share = rank[1:] if self.rank_weights else torch.ones_like(rank[1:])

        taught, paces = [], []
        for index, mentor in enumerate(mentors):
            tau, tau_student = self._temperatures(psi[index], student, mentor, task)
            divergence = task.divergence(student, mentor, tau, tau_student)  # (N, K)
            coefficient = active[index] * share[index] * truth.weights
            taught.append((coefficient * divergence).sum(dim=-1).mean())
            paces.append(tau)
        per_mentor = self.weight * torch.stack(taught)  # (M,)

        lesson = Lesson(self._weigh(losses, score[0], truth))
        lesson.losses['loss_mentors'] = per_mentor.sum()
        lesson.statistics = self._statistics(
            score, rank, active, paces, per_mentor, lesson.losses, mentors, truth
        )
        return lesson

    def _scores(self, members: list[Prediction], truth: Any, task: Task) -> Tensor:
        """Scores of what is ranked: ``(M + 1, N, K)``, ``(M + 1, N, 1)`` or ``(M + 1, 1, 1)``."""
        if self.granularity == 'batch':
            return task.batch_scores(members, truth)[:, None, None]
        if self.granularity == 'keypoint':
            return task.scores(members, truth)
        return task.sample_scores(members, truth)[..., None]

    def _active(self, rank: Tensor, members: list[Prediction], truth: Any, task: Task) -> Tensor:
        """Who teaches where: ``(M, N, K)`` booleans."""
        active = active_mentors(rank, self.ties) if self.filter else torch.ones_like(rank[1:]) > 0
        if self.require_correct:
            active = active & task.correct(members, truth)[1:, :, None]
        return active & task.valid(members, truth)[1:]

    def _temperatures(
        self, psi: Tensor, student: Prediction, mentor: Prediction, task: Task
    ) -> tuple[Tensor, Tensor | None]:
        """Temperatures of the mentor and, where it differs, the student."""
        if self.pace == 'dtkd':
            tau_student, tau_mentor = dtkd_temperatures(
                task.peak(student), task.peak(mentor), self.temperature
            )
            return tau_mentor, tau_student
        if self.pace == 'fixed':
            return torch.full_like(psi, self.temperature), None
        return temperature(psi, task.tau_max if self.tau_max is None else self.tau_max), None

    def _weigh(self, losses: dict[str, Tensor], score: Tensor, truth: Any) -> dict[str, Tensor]:
        """The student's own losses, times its score where ``task_weight='score'``."""
        if self.task_weight == 'one':
            return dict(losses)
        if self.granularity == 'batch':
            weight = score.squeeze()
        elif self.granularity == 'sample':
            weight = score[:, 0]
        else:
            weight = (score * truth.weights).sum(dim=-1)
        return {name: value * weight if 'loss' in name else value for name, value in losses.items()}

    @staticmethod
    @torch.no_grad()
    def _statistics(
        score: Tensor,
        rank: Tensor,
        active: Tensor,
        paces: list[Tensor],
        per_mentor: Tensor,
        losses: dict[str, Tensor],
        mentors: list[Prediction],
        truth: Any,
    ) -> dict[str, Tensor]:
        """Means over the labelled items of the batch; nothing is read from the device."""
        weights = truth.weights
        total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)

        def mean(values: Tensor) -> Tensor:  # (..., N or 1, K or 1) -> (...)
            return (values * weights).sum(dim=(-2, -1)) / total

        whole = sum(value.mean() for name, value in losses.items() if 'loss' in name)
        return dict(
            active=mean(active),
            score=mean(score[1:]),
            rank_share=mean(rank[1:]),
            temperature=torch.stack([mean(tau) for tau in paces]),
            share=per_mentor / torch.where(whole != 0, whole, torch.ones_like(whole)),
            invalid=torch.stack([(~mentor.valid.any(dim=-1)).sum() for mentor in mentors]),
            student_score=mean(score[0]),
        )
