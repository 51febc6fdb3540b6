"""Base class of the backbones: a stem and named stages, of which some are returned."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import ClassroomError

#: He et al. 2015 (arXiv 1502.01852), which the papers of these networks start from.
HE_INIT = (
    dict(type='Kaiming', layer='Conv2d', mode='fan_out', nonlinearity='relu'),
    dict(type='Constant', layer='BatchNorm2d', val=1),
)


class StagedBackbone(BaseModule):
    """A stem and stages, the child modules ``layer1``, ``layer2`` and so on.

    Args:
        stem: From the image to the first stage.
        stages: In order.
        out_indices: Stages to return, counted from 0; by default the last.
        tail: Applied to the last stage's output where that is returned: the layers that a network
            has between its stages and its pooling. ``layerN`` itself is without it.
        init_cfg: As in MMEngine.

    Raises:
        ClassroomError: An index names no stage.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        out_indices: int | Sequence[int] | None = None,
        tail: nn.Module | None = None,
        init_cfg: dict | Sequence[dict] | None = None,
    ) -> None:
        super().__init__(list(init_cfg) if isinstance(init_cfg, tuple) else init_cfg)
        last = len(stages) - 1
        if out_indices is None:
            out_indices = (last,)
        elif isinstance(out_indices, int):
            out_indices = (out_indices,)
        self.out_indices = tuple(out_indices)
        if not self.out_indices or not set(self.out_indices) <= set(range(last + 1)):
            raise ClassroomError(
                f'backbone.out_indices is {self.out_indices}, but a {type(self).__name__} has the '
                f'stages 0 to {last}: name one or more of them.'
            )
        self.stem = stem
        self.stage_names = [f'layer{number}' for number, _ in enumerate(stages, start=1)]
        for name, stage in zip(self.stage_names, stages):
            self.add_module(name, stage)
        self.tail = tail or nn.Identity()

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of ``out_indices``, in the order of the stages.

        Args:
            inputs: ``(N, 3, 32, 32)``; other sizes work, with maps of other sizes.
        """
        features = self.stem(inputs)
        outputs = []
        for index, name in enumerate(self.stage_names):
            features = getattr(self, name)(features)
            if index in self.out_indices:
                is_last = index == len(self.stage_names) - 1
                outputs.append(self.tail(features) if is_last else features)
        return tuple(outputs)


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution without bias, BatchNorm and, by default, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
    ]
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def shuffled(features: Tensor, groups: int) -> Tensor:
    """Channel shuffle: neighbours in the output come from different groups.

    Args:
        features: ``(N, C, H, W)``, C a multiple of ``groups``.
        groups: Number of groups of the convolution.
    """
    return features.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
