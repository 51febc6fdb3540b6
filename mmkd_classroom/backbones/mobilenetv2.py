"""MobileNetV2 for CIFAR."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..errors import ClassroomError
from ..registry import MODELS
from .staged import HE_INIT, StagedBackbone, conv_bn

# By stage, groups of (expansion, channels at width 1, blocks, stride of the first block).
_STAGES = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)


class InvertedResidual(nn.Module):
    """Expansion, depthwise 3x3 and linear projection, with a shortcut where the shape stays.

    Args:
        in_channels: Number of input channels.
        channels: Number of output channels.
        stride: Stride of the depthwise convolution.
        expansion: Factor from the input's to the inner channels.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * in_channels
        self.residual = nn.Sequential(
            conv_bn(in_channels, inner, 1),
            conv_bn(inner, inner, stride=stride, groups=inner),
            conv_bn(inner, channels, 1, relu=False),
        )
        self.has_shortcut = stride == 1 and in_channels == channels

    def forward(self, features: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, channels, H / stride, W / stride)``."""
        residual = self.residual(features)
        return features + residual if self.has_shortcut else residual


@MODELS.register_module()
class CifarMobileNetV2(StagedBackbone):
    """MobileNetV2 for 32x32 images, by default of half width ("MobileNetV2 (half)").

    Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear
    Bottlenecks", CVPR 2018. As in the distillation benchmarks, the 24-channel blocks have stride
    1, activations are ReLU, the first block has its 1x1 expansion too, and widths are cut off to
    whole numbers. The 1x1 convolution to 1,280 channels is the tail: ``layer4`` is before it, what
    is returned after.

    For ``(N, 3, 32, 32)`` and half width the stages return ``(N, 12, 16, 16)``, ``(N, 16, 8, 8)``,
    ``(N, 48, 4, 4)`` and ``(N, 1280, 2, 2)``.

    Args:
        width: Factor on the widths, but on the last one only above 1.
        out_indices: Stages to return, of 0 to 3.
        init_cfg: As in MMEngine.

    Raises:
        ClassroomError: The width leaves a layer without channels.
    """

    def __init__(
        self,
        width: float = 0.5,
        out_indices: int | Sequence[int] = (3,),
        init_cfg: dict | Sequence[dict] | None = HE_INIT,
    ) -> None:
        if int(16 * width) < 1:
            raise ClassroomError(
                f'backbone.width is {width}: a CifarMobileNetV2 needs 1/16 or more.'
            )
        in_channels = int(32 * width)
        stem = conv_bn(3, in_channels, stride=2)
        stages = []
        for groups in _STAGES:
            blocks = []
            for expansion, base, count, first in groups:
                channels = int(base * width)
                for stride in (first, *[1] * (count - 1)):
                    blocks.append(InvertedResidual(in_channels, channels, stride, expansion))
                    in_channels = channels
            stages.append(nn.Sequential(*blocks))
        tail = conv_bn(in_channels, int(1280 * max(1, width)), 1)
        super().__init__(stem, stages, out_indices, tail, init_cfg)
