"""A mentor's own view of the student's batch: channel order and normalisation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Normalisation:
    """What a data preprocessor does to pixels.

    Attributes:
        mean: Per channel, in pixel values, in the order after a flip.
        std: Per channel.
        flips: Whether the channel order of the loaded image is reversed first.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flips: bool

    @classmethod
    def of(cls, preprocessor: nn.Module) -> 'Normalisation':
        """Read it off a data preprocessor of MMEngine's, MMPose's or MMPretrain's."""
        flips = bool(
            getattr(preprocessor, '_channel_conversion', False)
            or getattr(preprocessor, 'to_rgb', False)
        )
        if not getattr(preprocessor, '_enable_normalize', False):
            return cls((0.0,) * 3, (1.0,) * 3, flips)
        mean, std = preprocessor.mean.flatten(), preprocessor.std.flatten()
        return cls(tuple(mean.tolist()), tuple(std.tolist()), flips)


class View:
    r"""Turns the student's normalised batch into the mentor's by one multiply-add.

    .. math:: x_m = \\frac{(x_s \\sigma_s + \\mu_s) - \\mu_m}{\\sigma_m}

    Args:
        student: How the student's batch was normalised.
        mentor: How the mentor's training images were.
    """

    def __init__(self, student: Normalisation, mentor: Normalisation) -> None:
        self.identity = student == mentor
        self.flips = student.flips != mentor.flips
        step = -1 if self.flips else 1
        mean_s, std_s = torch.tensor(student.mean[::step]), torch.tensor(student.std[::step])
        mean_m, std_m = torch.tensor(mentor.mean), torch.tensor(mentor.std)
        self._scale = (std_s / std_m).view(1, -1, 1, 1)
        self._shift = ((mean_s - mean_m) / std_m).view(1, -1, 1, 1)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the constants as ``nn.Module._apply`` moves parameters."""
        self._scale, self._shift = function(self._scale), function(self._shift)

    def __call__(self, inputs: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to ``(N, 3, H, W)``."""
        if self.identity:
            return inputs
        if self.flips:
            inputs = inputs.flip(1)
        return torch.addcmul(self._shift, inputs, self._scale)
