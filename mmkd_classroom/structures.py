"""Data passed between heads, mentors, rankers, divergences and strategies.

N is the batch size, K the number of items of a sample (its joints, or 1 for a class), M the number
of mentors. Member 0 is the student, members 1 to M are the mentors.
"""

from dataclasses import dataclass, field

from torch import Tensor

from .functional import at_least_float32


@dataclass(frozen=True)
class Prediction:
    """Prediction of one member for a batch, in the output format of the student's head.

    The student's ``values`` and ``features`` have a gradient; all else has none.

    Attributes:
        values: One tensor for each distribution of an item: class logits ``(N, 1, C)``, heatmaps
            ``(N, K, H, W)``, or two axes ``(N, K, W_x)`` and ``(N, K, W_y)``, of SimCC or, as
            log-densities, of a head that regresses joints.
        factor: Logits are ``factor * values``; positive.
        scales: One positive factor for each distribution. The divergence of an item is
            ``sum(scales[d] * D_d)``, comparable in size to the head's own loss.
        valid: ``(N, K)`` booleans. False where a mentor's output was not finite, or where it does
            not predict the joint.
        joints: ``(N, K, 2)``, decoded, in pixels of the student's input, without gradient; None
            for classes.
        confidences: ``(N, K)``, the codec's score of each joint, about 0 to 1; None for classes.
        features: Feature maps ``(N, C_f, h, w)`` by stage name, for strategies that use them.
        raw: A mentor's values before they were converted to the student's format; None if they
            were not.
    """

    values: tuple[Tensor, ...]
    factor: float
    scales: tuple[float, ...]
    valid: Tensor
    joints: Tensor | None = None
    confidences: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    raw: tuple[Tensor, ...] | None = None

    @property
    def logits(self) -> tuple[Tensor, ...]:
        """Logits of each distribution, ``(N, K, D)`` each, at least float32, with gradient."""
        flat = (at_least_float32(values).flatten(2) for values in self.values)
        return tuple(flat if self.factor == 1 else (values * self.factor for values in flat))

    @property
    def peaks(self) -> Tensor:
        """Largest logit, ``(N, K)``, detached.

        If an item has several distributions, as in SimCC, this is the mean over them of the largest
        minus the smallest logit, because the zero of SimCC's values has no meaning.
        """
        logits = [values.detach() for values in self.logits]
        if len(logits) == 1:
            return logits[0].amax(dim=-1)
        return sum(v.amax(dim=-1) - v.amin(dim=-1) for v in logits) / len(logits)

    @property
    def scale(self) -> float:
        """Mean of :attr:`scales`, for losses other than the divergence, such as on features."""
        return sum(self.scales) / len(self.scales)


@dataclass(frozen=True)
class MentorOutput:
    """What a mentor returns for a batch, in the format of its head, before it is converted.

    Attributes:
        values: As the mentor's head returns them, of the items that the student has: as
            :attr:`Prediction.values`, coordinates ``(N, K, 2)``, with scales ``(N, K, 4)``, or
            discs ``(N, K, H, W)`` with offsets ``(N, K, 2, H, W)``.
        finite: ``(N,)`` booleans. Samples whose output was not finite are zero.
        joints: ``(N, K, 2)``, decoded, in pixels of the mentor's input; None for classes.
        confidences: ``(N, K)``; None for classes.
    """

    values: tuple[Tensor, ...]
    finite: Tensor
    joints: Tensor | None = None
    confidences: Tensor | None = None


@dataclass(frozen=True)
class ClassTargets:
    """Labels of a batch.

    Attributes:
        labels: Class indices ``(N,)``, or soft labels ``(N, C)`` of mixup and CutMix.
        weights: ``(N, 1)``, ones: each sample is one item.
    """

    labels: Tensor
    weights: Tensor


@dataclass(frozen=True)
class JointTargets:
    """Joints of a batch, in pixels of the student's input.

    Attributes:
        joints: ``(N, K, 2)``.
        weights: ``(N, K)``. Weights of a mean over the sample's labelled joints: a row sums to 1,
            or to 0 if no joint is labelled.
        area: ``(N,)``, area of the person in square pixels.
        bbox_size: ``(N,)``, longer side of the person's box.
        head_size: ``(N,)``, MPII's head size; 0 if the data set has none.
    """

    joints: Tensor
    weights: Tensor
    area: Tensor
    bbox_size: Tensor
    head_size: Tensor


Targets = ClassTargets | JointTargets


@dataclass(frozen=True)
class Scores:
    """Scores of all members, without gradient.

    Attributes:
        item: ``(M + 1, N, K)`` in [0, 1]; 0 where not valid.
        sample: ``(M + 1, N)`` in [0, 1], mean over the labelled items that the member predicts; 0
            if there is none.
        batch: ``(M + 1,)`` in [0, 1], one score for all samples with labelled items that the member
            predicts; 0 if there is none.
        valid: ``(M + 1, N, K)`` booleans, :attr:`Prediction.valid` of each member.
        correct: ``(M + 1, N)`` booleans, whether the member predicts the sample correctly.
        nll: ``(M + 1, N, K)``, negative log-likelihood of the target: ``-log`` of the score, not
            negative and finite. Where not valid, its value has no meaning.
    """

    item: Tensor
    sample: Tensor
    batch: Tensor
    valid: Tensor
    correct: Tensor
    nll: Tensor


@dataclass(frozen=True)
class Letterbox:
    """Position of the student's input in a mentor's: pixel x lies at ``scale * x + offset``.

    Attributes:
        scale: Along x and y.
        offset: Along x and y, in pixels of the mentor's input.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class DistillOutput:
    """Output of a strategy for a batch.

    Attributes:
        losses: Losses by name, in the form that MMEngine's ``parse_losses`` accepts.
        statistics: Detached tensors by name, on the device: ``(M,)``, one value per mentor, or
            scalars. ``MentoringHook`` records the mean of each over the interval. It and the report
            show ``score``, ``student_score``, ``share`` and ``weight``, or ``active`` with
            ``temperature``; ``invalid`` is a number of samples.
        weights: ``(M, N, K)`` or ``(M, N, 1)``, detached: weight of each mentor on each item; 0
            where it does not teach.
    """

    losses: dict[str, Tensor]
    statistics: dict[str, Tensor]
    weights: Tensor


@dataclass(frozen=True)
class StepOutput:
    """All that a classroom computes for a batch.

    Attributes:
        student: The student's prediction, with gradient.
        mentors: M predictions.
        targets: Targets of the batch.
        scores: Scores of the student and the mentors.
        output: What the strategy made of these.
    """

    student: Prediction
    mentors: list[Prediction]
    targets: Targets
    scores: Scores
    output: DistillOutput
