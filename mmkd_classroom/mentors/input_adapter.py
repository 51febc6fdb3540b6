"""The student's batch as a mentor wants it: channel order, normalisation and size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..structures import Letterbox


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


def letterbox(
    student: tuple[int, int], mentor: tuple[int, int]
) -> tuple[tuple[int, int], Letterbox]:
    """Place the student's input in the mentor's: as large as fits, centred, nothing cut off.

    Args:
        student: Width and height of the student's input.
        mentor: Of the mentor's.

    Returns:
        Width and height that the student's image takes there, and where its pixels lie.

    Example:
        >>> letterbox((192, 256), (256, 256))[1].offset
        (32.0, 0.0)
    """
    ratio = min(theirs / ours for ours, theirs in zip(student, mentor))
    content = tuple(round(ours * ratio) for ours in student)
    scale = tuple(inner / ours for inner, ours in zip(content, student))
    # Resizing keeps the image's corners, which lie half a pixel before the first pixel's centre.
    offset = tuple(
        (outer - inner) // 2 + (factor - 1) / 2
        for outer, inner, factor in zip(mentor, content, scale)
    )
    return content, Letterbox(tuple(mentor), scale, offset)


class InputAdapter:
    r"""The student's normalised batch as the mentor wants it, made on the device.

    .. math:: x_m = \frac{(x_s \sigma_s + \mu_s) - \mu_m}{\sigma_m}

    in one multiply-add; then, where the mentor's input has another size, resized to fit with the
    rest black.

    Args:
        student: How the student's batch was normalised.
        mentor: How the mentor's training images were.
        size: Width and height of the mentor's input; None takes the student's.
        flips: Whether the mentor wants the student's channels in reverse. By default where one
            preprocessor reverses what is loaded and the other does not: right for images, wrong
            where one was trained on a data set that loads RGB, as CIFAR's do.
    """

    def __init__(
        self,
        student: Normalisation,
        mentor: Normalisation,
        size: tuple[int, int] | None = None,
        flips: bool | None = None,
    ) -> None:
        self.flips = student.flips != mentor.flips if flips is None else flips
        same_pixels = (student.mean, student.std) == (mentor.mean, mentor.std)
        self.identity = same_pixels and not self.flips
        self.size = size
        step = -1 if self.flips else 1
        mean_s, std_s = torch.tensor(student.mean[::step]), torch.tensor(student.std[::step])
        mean_m, std_m = torch.tensor(mentor.mean), torch.tensor(mentor.std)
        self._scale = (std_s / std_m).view(1, -1, 1, 1)
        self._shift = ((mean_s - mean_m) / std_m).view(1, -1, 1, 1)
        self._black = (-mean_m / std_m).view(1, -1, 1, 1)

    def settings(self) -> dict[str, Any]:
        """All that decides on the mentor's input, as JSON has it."""
        constants = dict(scale=self._scale, shift=self._shift, black=self._black)
        values = {name: tensor.flatten().tolist() for name, tensor in constants.items()}
        return dict(values, flips=self.flips, size=self.size)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the constants as ``nn.Module._apply`` moves parameters."""
        self._scale, self._shift = function(self._scale), function(self._shift)
        self._black = function(self._black)

    def __call__(self, inputs: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to ``(N, 3, H, W)`` of the mentor's size."""
        if not self.identity:
            inputs = inputs.flip(1) if self.flips else inputs
            inputs = torch.addcmul(self._shift, inputs, self._scale)
        ours = (inputs.shape[-1], inputs.shape[-2])
        return inputs if self.size in (None, ours) else self._resized(inputs, ours)

    def content(self, maps: Tensor, inputs: Tensor) -> Tensor:
        """The part of a mentor's feature maps that shows the student's image, to the cell.

        Args:
            maps: ``(N, C, h, w)``.
            inputs: The student's batch ``(N, 3, H, W)``.
        """
        ours = (inputs.shape[-1], inputs.shape[-2])
        if self.size in (None, ours):
            return maps
        inner, _ = letterbox(ours, self.size)
        for axis, (part, whole) in enumerate(zip(inner, self.size)):
            cells = maps.shape[-1 - axis]
            length = max(1, round(cells * part / whole))
            maps = maps.narrow(-1 - axis, (cells - length) // 2, length)
        return maps

    def _resized(self, inputs: Tensor, ours: tuple[int, int]) -> Tensor:
        (width, height), _ = letterbox(ours, self.size)
        # Shrinking without a filter would feed the mentor aliases that it never saw.
        shrinks = width < ours[0]
        inputs = F.interpolate(inputs, (height, width), mode='bilinear', antialias=shrinks)
        left, top = (self.size[0] - width) // 2, (self.size[1] - height) // 2
        if (width, height) == self.size:
            return inputs
        canvas = self._black.expand(len(inputs), -1, self.size[1], self.size[0]).clone()
        canvas[..., top : top + height, left : left + width] = inputs
        return canvas
