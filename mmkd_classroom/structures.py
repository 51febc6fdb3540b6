"""What travels between tasks, rankers and strategies: predictions, truths and lessons."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Prediction:
    """The raw output of one classroom member on a batch.

    Attributes:
        values: Logits ``(N, C)`` or heatmaps ``(N, K, H, W)``.
        codec: The head's own MMPose codec, which knows where its cells lie; None for classes.
        valid: ``(N,)`` booleans, by default all true. A mentor's sample with a value that is not
            finite is not valid; its values are set to zero.
    """

    values: Tensor
    codec: Any = None
    valid: Tensor | None = None

    def __post_init__(self) -> None:
        if self.valid is None:
            self.valid = self.values.new_ones(len(self.values), dtype=torch.bool)


@dataclass
class ClassTruth:
    """Labels of a batch.

    Attributes:
        labels: Class indices ``(N,)``, or soft labels ``(N, C)`` of mixup and CutMix.
        weights: ``(N, 1)``, ones: each sample is one item.
    """

    labels: Tensor
    weights: Tensor


@dataclass
class KeypointTruth:
    """Joints of a batch, in pixels of the student's input.

    Attributes:
        joints: ``(N, K, 2)``.
        weights: ``(N, K)``; a row averages over the sample's labelled joints (sums to 1, or 0).
        area: ``(N,)`` area of the person, square pixels.
        bbox_size: ``(N,)`` longer side of the person's box.
        head_size: ``(N,)`` MPII's head size, or None where the data set has none.
        dataset_name: Name of the MMPose data set the joints come from.
    """

    joints: Tensor
    weights: Tensor
    area: Tensor
    bbox_size: Tensor
    head_size: Tensor | None
    dataset_name: str | None


@dataclass
class Lesson:
    """What a strategy makes of a batch.

    Attributes:
        losses: Losses by name, as MMEngine's ``parse_losses`` takes them.
        statistics: Detached tensors by name, on the device: ``(M,)`` per mentor or scalars.
    """

    losses: dict[str, Tensor]
    statistics: dict[str, Tensor] = field(default_factory=dict)
