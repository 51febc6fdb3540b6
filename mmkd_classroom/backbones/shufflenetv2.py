"""ShuffleNetV2 for CIFAR."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..registry import MODELS
from .staged import StagedBackbone, conv_bn, shuffled

_WIDTHS = (24, 116, 232, 464)  # of the paper's network of width 1
_UNITS = (4, 8, 4)
_LAST_WIDTH = 1024


class SplitUnit(nn.Module):
    """Half of the channels pass, half go through 1x1, depthwise 3x3, 1x1; then all are shuffled.

    Args:
        channels: Number of input and output channels; even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = _branch(channels // 2, channels // 2, stride=1)

    def forward(self, features: Tensor) -> Tensor:
        """``(N, channels, H, W)`` to the same."""
        passing, changing = features.chunk(2, dim=1)
        return shuffled(torch.cat([passing, self.branch(changing)], dim=1), 2)


class DownUnit(nn.Module):
    """Two branches of stride 2 on all channels, concatenated and shuffled.

    Args:
        in_channels: Number of input channels.
        channels: Number of output channels; even.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(
            conv_bn(in_channels, in_channels, stride=2, groups=in_channels, relu=False),
            conv_bn(in_channels, channels // 2, 1),
        )
        self.branch = _branch(in_channels, channels // 2, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """``(N, in_channels, H, W)`` to ``(N, channels, H / 2, W / 2)``."""
        return shuffled(torch.cat([self.shortcut(features), self.branch(features)], dim=1), 2)


@MODELS.register_module()
class CifarShuffleNetV2(StagedBackbone):
    """ShuffleNetV2 of width 1 for 32x32 images: a 1x1 stem and stages of 4, 8, 4 units.

    Ma, Zhang, Zheng, Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
    Design", ECCV 2018. As in the distillation benchmarks, the stem is a 1x1 convolution that keeps
    the resolution, and weights start as PyTorch's do. The 1x1 convolution to 1,024 channels is the
    tail: ``layer3`` is before it, what is returned after.

    For ``(N, 3, 32, 32)`` the stages return ``(N, 116, 16, 16)``, ``(N, 232, 8, 8)`` and
    ``(N, 1024, 4, 4)``.

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
        tail = conv_bn(_WIDTHS[-1], _LAST_WIDTH, 1)
        super().__init__(conv_bn(3, _WIDTHS[0], 1), stages, out_indices, tail, init_cfg)


def _branch(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        conv_bn(in_channels, channels, 1),
        conv_bn(channels, channels, stride=stride, groups=channels, relu=False),
        conv_bn(channels, channels, 1),
    )


def _stage(units: int, in_channels: int, channels: int) -> nn.Sequential:
    rest = [SplitUnit(channels) for _ in range(units - 1)]
    return nn.Sequential(DownUnit(in_channels, channels), *rest)
