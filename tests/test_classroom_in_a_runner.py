"""A classroom in MMEngine's Runner, from a config that names a student and mentors, no more."""

import copy
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.utils import get_installed_path
from runs import WRITERS, config

from mmkd_classroom.distiller import Classroom
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.hooks import MentoringHook
from mmkd_classroom.rankers import OKSRanker, PCKRanker

LEARNING = dict(
    advantage=dict(type='RunningAdvantage'),
    amtml=dict(type='AMTML', hints=[dict(student='layer2', mentor='mentor_0', stage='layer3')]),
    confidence=dict(type='CAMKD', feature_weight=1.0, mentor_stages='layer3'),
)


def train(cfg, **changes):
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(changes)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('kind', WRITERS)
def test_student_and_mentors_are_a_whole_classroom(kind, tmp_path, fresh_runners):
    cfg = config(kind, tmp_path, epochs=1)
    assert set(cfg.model) == {'type', 'student', 'mentors'}
    cfg.custom_hooks = cfg.custom_hooks[:-1]  # without the MentoringHook of these tests
    runner = train(cfg)
    assert isinstance(runner.model, Classroom)
    (log,) = Path(runner.log_dir).glob('*.log')
    text = log.read_text()
    assert 'The classroom:' in text and 'mentor_1' in text
    assert "By these figures a step costs 1.7 times the student's alone." in text
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        preprocessor = cfg.get('data_preprocessor')
        stock = MODELS.build(
            {**cfg.model.student, 'data_preprocessor': preprocessor}
            if preprocessor
            else cfg.model.student
        )
    saved = torch.load(Path(cfg.work_dir) / 'epoch_1.pth', weights_only=True)
    stock.load_state_dict(saved['state_dict'], strict=True)
    records = [
        json.loads(line) for line in next(Path(cfg.work_dir).rglob('mentoring.jsonl')).open()
    ]
    assert list(records[-1]['mentors']) == ['mentor_0', 'mentor_1']


def test_hooks_of_the_config_are_kept(tmp_path, fresh_runners):
    cfg = config('classes', tmp_path, epochs=1)
    cfg.custom_hooks = [dict(type='mmkd_classroom.MentoringHook', interval=1, weight=0.5)]
    runner = train(cfg)
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, MentoringHook))
    assert hook.interval == 1 and runner.model.strategy.weight == 0.5


@pytest.mark.parametrize('name', LEARNING)
def test_what_a_strategy_learns_survives_without_naming_a_hook(name, tmp_path, fresh_runners):
    cfg = config('classes', tmp_path, epochs=2)
    cfg.custom_hooks = []
    cfg.model.strategy = LEARNING[name]
    whole = train(cfg, work_dir=str(tmp_path / 'whole'))
    fresh_runners()
    train(cfg, work_dir=str(tmp_path / 'parts'), **{'train_cfg.max_epochs': 1})
    fresh_runners()
    resumed = train(cfg, work_dir=str(tmp_path / 'parts'), resume=True)
    assert whole.model.strategy.state_dict()
    for one, other in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(one, other)


# --- joints in input space ----------------------------------------------------------------------


@HOOKS.register_module()
class PacksNothing(Hook):
    """Puts a pipeline into place that does not pack the joints, as RTMPose's configs do."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def before_train_epoch(self, runner):
        from mmpose.registry import TRANSFORMS

        if runner.epoch == 1:
            runner.train_dataloader.dataset.pipeline.transforms = [
                TRANSFORMS.build(transform) for transform in self.pipeline
            ]
            runner.train_dataloader._iterator = None  # persistent workers start anew


@pytest.mark.parametrize('workers', [0, 1])
def test_joints_are_packed_in_every_pipeline(workers, tmp_path, fresh_runners):
    cfg = config('pose', tmp_path, epochs=2)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert not pipeline[-1].get('pack_transformed')
    cfg.custom_hooks = [dict(type='PacksNothing', pipeline=copy.deepcopy(pipeline))]
    cfg.merge_from_dict(
        {
            'train_dataloader.num_workers': workers,
            'train_dataloader.persistent_workers': workers > 0,
        }
    )
    assert train(cfg).iter == 4


@pytest.mark.parametrize('workers', [0, 1])
def test_joints_are_packed_in_training_by_iterations(workers, tmp_path, fresh_runners):
    cfg = config('pose', tmp_path)
    cfg.train_cfg = dict(by_epoch=False, max_iters=3, val_interval=10)
    cfg.merge_from_dict(
        {
            'train_dataloader.num_workers': workers,
            'train_dataloader.persistent_workers': workers > 0,
            'train_dataloader.sampler.type': 'InfiniteSampler',
        }
    )
    cfg.param_scheduler = None
    assert train(cfg).iter == 3


def test_joints_are_packed_in_wrapped_data_sets(tmp_path, fresh_runners):
    cfg = config('pose', tmp_path, epochs=1)
    dataset = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[dataset])
    )
    assert train(cfg).iter == 4


# --- mistakes -----------------------------------------------------------------------------------


def wrong(change, message, tmp_path):
    cfg = config('classes', tmp_path)
    change(cfg)
    with pytest.raises(ClassroomError, match=message):
        Runner.from_cfg(cfg)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda model: model.pop('student'), r'model\.student is missing.*student=_base_\.model'),
        (lambda model: model.pop('mentors'), r'model\.mentors is empty'),
        (
            lambda model: model.update(stratgy=dict(type='AMTML')),
            r"model has no option 'stratgy' \(did you mean 'strategy'\?\)",
        ),
        (
            lambda model: model.update(backbone=dict(), neck=dict(), head=dict()),
            r"\['backbone', 'head', 'neck'\].*_delete_=True",
        ),
        (
            lambda model: model.update(strategy=dict(type='ClassroomKD', taumax=4)),
            r"model\.strategy has no option 'taumax' \(did you mean 'tau_max'\?\)",
        ),
        (
            lambda model: model.update(strategy=dict(type='ClassroomKD', tau_max='4')),
            r"model\.strategy\.tau_max is '4', a str: give a number or None",
        ),
        (
            lambda model: model.update(strategy=dict(type='ClassroomKD', filter=1)),
            r'model\.strategy\.filter is 1, a int: give True or False',
        ),
        (
            lambda model: model.update(strategy=dict(type='mmkd.ClassroomKd')),
            r"model\.strategy\.type is 'mmkd\.ClassroomKd'.*did you mean 'ClassroomKD'",
        ),
        (lambda model: model.update(strategy='AMTML'), r"model\.strategy is 'AMTML': write dict"),
        (
            lambda model: model.update(ranker=dict(type='TrueClassRanker', thr=0.2)),
            r"model\.ranker has no option 'thr'. It takes: none",
        ),
        (lambda model: model.update(student=3), r'model\.student is 3'),
        (
            lambda model: model.student.backbone.update(type='ResNt'),
            r'model\.student cannot be built \(KeyError: .*ResNt',
        ),
        (
            lambda model: model.__setitem__('student', copy.deepcopy(model)),
            r'model\.student is a classroom itself',
        ),
    ],
)
def test_mistakes_are_named_before_training(change, message, tmp_path, fresh_runners):
    wrong(lambda cfg: change(cfg.model), message, tmp_path)


@pytest.mark.parametrize('name', ['ClassroomKD', 'mmkd_classroom.ClassroomKD'])
def test_the_prefix_may_be_left_out(name, tmp_path, fresh_runners):
    cfg = config('classes', tmp_path)
    cfg.model.strategy = dict(type=name, tau_max=3)
    assert Runner.from_cfg(cfg).model.strategy.tau_max == 3


# --- what is not said is chosen -----------------------------------------------------------------


def without_sigmas(folder):
    """COCO's definition as that of a data set without sigmas."""
    meta = get_installed_path('mmpose') + '/.mim/configs/_base_/datasets/coco.py'
    text = Path(meta).read_text() + "\ndataset_info['sigmas'] = []\n"
    text += "dataset_info['dataset_name'] = 'unmeasured'\n"
    path = folder / 'unmeasured.py'
    path.write_text(text)
    return dict(from_file=str(path))


@pytest.mark.parametrize('measured, ranker', [(True, OKSRanker), (False, PCKRanker)])
def test_joints_are_ranked_by_what_their_data_set_allows(measured, ranker, tmp_path, fresh_runners):
    cfg = config('pose', tmp_path, epochs=1)
    if not measured:
        cfg.train_dataloader.dataset.metainfo = without_sigmas(tmp_path)
    runner = train(cfg)
    assert type(runner.model.ranker) is ranker
    (log,) = Path(runner.log_dir).glob('*.log')
    assert f'RunningAdvantage by KLDivergence, scored by {ranker.__name__}.' in log.read_text()


def test_a_mentor_with_other_joints_is_not_let_in_silently(tmp_path, fresh_runners):
    """MPII's 16 joints have 12 of COCO's 17."""
    cfg = config('pose', tmp_path, epochs=1)
    mpii = Config.fromfile(tmp_path / 'student.py')
    mpii.model.head.out_channels = 16
    mpii.merge_from_dict(
        {
            f'{name}_dataloader.dataset.metainfo': dict(from_file='configs/_base_/datasets/mpii.py')
            for name in ('train', 'val', 'test')
        }
    )
    cfg.model.mentors[1] = dict(config=mpii.to_dict(), checkpoint=None, name='mpii')
    (log,) = Path(train(cfg).log_dir).glob('*.log')
    text = log.read_text()
    assert '12 of 17 joints' in text
    assert (
        'model.mentors[1] (mpii) does not teach: nose, left_eye, right_eye, left_ear, right_ear'
    ) in text


@HOOKS.register_module()
class RandomState(Hook):
    """Notes the random state before or after the hook of the classroom."""

    def before_train(self, runner):
        self.seen = [
            hashlib.sha256(repr(state).encode()).hexdigest()
            for state in (random.getstate(), np.random.get_state(), torch.get_rng_state().tolist())
        ]


@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_looking_at_the_data_draws_no_random_numbers(kind, tmp_path, fresh_runners):
    """So a training by iterations, which no hook seeds, is that of the student alone."""
    cfg = config(kind, tmp_path, epochs=1)
    cfg.custom_hooks = [dict(type='RandomState', priority=p) for p in ('HIGHEST', 'HIGH')]
    runner = train(cfg)
    before, after = (hook.seen for hook in runner.hooks if isinstance(hook, RandomState))
    assert before == after
