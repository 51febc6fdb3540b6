"""AMTML-KD: learned weights of the mentors, relations between samples, and hints from stages."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..distributed import all_gather_with_grad
from ..divergences import Divergence
from ..errors import ClassroomError
from ..features import OUTPUT
from ..functional import (
    at_least_float32,
    hint_distance,
    latent_weights,
    relation_angle_loss,
    relation_distance_loss,
)
from ..heads import HeadAdapter
from ..registry import MODELS
from ..structures import DistillOutput, Prediction, Scores, Targets
from .base import Members, Strategy, require
from .statistics import labelled_mean, member_statistics, share_of

_REDUCTIONS = ('batchmean', 'mean')
_OUTPUTS = ('log_probabilities', 'logits')


@MODELS.register_module()
class AMTML(Strategy):
    r"""Adaptive multi-teacher multi-level distillation.

    .. math::
        L = (1 - \rho) L_{task} + \lambda \Big( 2 T^2 \rho\, \frac1N\sum_i
            D_\mathrm{KL}\big(p^i \,\|\, \sigma(z_s^i / T)\big)
            + s \big(\gamma_a L_{angle} + \gamma_d L_{distance}
            + \gamma_h \sum_g L_{hint}^g\big) \Big)
            + \eta \Big(\|w\|^2 + \sum_t \|\theta_t\|^2\Big)

    Liu, Zhang, Wang, "Adaptive Multi-Teacher Multi-level Knowledge Distillation", Neurocomputing
    415 (2020) 106-113. The target :math:`p = \sum_t \mu_t\, \sigma(z_t / T)` is a mixture of the
    mentors. Its weights :math:`\mu` depend on the student's max-pooled feature map of each sample
    and are learned; see :func:`mmkd_classroom.functional.latent_weights`. The angle and distance
    losses are those of relational distillation between the student's outputs and p, over the
    samples of the batch of all processes. The hint loss of group g compares a stage of the student,
    after a 1x1 convolution, with a stage of the group's mentor. The factor s is the student's
    :attr:`scale <mmkd_classroom.structures.Prediction.scale>`, 1 for classes. :math:`D_\mathrm{KL}`
    is the classroom's divergence from the mixture.

    A mentor is left out on items that are not valid: its output is not finite, or it does not
    predict the joint.
    Unlabelled joints are ignored. The latents :math:`w, \theta` and the convolutions of the hints
    are trained with the student.

    Args:
        weight: :math:`\lambda`, weight of all losses from the mentors.
        temperature: :math:`T`, of student and mentors. Default: 5 for classes, as published; for
            joints the value of the student's head adapter.
        balance: :math:`\rho` in [0, 1]; 0 is the task loss only, 1 the mixed target only.
        angle_weight: :math:`\gamma_a`, weight of the angles between samples.
        distance_weight: :math:`\gamma_d`, weight of the distances between samples.
        hint_weight: :math:`\gamma_h`, weight of the hints.
        hints: Groups ``dict(student=STAGE, mentor=NAME or index, stage=STAGE)``; none by default.
            See :mod:`mmkd_classroom.features` for stages.
        stage: Stage of the student whose max-pooled feature map determines the weights.
        relations_of: Outputs of the student in the relation losses: ``'log_probabilities'`` at
            temperature T, or ``'logits'``.
        kl_reduction: ``'batchmean'`` as in the formula, or ``'mean'``, which also divides by the
            number of classes (cells), as in the authors' code.
        decay: :math:`\eta`, weight of the size of the latents.

    Raises:
        ClassroomError: An option has an invalid value.
    """

    def __init__(
        self,
        weight: float = 1.0,
        temperature: float | None = None,
        balance: float = 0.7,
        angle_weight: float = 1.0,
        distance_weight: float = 1.0,
        hint_weight: float = 1.0,
        hints: Sequence[dict[str, Any]] = (),
        stage: str = OUTPUT,
        relations_of: str = 'log_probabilities',
        kl_reduction: str = 'batchmean',
        decay: float = 0.1,
    ) -> None:
        super().__init__()
        factors = dict(
            weight=weight,
            angle_weight=angle_weight,
            distance_weight=distance_weight,
            hint_weight=hint_weight,
            decay=decay,
        )
        for option, value in factors.items():
            require(value >= 0, option, value, 'must not be negative')
        valid = temperature is None or temperature > 0
        require(valid, 'temperature', temperature, 'must be positive')
        require(0 <= balance <= 1, 'balance', balance, 'must lie in [0, 1]')
        require(
            kl_reduction in _REDUCTIONS, 'kl_reduction', kl_reduction, f'is one of {_REDUCTIONS}'
        )
        require(relations_of in _OUTPUTS, 'relations_of', relations_of, f'is one of {_OUTPUTS}')
        for index, hint in enumerate(hints):
            require(
                isinstance(hint, dict) and set(hint) == {'student', 'mentor', 'stage'},
                f'hints[{index}]',
                hint,
                'is dict(student=STAGE, mentor=NAME or index, stage=STAGE)',
            )
        self.weight = weight
        self.temperature = temperature
        self.balance = balance
        self.angle_weight = angle_weight
        self.distance_weight = distance_weight
        self.hint_weight = hint_weight
        self.stage = stage
        self.relations_of = relations_of
        self.kl_reduction = kl_reduction
        self.decay = decay
        self.hint_options = list(hints)
        self.groups: list[tuple[str, int, str]] = []
        self.hints = nn.ModuleList()
        self.shared: nn.Parameter | None = None
        self.latents: nn.Parameter | None = None

    def check(self, student: HeadAdapter, divergence: Divergence) -> None:
        """Check that the divergence compares distributions, because the target is a mixture."""
        if not divergence.of_distributions:
            raise ClassroomError(
                "model.strategy AMTML mixes the mentors' distributions, but model.divergence = "
                f"{type(divergence).__name__} compares none: take 'mmkd_classroom.KLDivergence', "
                'or another strategy.'
            )

    def stages(self, mentors: Sequence[str]) -> tuple[list[str], list[list[str]]]:
        """See :meth:`Strategy.stages`."""
        groups = self._groups(mentors)
        wanted = [[s for _, m, s in groups if m == index] for index in range(len(mentors))]
        ours = [self.stage, *(ours for ours, *_ in groups)]
        return list(dict.fromkeys(ours)), [list(dict.fromkeys(stages)) for stages in wanted]

    def _groups(self, mentors: Sequence[str]) -> list[tuple[str, int, str]]:
        """Hints as tuples: stage of the student, index of the mentor, stage of the mentor."""
        return [
            (
                hint['student'],
                _mentor_index(hint['mentor'], mentors, f'hints[{group}].mentor'),
                hint['stage'],
            )
            for group, hint in enumerate(self.hint_options)
        ]

    def build(self, members: Members) -> None:
        """See :meth:`Strategy.build`."""
        if self.temperature is None:
            student = members.adapter
            self.temperature = 5.0 if student.kind == 'classes' else student.temperature
        self.groups = self._groups(members.mentors)
        channels = members.student_channels[self.stage]
        # Norms near 1: the decay starts near 1 and the mentors' weights are similar. With zeros
        # neither factor would have a gradient.
        self.shared = nn.Parameter(torch.randn(channels) / channels**0.5)
        self.latents = nn.Parameter(torch.randn(len(members.mentors), channels) / channels**0.5)
        self.hints.extend(
            nn.Conv2d(
                members.student_channels[ours],
                members.mentor_channels[mentor][theirs],
                kernel_size=1,
                bias=False,
            )
            for ours, mentor, theirs in self.groups
        )

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
        valid = scores.valid[1:]  # (M, N, K)
        beta = at_least_float32(student.features[self.stage]).amax(dim=(2, 3))  # (N, C)
        weights = latent_weights(beta, self.latents, self.shared, valid)  # (M, N, K)
        mixed = _mixture(weights, mentors, self.temperature)
        taught = valid.any(dim=0)  # (N, K)

        own = 1 - self.balance
        losses = {name: own * value if 'loss' in name else value for name, value in losses.items()}
        target = Prediction(
            tuple(p.log() * self.temperature for p in mixed), 1.0, student.scales, taught
        )
        coefficient = 2 * self.balance * targets.weights * taught
        if self.kl_reduction == 'mean':
            coefficient = coefficient * len(mixed) / sum(field.shape[-1] for field in mixed)
        kl = coefficient * divergence(student, target, targets, self.temperature)  # (N, K)
        labelled = taught & (targets.weights > 0)
        of_mixture = dict(
            loss_mentors=self.weight * kl.sum(dim=-1).mean(),
            **self._relation_losses(student, mixed, labelled),
        )
        losses.update(of_mixture)
        weight = labelled_mean(weights.detach(), targets)
        per_mentor = weight * sum(of_mixture.values())
        if self.groups:
            factor = self.weight * self.hint_weight * student.scale
            hints = factor * self._hint_losses(student, mentors)
            losses['loss_hints'] = hints.sum()
            per_mentor = per_mentor + hints
        size = self.shared.square().sum() + self.latents.square().sum()
        losses['loss_latents'] = self.decay * size
        statistics = member_statistics(scores, targets)
        statistics.update(weight=weight, share=share_of(per_mentor, losses))
        return DistillOutput(losses, statistics, weights.detach())

    def _relation_losses(
        self, student: Prediction, mixed: tuple[Tensor, ...], labelled: Tensor
    ) -> dict[str, Tensor]:
        """Angle and distance losses; the distributions of an item are concatenated."""
        if not (self.angle_weight or self.distance_weight):
            return {}
        outputs = student.logits
        if self.relations_of == 'log_probabilities':
            outputs = tuple((logits / self.temperature).log_softmax(dim=-1) for logits in outputs)
        ours = torch.cat(outputs, dim=-1)  # (N, K, D)
        theirs = torch.cat(mixed, dim=-1).detach()
        (ours, theirs, labelled), own = all_gather_with_grad(ours, theirs, labelled)
        factor = self.weight * student.scale
        losses = {}
        if self.angle_weight:
            angle = relation_angle_loss(ours, theirs, labelled, own)
            losses['loss_angle'] = factor * self.angle_weight * angle
        if self.distance_weight:
            distance = relation_distance_loss(ours, theirs, labelled, own)
            losses['loss_distance'] = factor * self.distance_weight * distance
        return losses

    def _hint_losses(self, student: Prediction, mentors: Sequence[Prediction]) -> Tensor:
        """Sum over each mentor's groups of the batch mean, ``(M,)``.

        A sample counts 0 if the mentor is not valid on it.
        """
        totals = [self.shared.new_zeros(()) for _ in mentors]
        for (ours, index, theirs), hint in zip(self.groups, self.hints):
            mentor = mentors[index]
            distance = hint_distance(
                student.features[ours], mentor.features[theirs], hint.weight, hint.bias
            )
            totals[index] = totals[index] + (distance * mentor.valid.any(dim=-1)).mean()
        return torch.stack(totals)


def _mixture(
    weights: Tensor, mentors: Sequence[Prediction], temperature: float
) -> tuple[Tensor, ...]:
    """Mix the softened distributions of the mentors.

    Args:
        weights: ``(M, N, K)``, with the gradient of the latents.
        mentors: M predictions.
        temperature: Temperature of each distribution.

    Returns:
        A tuple of ``(N, K, D)``. All values are positive, because the gradient of p log p is
        infinite at 0.
    """
    mixed = []
    for fields in zip(*(mentor.logits for mentor in mentors)):
        p = sum(
            weight[..., None] * (logits / temperature).softmax(dim=-1)
            for weight, logits in zip(weights, fields)
        )
        mixed.append(p.clamp(min=torch.finfo(p.dtype).tiny))
    return tuple(mixed)


def _mentor_index(mentor: str | int, names: Sequence[str], option: str) -> int:
    """Return the index of a mentor given by name or index."""
    if isinstance(mentor, int) and 0 <= mentor < len(names):
        return mentor
    if mentor in names:
        return list(names).index(mentor)
    raise ClassroomError(
        f'model.strategy.{option} is {mentor!r}: write one of the names {list(names)}, or an index '
        f'below {len(names)}.'
    )
