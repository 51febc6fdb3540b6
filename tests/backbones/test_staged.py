"""The parts of the backbones."""

import torch
from torch import nn

from mmkd_classroom.backbones.resnet import BasicBlock
from mmkd_classroom.backbones.staged import StagedBackbone, conv_bn, shuffled
from mmkd_classroom.backbones.wide_resnet import PreActBlock


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * self.factor


def test_the_tail_is_applied_to_the_last_stage_alone() -> None:
    stages = [Times(3), Times(5)]
    model = StagedBackbone(Times(2), stages, out_indices=(0, 1), tail=Times(7))
    assert [m.item() for m in model(torch.ones(1))] == [6, 2 * 3 * 5 * 7]
    assert model.layer2(torch.ones(1)) == 5


def test_by_default_the_last_stage_is_returned() -> None:
    (output,) = StagedBackbone(Times(2), [Times(3), Times(5)])(torch.ones(1))
    assert output == 30


def test_shuffled_deals_the_groups_in_turn() -> None:
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffled(channels, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert shuffled(channels, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]
    assert shuffled(channels, 1).flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_conv_bn_has_no_bias_and_keeps_the_resolution() -> None:
    layers = conv_bn(3, 6, kernel_size=5, groups=3)
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert layers[0].bias is None and layers[0].weight.shape == (6, 1, 5, 5)
    assert layers(torch.randn(2, 3, 8, 8)).shape == (2, 6, 8, 8)
    assert len(conv_bn(3, 6, relu=False)) == 2


def silence(module: nn.Module) -> None:
    """Let a residual branch give 0, so that the shortcut is seen."""
    nn.init.zeros_(module.weight)


def test_a_resnet_block_without_residual_is_its_shortcut() -> None:
    block = BasicBlock(4, 4).eval()
    silence(block.residual[1][0])
    inputs = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(block(inputs), inputs.relu())


def test_a_pre_activation_block_projects_the_activated_input() -> None:
    inputs = torch.randn(2, 4, 8, 8)
    same, wider = PreActBlock(4, 4).eval(), PreActBlock(4, 6, stride=2).eval()
    for block in (same, wider):
        silence(block.residual[3])
    torch.testing.assert_close(same(inputs), inputs)
    expected = wider.shortcut(wider.activate(inputs))
    torch.testing.assert_close(wider(inputs), expected)
    assert expected.shape == (2, 6, 4, 4)
