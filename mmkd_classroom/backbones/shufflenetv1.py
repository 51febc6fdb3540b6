"""ShuffleNet (V1) for CIFAR."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..registry import MODELS
from .staged import StagedBackbone, conv_bn, shuffled

_WIDTHS = (24, 240, 480, 960)  # of the paper's network with three groups
_UNITS = (4, 8, 4)
_GROUPS = 3


class ShuffleUnit(nn.Module):
    """Grouped 1x1, channel shuffle, depthwise 3x3, grouped 1x1.

    A unit of stride 2 halves its input by average pooling and concatenates it, others add it.

    Args:
        in_channels: Number of input channels.
        channels: Number of output channels.
        stride: 1 or 2.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        residual = channels - in_channels if stride == 2 else channels
        # As in the paper, the stem's few channels are not grouped.
        self.groups = 1 if in_channels == _WIDTHS[0] else _GROUPS
        inner = residual // 4
        self.squeeze = conv_bn(in_channels, inner, 1, groups=self.groups)
        self.depthwise = conv_bn(inner, inner, stride=stride, groups=inner)
        self.expand = conv_bn(inner, residual, 1, groups=_GROUPS, relu=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, channels, H / stride, W / stride)``."""
        inner = shuffled(self.squeeze(features), self.groups)
        residual = self.expand(self.depthwise(inner))
        if self.pool is None:
            return self.relu(features + residual)
        return self.relu(torch.cat([residual, self.pool(features)], dim=1))


@MODELS.register_module()
class CifarShuffleNetV1(StagedBackbone):
    """ShuffleNet with three groups for 32x32 images: a 1x1 stem and stages of 4, 8, 4 units.

    Zhang, Zhou, Lin, Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for
    Mobile Devices", CVPR 2018. As in the distillation benchmarks, the stem is a 1x1 convolution
    that keeps the resolution, the depthwise convolution is followed by a ReLU, and weights start
    as PyTorch's do.

    For ``(N, 3, 32, 32)`` the stages return ``(N, 240, 16, 16)``, ``(N, 480, 8, 8)`` and
    ``(N, 960, 4, 4)``.

    Args:
        out_indices: Stages to return, of 0, 1, 2.
        init_cfg: As in MMEngine.
    """

    def __init__(
        self,
        out_indices: int | Sequence[int] = (2,),
        init_cfg: dict | Sequence[dict] | None = None,
    ) -> None:
        stages = [_stage(*shape) for shape in zip(_UNITS, _WIDTHS[:-1], _WIDTHS[1:])]
        super().__init__(conv_bn(3, _WIDTHS[0], 1), stages, out_indices, init_cfg=init_cfg)


def _stage(units: int, in_channels: int, channels: int) -> nn.Sequential:
    rest = [ShuffleUnit(channels, channels, 1) for _ in range(units - 1)]
    return nn.Sequential(ShuffleUnit(in_channels, channels, 2), *rest)
