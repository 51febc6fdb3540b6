"""VGG with BatchNorm for CIFAR: VGG-8 to VGG-19, without the fully connected layers."""

from collections.abc import Sequence

from torch import nn

from ..errors import ClassroomError
from ..registry import MODELS
from .staged import HE_INIT, StagedBackbone

_WIDTHS = (64, 128, 256, 512, 512)
# Convolutions of each stage; with three fully connected layers they make up the depth.
_CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


@MODELS.register_module()
class CifarVGG(StagedBackbone):
    """VGG: five stages of 3x3 convolutions with bias, BatchNorm and ReLU.

    Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR
    2015, fitted to 32x32 as in the distillation benchmarks: VGG-8 has one convolution a stage, a
    linear layer stands for the three fully connected ones, and the image is halved before stages
    2 to 4 alone.

    For ``(N, 3, 32, 32)`` the stages return ``(N, 64, 32, 32)``, ``(N, 128, 16, 16)``,
    ``(N, 256, 8, 8)``, ``(N, 512, 4, 4)`` and ``(N, 512, 4, 4)``.

    Args:
        depth: 8, 11, 13, 16 or 19.
        out_indices: Stages to return, of 0 to 4.
        init_cfg: As in MMEngine.

    Raises:
        ClassroomError: There is no such depth.
    """

    def __init__(
        self,
        depth: int,
        out_indices: int | Sequence[int] = (4,),
        init_cfg: dict | Sequence[dict] | None = HE_INIT,
    ) -> None:
        if depth not in _CONVOLUTIONS:
            raise ClassroomError(
                f'backbone.depth is {depth}: choose one of {tuple(_CONVOLUTIONS)} for a CifarVGG.'
            )
        stages = [
            _stage(*shape, halve=number in (1, 2, 3))
            for number, shape in enumerate(zip(_CONVOLUTIONS[depth], (3, *_WIDTHS), _WIDTHS))
        ]
        super().__init__(nn.Identity(), stages, out_indices, init_cfg=init_cfg)


def _stage(convolutions: int, in_channels: int, channels: int, halve: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.MaxPool2d(2)] if halve else []
    for _ in range(convolutions):
        layers += [
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        in_channels = channels
    return nn.Sequential(*layers)
