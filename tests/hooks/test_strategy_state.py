"""What a strategy learns, through real runs: saved apart from the student, resumed bit for bit."""

import copy
from itertools import product
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from runs import WRITERS, config

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks.strategy_state import load_strategy, save_strategy

STRATEGIES = dict(
    average=dict(type='mmkd_classroom.AVER'),
    entropy=dict(type='mmkd_classroom.EBKD'),
    advantage=dict(type='mmkd_classroom.RunningAdvantage'),
    confidence=dict(type='mmkd_classroom.CAMKD', feature_weight=1.0, mentor_stages='layer3'),
    amtml=dict(
        type='mmkd_classroom.AMTML',
        hints=[
            dict(student='layer2', mentor='mentor_0', stage='layer3'),
            dict(student='layer3', mentor='mentor_1', stage='layer3'),
        ],
    ),
)
LEARNED = dict(average=0, entropy=0, advantage=1, confidence=4, amtml=4)
EMA = "custom_hooks = [dict(type='EMAHook', momentum=0.1)]"


def config_with(strategy, folder, kind='classes', epochs=2):
    cfg = config(kind, folder, extra=EMA, epochs=epochs)
    cfg.model.strategy = copy.deepcopy(STRATEGIES[strategy])
    cfg.train_cfg.val_interval = 2
    return cfg


def train(cfg, **changes):
    """Train; the runner in the end, and the checkpoint of the last epoch."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(changes)
    runner = Runner.from_cfg(cfg)
    runner.train()
    path = Path(cfg.work_dir) / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    return runner, torch.load(path, weights_only=True)


def equal(one, other):
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    'name, kind',
    [
        ('average', 'classes'),
        ('entropy', 'pose'),
        *product(['advantage', 'confidence', 'amtml'], WRITERS),
    ],
)
def test_a_resumed_run_is_the_undisturbed_one(name, kind, tmp_path, fresh_runners):
    cfg = config_with(name, tmp_path, kind)
    start = copy.deepcopy(Runner.from_cfg(cfg).model.strategy.state_dict())
    fresh_runners()
    whole, expected = train(cfg, work_dir=str(tmp_path / 'whole'))
    fresh_runners()
    train(cfg, work_dir=str(tmp_path / 'parts'), **{'train_cfg.max_epochs': 1})
    fresh_runners()
    resumed, found = train(cfg, work_dir=str(tmp_path / 'parts'), resume=True)

    assert resumed.iter == whole.iter == 4
    assert equal(found['state_dict'], expected['state_dict'])
    assert equal(found['ema_state_dict'], expected['ema_state_dict'])
    assert equal(found.get('classroom', {}), expected.get('classroom', {}))
    states = (saved['optimizer']['state'].values() for saved in (found, expected))
    assert all(equal(one, other) for one, other in zip(*states))

    learned = expected.get('classroom', {})
    assert len(learned) == LEARNED[name]
    assert equal(learned, whole.model.strategy.state_dict())
    assert all(not torch.equal(learned[key], start[key]) for key in learned)
    optimized = [id(p) for group in whole.optim_wrapper.param_groups for p in group['params']]
    assert optimized == [id(p) for p in whole.model.parameters()]
    assert all(id(p) in optimized for p in whole.model.strategy.parameters())


@pytest.mark.parametrize('name', ['confidence', 'amtml'])
def test_a_checkpoint_is_a_student(name, tmp_path, fresh_runners):
    cfg = config_with(name, tmp_path, epochs=1)
    runner, saved = train(cfg)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        student = MODELS.build(dict(cfg.model.student, data_preprocessor=cfg.data_preprocessor))
    assert list(saved['state_dict']) == list(student.state_dict())
    assert set(saved['ema_state_dict']) == {'steps'} | {f'module.{k}' for k in student.state_dict()}
    student.load_state_dict(saved['state_dict'], strict=True)
    runner.model.load_state_dict(saved['state_dict'], strict=True)


def test_another_run_s_weights_come_with_what_it_learned(tmp_path, fresh_runners):
    cfg = config_with('amtml', tmp_path, epochs=1)
    _, saved = train(cfg, work_dir=str(tmp_path / 'first'))
    fresh_runners()
    cfg.load_from = str(tmp_path / 'first' / 'epoch_1.pth')
    runner = Runner.from_cfg(cfg)
    runner.call_hook('before_run')
    runner._init_model_weights()  # as `train` does before it loads
    runner.load_or_resume()
    assert equal(runner.model.strategy.state_dict(), saved['classroom'])


def test_another_strategy_starts_anew_from_its_weights(tmp_path, fresh_runners):
    cfg = config_with('average', tmp_path, epochs=1)
    train(cfg, work_dir=str(tmp_path / 'first'))
    fresh_runners()
    cfg.model.strategy = STRATEGIES['amtml']
    cfg.load_from = str(tmp_path / 'first' / 'epoch_1.pth')
    runner = Runner.from_cfg(cfg)
    before = copy.deepcopy(runner.model.strategy.state_dict())
    runner.call_hook('before_run')
    runner._init_model_weights()  # as `train` does before it loads
    runner.load_or_resume()
    assert equal(runner.model.strategy.state_dict(), before)
    (log,) = Path(runner.log_dir).glob('*.log')
    assert 'model.strategy = AMTML starts anew, not from the checkpoint' in log.read_text()


def test_resuming_another_strategy_is_named(tmp_path, fresh_runners):
    cfg = config_with('average', tmp_path, epochs=1)
    train(cfg)
    fresh_runners()
    cfg.model.strategy = STRATEGIES['amtml']
    with pytest.raises(ClassroomError, match=r"resumed by model\.strategy = AMTML.*'classroom'"):
        train(cfg, resume=True, **{'train_cfg.max_epochs': 2})


def test_other_shapes_are_named():
    strategy = torch.nn.Linear(2, 3)
    checkpoint = dict(classroom=torch.nn.Linear(3, 4).state_dict())
    with pytest.raises(ClassroomError, match=r'Linear.*\(4, 3\).*\(3, 2\)'):
        load_strategy(strategy, ['a'], checkpoint, resume=True)


def test_the_state_of_other_mentors_is_not_taken_over():
    """Their number may be the same."""
    strategy, saved, other = (torch.nn.Linear(2, 3) for _ in range(3))
    checkpoint = {}
    save_strategy(saved, ['a', 'b'], checkpoint)
    with pytest.raises(ClassroomError, match=r"of the mentors \['a', 'b'\].*\['b', 'a'\]"):
        load_strategy(strategy, ['b', 'a'], checkpoint, resume=True)
    before = copy.deepcopy(other.state_dict())
    load_strategy(other, ['b', 'a'], checkpoint, resume=False)
    assert equal(other.state_dict(), before)
    load_strategy(strategy, ['a', 'b'], checkpoint, resume=True)
    assert equal(strategy.state_dict(), saved.state_dict())
