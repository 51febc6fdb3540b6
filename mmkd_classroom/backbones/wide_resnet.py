"""Wide ResNet for CIFAR, called WRN-depth-widen_factor."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..errors import ClassroomError
from ..registry import MODELS
from .staged import HE_INIT, StagedBackbone


class PreActBlock(nn.Module):
    """BatchNorm, ReLU and 3x3 convolution, twice, and a shortcut.

    Where the number of channels changes, the shortcut is a 1x1 convolution of the activated input.

    Args:
        in_channels: Number of input channels.
        channels: Number of output channels.
        stride: Stride of the first convolution and the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
        )
        self.shortcut = (
            None
            if stride == 1 and in_channels == channels
            else nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, channels, H / stride, W / stride)``."""
        activated = self.activate(features)
        shortcut = features if self.shortcut is None else self.shortcut(activated)
        return self.residual(activated) + shortcut


@MODELS.register_module()
class CifarWideResNet(StagedBackbone):
    """Wide ResNet: a 3x3 stem and three stages of (depth - 4) / 6 pre-activation blocks.

    Zagoruyko, Komodakis, "Wide Residual Networks", BMVC 2016 (arXiv 1605.07146), without dropout.
    The last BatchNorm and ReLU are the tail: ``layer3`` is before them, what is returned after.

    For ``(N, 3, 32, 32)`` and widen factor k the stages return ``(N, 16k, 32, 32)``,
    ``(N, 32k, 16, 16)`` and ``(N, 64k, 8, 8)``.

    Args:
        depth: 6n + 4: 16, 28 or 40 in the literature.
        widen_factor: k, the factor on the widths 16, 32, 64.
        strides: Strides of the three stages.
        out_indices: Stages to return, of 0, 1, 2.
        init_cfg: As in MMEngine.

    Raises:
        ClassroomError: The depth is no 6n + 4, or a stage has no stride.
    """

    def __init__(
        self,
        depth: int,
        widen_factor: int = 1,
        strides: Sequence[int] = (1, 2, 2),
        out_indices: int | Sequence[int] = (2,),
        init_cfg: dict | Sequence[dict] | None = HE_INIT,
    ) -> None:
        blocks, rest = divmod(depth - 4, 6)
        if blocks < 1 or rest:
            raise ClassroomError(
                f'backbone.depth is {depth}: a CifarWideResNet has 6n + 4 layers, such as 16, 40.'
            )
        if len(strides) != 3:
            raise ClassroomError(
                f'backbone.strides is {tuple(strides)}: a CifarWideResNet has three stages.'
            )
        widths = (16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor)
        stages = [
            _stage(blocks, *shape) for shape in zip(widths[:-1], widths[1:], strides, strict=True)
        ]
        stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        tail = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
        super().__init__(stem, stages, out_indices, tail, init_cfg)


def _stage(blocks: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    rest = [PreActBlock(channels, channels) for _ in range(blocks - 1)]
    return nn.Sequential(PreActBlock(in_channels, channels, stride), *rest)
