"""Mentors through real training runs: not one bit of them changes, and nothing keeps them.

20 steps with dropout and BatchNorm in the mentors, an averaged student (EMA), bfloat16 autocast,
accumulated and clipped gradients, and validation in between.
"""

import copy

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from runs import WRITERS, assert_unchanged, config, snapshot

from mmkd_classroom.checkpoints import read_checkpoint
from mmkd_classroom.distiller import student_of

EXTRAS = """
custom_hooks = [dict(type='EMAHook', momentum=0.1, update_buffers=True)]
optim_wrapper = dict(
    type='mmkd_classroom.Bf16OptimWrapper', optimizer=dict(type='Adam', lr=1e-3),
    accumulative_counts=2, clip_grad=dict(max_norm=1.0))
"""


def stock_student(cfg):
    """The stock model of the config, built as stock tools do."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = dict(cfg.model.student)
        model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
        return MODELS.build(model)


@pytest.mark.parametrize('kind', WRITERS)
def test_mentors_are_bit_frozen_and_kept_by_nobody(kind, tmp_path, fresh_runners):
    cfg = config(kind, tmp_path, EXTRAS)
    runner = Runner.from_cfg(copy.deepcopy(cfg))
    mentors = list(runner.model.mentors)
    has = [type(module).__name__ for mentor in mentors for module in mentor.model.modules()]
    assert 'BatchNorm2d' in has and (kind != 'classes' or 'Dropout' in has)
    before = snapshot(mentors)
    start = copy.deepcopy(runner.model.state_dict())
    runner.train()

    assert runner.iter == 20
    assert_unchanged(mentors, before)
    trained = runner.model.state_dict()
    changed = [name for name in start if not torch.equal(start[name], trained[name])]
    assert len(changed) > 0.9 * len(start)  # the student's parameters and statistics did
    assert all(value.isfinite().all() for value in trained.values() if value.is_floating_point())

    optimized = [p for group in runner.optim_wrapper.param_groups for p in group['params']]
    ours = {id(tensor) for tensor in mentors[0].model.parameters()}
    ours |= {id(tensor) for tensor in mentors[1].model.parameters()}
    assert not ours & set(map(id, optimized))
    assert list(map(id, optimized)) == list(map(id, student_of(runner.model).parameters()))

    (average,) = [hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model')]
    assert average.module is not runner.model
    assert list(average.module.mentors) == list(runner.model.mentors)
    student = stock_student(cfg)
    size = sum(parameter.numel() for parameter in student.parameters())
    assert sum(parameter.numel() for parameter in average.parameters()) == size

    file = read_checkpoint(tmp_path / 'work' / 'epoch_10.pth')
    stock = student.state_dict()
    assert list(file['state_dict']) == list(stock)
    assert set(file['ema_state_dict']) == {'steps'} | {f'module.{name}' for name in stock}
    entries = len(file['optimizer']['state'])
    assert entries == len(list(student.parameters()))
    text = repr([list(value) for value in file.values() if isinstance(value, dict)])
    assert 'mentor_0.' not in text and 'bank' not in text
    student.load_state_dict(file['state_dict'], strict=True)
    # EMAHook saves the average as the weights and the weights as the average.
    for name, value in student.state_dict().items():
        assert torch.equal(value, average.module.state_dict()[name])
        assert torch.equal(file['ema_state_dict'][f'module.{name}'], trained[name])
    runner.model.load_state_dict(student.state_dict(), strict=True)
