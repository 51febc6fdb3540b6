"""Feature maps of stock backbones by stage name, and models that are as before afterwards."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from toys import build, class_batch, classifier, estimator

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.dry_run import gigaflops
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.features import recorded, stage_channels
from mmkd_classroom.functional import finite_samples


def model_with(backbone, neck=None):
    return MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=backbone,
            neck=neck,
            head=dict(type='LinearClsHead', num_classes=4, in_channels=8),
        )
    )


VIT = dict(type='VisionTransformer', arch='deit-t', img_size=(64, 32), patch_size=16)
SWIN = dict(type='SwinTransformer', arch='tiny', img_size=64, pad_small_map=True)
POOL = dict(type='GlobalAveragePooling')

# Model, and for some stages the shape of the map of an image of 64 x 32.
STOCK = dict(
    resnet=(
        lambda: build(classifier()),
        {'layer1': (8, 64, 32), 'layer3.0': (32, 16, 8), 'output': (64, 8, 4)},
    ),
    mobilenet=(
        lambda: model_with(dict(type='MobileNetV2'), POOL),
        {'layer2': (24, 16, 8), 'conv2': (1280, 2, 1)},
    ),
    hrnet=(
        lambda: model_with(dict(type='HRNet', arch='w18')),
        {'stage2': (36, 8, 4), 'output': (144, 2, 1)},  # of several maps the last
    ),
    vit=(lambda: model_with(VIT), {'layers.0': (192, 4, 2), 'layers.11': (192, 4, 2)}),
    swin=(
        lambda: model_with(SWIN, POOL),
        {'stages.1': (192, 8, 4), 'output': (768, 2, 1)},
    ),
)


@pytest.mark.parametrize('name', STOCK)
def test_maps_of_stock_backbones(name):
    make, expected = STOCK[name]
    model = make().eval()
    channels = {stage: shape[0] for stage, shape in expected.items()}
    assert stage_channels(model, list(expected), 'model.student') == channels
    with recorded(model, list(expected)) as maps:
        model.backbone(torch.randn(2, 3, 64, 32))
    assert {stage: tuple(value.shape[1:]) for stage, value in maps.items()} == expected


def test_a_map_is_what_the_stage_gave_with_its_gradient():
    model = build(classifier()).eval()
    inputs, _ = class_batch(2)
    with recorded(model, ['layer2', 'output']) as maps:
        (output,) = model.backbone(inputs)
    assert maps['output'] is output
    backbone = model.backbone
    stem = backbone.relu(backbone.norm1(backbone.conv1(inputs)))
    assert torch.equal(maps['layer2'], backbone.layer2(backbone.layer1(stem)))
    maps['layer2'].sum().backward()
    assert backbone.conv1.weight.grad.abs().max() > 0
    assert backbone.layer3[0].conv1.weight.grad is None


def test_tokens_lie_in_the_map_as_in_the_image():
    """The k-th token after the class token is the patch in row k // columns."""
    model = model_with(VIT).eval()
    seen = []
    model.backbone.layers[3].register_forward_hook(lambda _, __, output: seen.append(output))
    with recorded(model, ['layers.3']) as maps:
        model.backbone(torch.randn(2, 3, 64, 32))
    (tokens,) = seen
    assert tokens.shape == (2, 1 + 8, 192)
    for row in range(4):
        for column in range(2):
            token = tokens[:, 1 + 2 * row + column]
            assert torch.equal(maps['layers.3'][:, :, row, column], token)


def test_no_hook_is_left_behind():
    model = build(classifier())
    with pytest.raises(ZeroDivisionError), recorded(model, ['layer1', 'output']):
        raise ZeroDivisionError
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


@pytest.mark.parametrize('name', STOCK)
def test_looking_leaves_the_model_and_the_random_numbers_alone(name):
    make, expected = STOCK[name]
    model = make().train()
    next(model.backbone.children()).training = False  # as of a frozen stage
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    frozen = [parameter.requires_grad for parameter in model.parameters()]
    state = torch.get_rng_state()
    stage_channels(model, list(expected), 'model.student')
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == frozen
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_input_size_is_the_codec_s():
    """A transformer's position embedding takes no other."""
    model = build(estimator())
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    assert stage_channels(model, ['layer4'], 'model.student') == dict(layer4=64)
    assert seen == [(1, 3, 96, 64)]


def test_an_input_that_is_too_small_is_made_larger():
    model = build(classifier())
    forward = model.backbone.forward

    def picky(x):
        if x.shape[-1] < 100:
            raise RuntimeError('too small')
        return forward(x)

    model.backbone.forward = picky
    assert stage_channels(model, ['layer1'], 'model.student') == dict(layer1=8)


@pytest.mark.parametrize('stage', ['layer9', 'layer1.7', '', 'layer1.'])
def test_a_wrong_stage_is_named_with_those_there_are(stage):
    with pytest.raises(ClassroomError, match=r'model\.mentors\[1\].*no stage.*layer1.*layer4'):
        stage_channels(build(classifier()), [stage], 'model.mentors[1]')


def test_the_members_of_lists_are_among_the_stages():
    with pytest.raises(ClassroomError, match=r"'layers\.0', 'layers\.1'.*'ln1'"):
        stage_channels(model_with(VIT), ['layers'[:-1]], 'model.student')


def test_a_stage_that_does_not_run_is_named():
    model = build(classifier())
    model.backbone.spare = torch.nn.Conv2d(3, 3, 1)
    with pytest.raises(ClassroomError, match=r"does not run its stage 'spare'"):
        stage_channels(model, ['spare'], 'model.student')


def test_an_output_without_a_grid_is_named():
    with pytest.raises(ClassroomError, match=r'gives \(1, 192\).*neither a feature map.*layers\.0'):
        stage_channels(model_with(VIT), ['output'], 'model.student')


def test_a_backbone_that_cannot_run_on_zeros_is_named():
    model = build(classifier())
    model.backbone.conv1 = torch.nn.Conv2d(4, 8, 3)
    with pytest.raises(ClassroomError, match=r'could not be run on an image of zeros'):
        stage_channels(model, ['layer1'], 'model.student')


def test_a_model_without_a_backbone_is_named():
    with pytest.raises(ClassroomError, match=r'model\.student is a Linear without a backbone'):
        stage_channels(torch.nn.Linear(2, 2), ['layer1'], 'model.student')


def test_broken_samples_become_zeros():
    maps = [torch.ones(4, 2, 3, 3), torch.ones(4, 5, 2, 2)]
    maps[0][1, 0, 2, 2] = float('nan')
    maps[1][2, 4, 0, 1] = float('-inf')
    clean, finite = finite_samples(maps)
    assert finite.tolist() == [True, False, False, True]
    for value in clean:
        assert (value[1:3] == 0).all() and (value[[0, 3]] == 1).all()


def grey():
    """A classifier of images with one channel, as MMPretrain's for MNIST."""
    cfg = classifier()
    cfg['backbone'].update(in_channels=1)
    cfg['data_preprocessor'].update(mean=[33.46], std=[78.87], to_rgb=False)
    return cfg


def test_grey_images():
    assert stage_channels(build(grey()), ['layer1'], 'model.student') == dict(layer1=8)
    colours, one = (gigaflops(build(cfg), (32, 32)) for cfg in (classifier(), grey()))
    assert 0 < one < colours


@pytest.mark.parametrize('strategy', ['RunningAdvantage', 'CAMKD', 'AMTML'])
def test_a_classroom_of_grey_images(strategy):
    stages = dict(hints=[dict(student='layer1', mentor='m', stage='layer1')])
    model = MultiMentorDistiller(
        student=build(grey()),
        mentors=[dict(name='m', checkpoint=None, config=dict(model=grey()))],
        strategy=dict(type=strategy, **stages if strategy == 'AMTML' else {}),
    )
    inputs, samples = class_batch(4)
    model.prepare(samples)
    losses = model.loss(inputs[:, :1], samples)
    assert sum(losses.values()).isfinite() and len(losses) > 1


def test_features_without_a_gradient_are_refused():
    cfg = classifier()
    cfg['backbone'].update(frozen_stages=1)
    model = MultiMentorDistiller(
        student=build(cfg).train(),
        mentors=[dict(name='m', checkpoint=None, config=dict(model=classifier()))],
        strategy=dict(type='CAMKD', student_stage='layer1', mentor_stages='layer1'),
    )
    inputs, samples = class_batch(4)
    model.prepare(samples)
    with pytest.raises(ClassroomError, match=r"stage 'layer1' .*frozen_stages.*with_cp"):
        model.loss(inputs, samples)
