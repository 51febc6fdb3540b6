"""Convert the student's batch to a mentor's channel order, normalisation and size."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..structures import Letterbox


@dataclass(frozen=True)
class Normalisation:
    """Channel order and normalisation of a data preprocessor.

    Attributes:
        mean: Mean per channel, or one for all, in pixel values, in the order after the flip.
        std: Standard deviation per channel, or one for all.
        flips: Whether the channel order of the loaded image is reversed first.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flips: bool

    @classmethod
    def of(cls, preprocessor: nn.Module) -> 'Normalisation':
        """Read the settings of a data preprocessor of MMEngine, MMPose or MMPretrain."""
        flips = bool(
            getattr(preprocessor, '_channel_conversion', False)
            or getattr(preprocessor, 'to_rgb', False)
        )
        if not getattr(preprocessor, '_enable_normalize', False):
            return cls((0.0,), (1.0,), flips)  # for any number of channels
        mean, std = preprocessor.mean.flatten(), preprocessor.std.flatten()
        return cls(tuple(mean.tolist()), tuple(std.tolist()), flips)


def letterbox(
    student: tuple[int, int], mentor: tuple[int, int]
) -> tuple[tuple[int, int], Letterbox]:
    """Place the student's input in the mentor's: as large as possible, centred and not cropped.

    Args:
        student: Width and height of the student's input.
        mentor: Width and height of the mentor's input.

    Returns:
        Width and height of the student's image in the mentor's input, and its position.

    Example:
        >>> letterbox((192, 256), (256, 256))[1].offset
        (32.0, 0.0)
    """
    ratio = min(theirs / ours for ours, theirs in zip(student, mentor))
    content = tuple(round(ours * ratio) for ours in student)
    scale = tuple(inner / ours for inner, ours in zip(content, student))
    # Resizing aligns the corners of the images, half a pixel before the centre of the first pixel.
    offset = tuple(
        (outer - inner) // 2 + (factor - 1) / 2
        for outer, inner, factor in zip(mentor, content, scale)
    )
    return content, Letterbox(scale, offset)


class InputAdapter:
    r"""Convert the student's normalised batch to the mentor's input, on the device.

    .. math:: x_m = \frac{(x_s \sigma_s + \mu_s) - \mu_m}{\sigma_m}

    This is one multiply-add. If the mentor's input has another size, the image is then resized to
    fit, and the border is black.

    Args:
        student: Normalisation of the student's batch.
        mentor: Normalisation of the mentor's training images.
        size: Width and height of the mentor's input; None for the student's size.
        flips: Whether to reverse the student's channels. Default: True if only one of the two
            preprocessors reverses them. This is correct for image files, but wrong if one model
            was trained on a data set that loads RGB, as CIFAR's do.
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

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._scale.device

    def settings(self) -> dict[str, Any]:
        """Settings that determine the mentor's input, for JSON."""
        constants = dict(scale=self._scale, shift=self._shift, black=self._black)
        values = {name: tensor.flatten().tolist() for name, tensor in constants.items()}
        return dict(values, flips=self.flips, size=self.size)

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move the constants, as ``nn.Module._apply`` moves parameters."""
        self._scale, self._shift = function(self._scale), function(self._shift)
        self._black = function(self._black)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Convert a batch of the student.

        Args:
            inputs: ``(N, 3, H, W)``, normalised for the student, at least float32.

        Returns:
            ``(N, 3, H', W')`` of the mentor's size, normalised for the mentor, of the same type.
        """
        if not self.identity:
            inputs = inputs.flip(1) if self.flips else inputs
            inputs = torch.addcmul(self._shift, inputs, self._scale)
        ours = (inputs.shape[-1], inputs.shape[-2])
        return inputs if self.size in (None, ours) else self._resized(inputs, ours)

    def content(self, maps: Tensor, inputs: Tensor) -> Tensor:
        """Crop a mentor's feature maps to the student's image, rounded to whole cells.

        Args:
            maps: ``(N, C, h, w)``.
            inputs: The student's batch ``(N, 3, H, W)``.

        Returns:
            ``(N, C, h', w')``, the part that shows the student's image.
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
        # Without antialiasing, smaller images would have artefacts that the mentor was not trained
        # on.
        shrinks = width < ours[0]
        inputs = F.interpolate(inputs, (height, width), mode='bilinear', antialias=shrinks)
        left, top = (self.size[0] - width) // 2, (self.size[1] - height) // 2
        if (width, height) == self.size:
            return inputs
        canvas = self._black.expand(len(inputs), -1, self.size[1], self.size[0]).clone()
        canvas[..., top : top + height, left : left + width] = inputs
        return canvas
