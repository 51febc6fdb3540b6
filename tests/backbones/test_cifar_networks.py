"""The literature's CIFAR networks: their size, their maps, and that stock code takes them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import save_checkpoint
from toys import class_batch

from mmkd_classroom.checkpoints import load_weights
from mmkd_classroom.errors import ClassroomError

ROOT = Path(__file__).resolve().parents[2]

# Backbone without its scope, parameters of the whole classifier of 100 classes, and (channels,
# side) of the map that each stage returns.
RESNET = [(16, 32), (32, 16), (64, 8)]
RESNET_X4 = [(64, 32), (128, 16), (256, 8)]
WRN_1 = [(16, 32), (32, 16), (64, 8)]
WRN_2 = [(32, 32), (64, 16), (128, 8)]
VGG = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)]
X4 = (32, 64, 128, 256)
NETWORKS = {
    'resnet8': (dict(type='CifarResNet', depth=8), 83_892, RESNET),
    'resnet14': (dict(type='CifarResNet', depth=14), 181_108, RESNET),
    'resnet20': (dict(type='CifarResNet', depth=20), 278_324, RESNET),
    'resnet32': (dict(type='CifarResNet', depth=32), 472_756, RESNET),
    'resnet44': (dict(type='CifarResNet', depth=44), 667_188, RESNET),
    'resnet56': (dict(type='CifarResNet', depth=56), 861_620, RESNET),
    'resnet110': (dict(type='CifarResNet', depth=110), 1_736_564, RESNET),
    'resnet8x4': (dict(type='CifarResNet', depth=8, widths=X4), 1_233_540, RESNET_X4),
    'resnet32x4': (dict(type='CifarResNet', depth=32, widths=X4), 7_433_860, RESNET_X4),
    'wrn-16-2': (dict(type='CifarWideResNet', depth=16, widen_factor=2), 703_284, WRN_2),
    'wrn-40-1': (dict(type='CifarWideResNet', depth=40), 569_780, WRN_1),
    'wrn-40-2': (dict(type='CifarWideResNet', depth=40, widen_factor=2), 2_255_156, WRN_2),
    'vgg8': (dict(type='CifarVGG', depth=8), 3_965_028, VGG),
    'vgg13': (dict(type='CifarVGG', depth=13), 9_462_180, VGG),
    'mobilenetv2': (
        dict(type='CifarMobileNetV2'),
        812_836,
        [(12, 16), (16, 8), (48, 4), (1280, 2)],
    ),
    'shufflenetv1': (dict(type='CifarShuffleNetV1'), 949_258, [(240, 16), (480, 8), (960, 4)]),
    'shufflenetv2': (dict(type='CifarShuffleNetV2'), 1_355_528, [(116, 16), (232, 8), (1024, 4)]),
    'resnet50': (
        dict(type='mmpretrain.ResNet_CIFAR', depth=50),
        23_705_252,
        [(256, 32), (512, 16), (1024, 8), (2048, 4)],
    ),
}
# What differs in code: one of each family (the others differ in depth), and none of MMPretrain's.
FAMILIES = ['resnet8', 'resnet8x4', 'wrn-16-2', 'vgg8', 'mobilenetv2', 'shufflenetv1']
FAMILIES += ['shufflenetv2']


def backbone(name: str, **options: Any) -> dict:
    cfg = dict(NETWORKS[name][0], **options)
    if '.' not in cfg['type']:
        cfg['type'] = f'mmkd_classroom.{cfg["type"]}'
    return cfg


def classifier(name: str, num_classes: int = 100) -> torch.nn.Module:
    cfg = dict(
        type='ImageClassifier',
        backbone=backbone(name),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=num_classes,
            in_channels=NETWORKS[name][2][-1][0],
            loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        ),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg)


@pytest.mark.parametrize('name', NETWORKS)
def test_parameter_count(name: str) -> None:
    count = sum(parameter.numel() for parameter in classifier(name).parameters())
    assert count == NETWORKS[name][1]


@pytest.mark.parametrize('name', NETWORKS)
def test_maps_of_all_stages(name: str) -> None:
    shapes = NETWORKS[name][2]
    model = MODELS.build(backbone(name, out_indices=tuple(range(len(shapes)))))
    with torch.no_grad():
        maps = model(torch.randn(2, 3, 32, 32))
    assert isinstance(maps, tuple)
    assert [tuple(m.shape) for m in maps] == [(2, c, side, side) for c, side in shapes]
    for number in range(1, len(shapes) + 1):  # what a hint holds on to
        assert isinstance(model.get_submodule(f'layer{number}'), torch.nn.Module)


@pytest.mark.parametrize('name', FAMILIES)
def test_one_stage_alone_gives_the_same_map(name: str) -> None:
    """An activation in place must not change a map that was returned before it."""
    count = len(NETWORKS[name][2])
    model = MODELS.build(backbone(name, out_indices=range(count)))
    inputs = torch.randn(4, 3, 32, 32)
    together = model(inputs)
    for index in range(count):
        alone = MODELS.build(backbone(name, out_indices=index))
        alone.load_state_dict(model.state_dict())
        (single,) = alone(inputs)
        torch.testing.assert_close(single, together[index], rtol=0, atol=0)


@pytest.mark.parametrize('name', FAMILIES)
def test_all_parameters_learn(name: str) -> None:
    model = classifier(name, num_classes=4)
    model.init_weights()
    _, samples = class_batch(4)
    losses = model.loss(torch.randn(4, 3, 32, 32), samples)
    losses['loss'].backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all() and parameter.grad.any(), key


@pytest.mark.parametrize('name', ['resnet20', 'wrn-16-2', 'vgg8', 'mobilenetv2'])
def test_convolutions_start_as_he_et_al_propose(name: str) -> None:
    model = classifier(name)
    model.init_weights()
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    for layer in convolutions:
        out_channels, _, height, width = layer.weight.shape
        expected = (2 / (out_channels * height * width)) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.35)
    # The mean over all layers tells 'fan_out' from 'fan_in'.
    ratio = [m.weight.std() / (2 / (m.weight[:, 0].numel())) ** 0.5 for m in convolutions]
    assert torch.stack(ratio).mean().item() == pytest.approx(1, rel=0.03)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)


@pytest.mark.parametrize('name', FAMILIES)
def test_a_checkpoint_comes_back(name: str, tmp_path) -> None:
    model, other = classifier(name).eval(), classifier(name).eval()
    inputs = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model(inputs)[0], other(inputs)[0])
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'a.pth'))
    load_weights(other, tmp_path / 'a.pth')
    torch.testing.assert_close(other(inputs), model(inputs), rtol=0, atol=0)


def test_a_stock_config_needs_no_custom_imports(tmp_path) -> None:
    """In a process that imports MMEngine and a config, nothing of ours."""
    path = tmp_path / 'config.py'
    path.write_text(
        "default_scope = 'mmpretrain'\n"
        "model = dict(type='ImageClassifier', neck=dict(type='GlobalAveragePooling'),\n"
        "    backbone=dict(type='mmkd_classroom.CifarResNet', depth=20),\n"
        "    head=dict(type='LinearClsHead', num_classes=100, in_channels=64))\n"
    )
    assert 'custom_imports' not in Config.fromfile(path)
    code = (
        'import sys\n'
        'from mmengine.config import Config\n'
        'from mmengine.registry import MODELS, init_default_scope\n'
        "init_default_scope('mmpretrain')\n"
        'model = MODELS.build(Config.fromfile(sys.argv[1]).model)\n'
        'print(sum(p.numel() for p in model.parameters()))\n'
    )
    command = [sys.executable, '-c', code, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert result.stdout.splitlines()[-1:] == ['278324'], result.stderr


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='CifarResNet', depth=18), r'backbone\.depth is 18.*6n \+ 2'),
        (dict(type='CifarResNet', depth=2), r'backbone\.depth is 2.*6n \+ 2'),
        (dict(type='CifarResNet', depth=8, widths=(16, 32)), r'backbone\.widths is \(16, 32\)'),
        (dict(type='CifarResNet', depth=8, strides=(1, 2)), r'backbone\.strides \(1, 2\)'),
        (dict(type='CifarWideResNet', depth=20), r'backbone\.depth is 20.*6n \+ 4'),
        (dict(type='CifarWideResNet', depth=16, strides=(2,)), r'backbone\.strides is \(2,\)'),
        (dict(type='CifarVGG', depth=12), r'backbone\.depth is 12.*\(8, 11, 13, 16, 19\)'),
        (dict(type='CifarMobileNetV2', width=0.01), r'backbone\.width is 0\.01'),
    ],
)
def test_wrong_options_are_named(cfg: dict, message: str) -> None:
    with pytest.raises(ClassroomError, match=message):
        MODELS.build(dict(cfg, type=f'mmkd_classroom.{cfg["type"]}'))


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.parametrize('offset', [-1, 0, 'none'])
def test_wrong_out_indices_are_named(name: str, offset: int | str) -> None:
    count = len(NETWORKS[name][2])
    indices = {-1: (-1,), 0: (0, count), 'none': ()}[offset]
    expected = rf'backbone\.out_indices is .* a Cifar\w+ has the stages 0 to {count - 1}'
    with pytest.raises(ClassroomError, match=expected):
        MODELS.build(backbone(name, out_indices=indices))


def test_strides_set_the_resolution() -> None:
    for cfg in (backbone('resnet8'), backbone('wrn-16-2')):
        model = MODELS.build(dict(cfg, strides=(2, 2, 1), out_indices=(0, 1, 2)))
        assert [m.shape[-1] for m in model(torch.randn(2, 3, 32, 32))] == [16, 8, 8]
