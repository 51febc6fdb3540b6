"""ResNet for CIFAR: ResNet-8 to ResNet-110, and the wider 8x4 and 32x4."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..errors import ClassroomError
from ..registry import MODELS
from .staged import HE_INIT, StagedBackbone, conv_bn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; a 1x1 convolution where the shape changes (option B).

    Args:
        in_channels: Number of input channels.
        channels: Number of output channels.
        stride: Stride of the first convolution and the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv_bn(in_channels, channels, stride=stride),
            conv_bn(channels, channels, relu=False),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == channels
            else conv_bn(in_channels, channels, 1, stride, relu=False)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, channels, H / stride, W / stride)``."""
        return self.relu(self.residual(features) + self.shortcut(features))


@MODELS.register_module()
class CifarResNet(StagedBackbone):
    """ResNet for CIFAR: a 3x3 stem and three stages of (depth - 2) / 6 basic blocks.

    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2,
    with projection shortcuts (option B) as in the distillation benchmarks. ``ResNet-8x4`` is depth
    8 with widths ``(32, 64, 128, 256)``, four times the usual ones past the stem.

    For ``(N, 3, 32, 32)`` and the default widths the stages return ``(N, 16, 32, 32)``,
    ``(N, 32, 16, 16)`` and ``(N, 64, 8, 8)``.

    Args:
        depth: 6n + 2: 8, 14, 20, 32, 44, 56 or 110 in the literature.
        widths: Channels of the stem and of the three stages.
        strides: Strides of the three stages.
        out_indices: Stages to return, of 0, 1, 2.
        init_cfg: As in MMEngine.

    Raises:
        ClassroomError: The depth is no 6n + 2, or a stage has no width or stride.
    """

    def __init__(
        self,
        depth: int,
        widths: Sequence[int] = (16, 16, 32, 64),
        strides: Sequence[int] = (1, 2, 2),
        out_indices: int | Sequence[int] = (2,),
        init_cfg: dict | Sequence[dict] | None = HE_INIT,
    ) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ClassroomError(
                f'backbone.depth is {depth}: a CifarResNet has 6n + 2 layers, such as 8, 14, 20.'
            )
        if len(widths) != 4 or len(strides) != 3:
            raise ClassroomError(
                f'backbone.widths is {tuple(widths)} and backbone.strides {tuple(strides)}: a '
                'CifarResNet takes a width for its stem and each of three stages, and a stride '
                'for each stage.'
            )
        stages = [
            _stage(blocks, *shape) for shape in zip(widths[:-1], widths[1:], strides, strict=True)
        ]
        super().__init__(conv_bn(3, widths[0]), stages, out_indices, init_cfg=init_cfg)


def _stage(blocks: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    rest = [BasicBlock(channels, channels) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(in_channels, channels, stride), *rest)
