"""Channels-last changes the strides of a model, and nothing else."""

import copy
from types import SimpleNamespace

import torch
from fixtures import write_class_config, write_class_dataset
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn
from toys import classroom_of

from mmkd_classroom.hooks import ChannelsLastHook


def is_channels_last(weight):
    return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def test_a_step_has_the_same_gradients():
    stock = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    stock = stock.double()
    ours = copy.deepcopy(stock)
    ChannelsLastHook().before_train(SimpleNamespace(model=ours))
    picture = torch.rand(4, 3, 16, 16, dtype=torch.float64)
    for model in (stock, ours):
        model(picture).square().sum().backward()
    assert is_channels_last(ours[0].weight) and not is_channels_last(stock[0].weight)
    for mine, theirs in zip(ours.parameters(), stock.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, check_stride=False)


def test_a_stock_training_keeps_the_strides(tmp_path):
    path = write_class_config(tmp_path / 'cfg.py', write_class_dataset(tmp_path / 'data'))
    cfg = Config.fromfile(path)
    cfg.update(work_dir=str(tmp_path / 'run'), experiment_name='channels_last')
    cfg.custom_hooks = [dict(type='mmkd_classroom.ChannelsLastHook')]
    model = Runner.from_cfg(cfg).train()
    # Of a kernel of one pixel, both formats are the same.
    kernels = [w for w in model.parameters() if w.dim() == 4 and w[0, 0].numel() > 1]
    assert kernels and all(map(is_channels_last, kernels))


def test_mentors_keep_their_own_format():
    classroom = classroom_of('classes')
    ChannelsLastHook().before_train(SimpleNamespace(model=classroom))
    assert is_channels_last(classroom.backbone.conv1.weight)
    assert not any(is_channels_last(m.model.backbone.conv1.weight) for m in classroom.mentors)
