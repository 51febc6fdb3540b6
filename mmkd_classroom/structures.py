"""What travels between tasks, rankers and strategies: predictions, truths and lessons."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Prediction:
    """What one classroom member says of a batch, in the student's form.

    Attributes:
        values: Logits ``(N, C)``, heatmaps ``(N, K, H, W)``, or SimCC's two axes ``(N, K, W_x)``
            and ``(N, K, W_y)``.
        form: What the values of a pose mean, :mod:`mmkd_classroom.tasks.forms`; None for classes.
        valid: Booleans ``(N, K)``, or ``(N, 1)`` for all items at once; by default all true.
            False where a mentor gave values that are not finite (they are set to zero) or has no
            such joint.
        joints: ``(N, K, 2)`` in pixels of the student's input, where they are known better than
            the values tell: a mentor's, decoded in its own form.
        features: Feature maps ``(N, C_f, h, w)`` by stage name, of a strategy that asks for them.
    """

    values: Tensor | tuple[Tensor, Tensor]
    form: Any = None
    valid: Tensor | None = None
    joints: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.valid is None:
            values = self.values if isinstance(self.values, Tensor) else self.values[0]
            self.valid = values.new_ones(len(values), 1, dtype=torch.bool)


@dataclass(frozen=True)
class Geometry:
    """Where a pixel of the student's input lies in a mentor's: ``scale * x + offset``.

    Attributes:
        size: Width and height of the mentor's input.
        scale: Along x and y.
        offset: Along x and y, in pixels of the mentor's input.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass
class ClassTruth:
    """Labels of a batch.

    Attributes:
        labels: Class indices ``(N,)``, or soft labels ``(N, C)`` of mixup and CutMix.
        weights: ``(N, 1)``, ones: each sample is one item. Or ``(M + 1, N, 1)``, of each member.
    """

    labels: Tensor
    weights: Tensor


@dataclass
class KeypointTruth:
    """Joints of a batch, in pixels of the student's input.

    Attributes:
        joints: ``(N, K, 2)``.
        weights: ``(N, K)``; a row averages over the sample's labelled joints (sums to 1, or 0).
            Or ``(M + 1, N, K)``, over those that each member has.
        area: ``(N,)`` area of the person, square pixels.
        bbox_size: ``(N,)`` longer side of the person's box.
        head_size: ``(N,)`` MPII's head size, or None where the data set has none.
        metainfo: Definition of the data set, or the name of one of MMPose's.
    """

    joints: Tensor
    weights: Tensor
    area: Tensor
    bbox_size: Tensor
    head_size: Tensor | None
    metainfo: dict | str | None


@dataclass
class Lesson:
    """What a strategy makes of a batch.

    Attributes:
        losses: Losses by name, as MMEngine's ``parse_losses`` takes them.
        statistics: Detached tensors by name, on the device: ``(M,)`` per mentor or scalars.
    """

    losses: dict[str, Tensor]
    statistics: dict[str, Tensor] = field(default_factory=dict)
