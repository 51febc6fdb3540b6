"""The check of the mentors: who knows the data passes, who does not is named."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fixtures import (
    write_class_config,
    write_class_dataset,
    write_classroom_config,
    write_pose_config,
    write_pose_dataset,
)
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.evaluation import _quiet, spread
from mmkd_classroom.hooks.mentor_check import MentorCheck, _batch_size

CLASSES = 3


@MODELS.register_module()
class Colours(nn.Module):
    """Features that show how near each pixel is to each of some colours, and nothing to learn.

    Args:
        colours: Of pixels as the preprocessor leaves them, ``(D, 3)``.
        width: Distance that counts as near.
    """

    def __init__(self, colours, width):
        super().__init__()
        self.register_buffer('colours', torch.tensor(colours)[None, :, :, None, None])
        self.width = width

    def forward(self, inputs):
        distance = (inputs[:, None] - self.colours).square().sum(dim=2)
        return ((-distance / self.width**2).exp(),)


def class_runner(folder, mentors, images=24, **val):
    """A classroom on images whose class is their colour, stored class by class.

    Args:
        folder: To write into.
        mentors: Of each the weight of the colours in its logits, or None for a random ResNet.
        images: How many.
        val: Of the validation data loader.
    """
    base = write_class_config(folder / 'base.py', write_class_dataset(folder / 'data', images))
    cfg = Config.fromfile(write_classroom_config(folder / 'classroom.py', base, num_mentors=1))
    cfg.val_dataloader.update(val)
    cfg.model.mentors = [
        dict(config=dict(model=knowing_classifier(weight, cfg), default_scope='mmpretrain',
                         data_preprocessor=cfg.data_preprocessor),
             checkpoint=weights(folder / f'{index}.pth', weight, index), name=f'mentor_{index}')
        for index, weight in enumerate(mentors)
    ]  # fmt: skip
    return build_runner(cfg, folder)


def knowing_classifier(weight, cfg):
    if weight is None:
        return cfg.model.student
    # `to_rgb` turns the class, the index in BGR, into 2 - class; 180 of 255 against 60.
    strong, weak = (180 - 127.5) / 60, (60 - 127.5) / 60
    colours = [[strong if 2 - c == channel else weak for channel in range(3)] for c in range(3)]
    return dict(
        type='ImageClassifier',
        backbone=dict(type='Colours', colours=colours, width=2.0),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead', num_classes=CLASSES, in_channels=3,
            loss=dict(type='CrossEntropyLoss'),
        ),
    )  # fmt: skip


def weights(path, weight, seed):
    """Checkpoint of what :func:`knowing_classifier` gives; None for a random network's."""
    if weight is None:
        return None
    colours = knowing_classifier(weight, None)['backbone']['colours']
    torch.save(
        {
            'backbone.colours': torch.tensor(colours)[None, :, :, None, None],
            'head.fc.weight': weight * torch.eye(CLASSES),
            'head.fc.bias': torch.zeros(CLASSES),
        },
        path,
    )
    return str(path)


def build_runner(cfg, folder):
    cfg.work_dir = str(folder / 'work')
    cfg.experiment_name = folder.name
    return Runner.from_cfg(cfg)


def write_scattered(root, images=12, seed=0):
    """People whose 17 joints, dots of a colour each, lie anywhere on a black picture."""
    write_pose_dataset(root, images)
    content = json.loads((root / 'train.json').read_text())
    generator = np.random.default_rng(seed)
    for image, annotation in zip(content['images'], content['annotations']):
        picture = np.zeros((128, 96, 3), np.uint8)
        joints = np.zeros((17, 2))
        for index in range(17):
            while True:  # apart from the others
                joints[index] = generator.uniform([10, 10], [86, 118])
                distance = np.linalg.norm(joints[:index] - joints[index], axis=1)
                if index == 0 or distance.min() > 12:
                    break
            cv2.circle(picture, tuple(int(v) for v in joints[index]), 4, dot(index), -1)
        cv2.imwrite(str(root / 'images' / image['file_name']), picture)
        annotation['keypoints'] = np.c_[joints, np.full(17, 2)].round(2).ravel().tolist()
        annotation['bbox'], annotation['area'] = [0, 0, 95, 127], 8000.0
    (root / 'train.json').write_text(json.dumps(content))
    return root


def dot(joint):
    """BGR colour of a joint: steps of 80 apart from each other."""
    return (95 + 80 * (joint % 3), 95 + 80 * (joint // 3 % 3), 95 + 80 * (joint // 9))


def pose_runner(folder, mentors, evaluator=None, images=12):
    """A classroom whose members are ``'good'`` (they see the colours) or ``'random'``."""
    base = write_pose_config(folder / 'base.py', write_scattered(folder / 'data', images))
    cfg = Config.fromfile(write_classroom_config(folder / 'classroom.py', base, num_mentors=1))
    codec = dict(type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(64, 64), sigma=2)
    mean, std = (torch.tensor(cfg.model.student.data_preprocessor[k]) for k in ('mean', 'std'))
    colours = [((torch.tensor(dot(j)[::-1]) - mean) / std).tolist() for j in range(17)]
    good = dict(
        type='TopdownPoseEstimator',
        data_preprocessor=cfg.model.student.data_preprocessor,
        backbone=dict(type='Colours', colours=colours, width=0.5),
        head=dict(
            type='HeatmapHead', in_channels=17, out_channels=17, deconv_out_channels=None,
            final_layer=None, decoder=codec,
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
        ),
    )  # fmt: skip
    random = dict(good, backbone=dict(type='Colours', colours=np.random.default_rng(1).normal(
        size=(17, 3)).tolist(), width=0.5))  # fmt: skip
    cfg.model.student = dict(good, test_cfg=dict(flip_test=False))
    cfg.model.mentors = [
        dict(config=dict(model=dict(good=good, random=random)[mentor], default_scope='mmpose'),
             checkpoint=None, name=f'{mentor}_{index}')
        for index, mentor in enumerate(mentors)
    ]  # fmt: skip
    if evaluator is not None:
        cfg.val_evaluator = evaluator
    return build_runner(cfg, folder)


def check(runner, **options):
    return MentorCheck(**options).run(runner, runner.model)


def log_of(runner):
    (log,) = Path(runner.log_dir).glob('*.log')
    return log.read_text()


@pytest.mark.parametrize('batch_size', [2, 5, 24])
def test_who_knows_the_classes_passes(batch_size, tmp_path, fresh_runners):
    """However they are batched: the data set is sorted by class."""
    runner = class_runner(tmp_path, [20.0], batch_size=batch_size)
    (row,) = check(runner)
    assert row['name'] == 'mentor_0' and row['metric'] == 'accuracy/top1'
    assert row['score'] == 100 and max(row['chance']) < 80 and len(set(row['chance'])) > 1
    assert row['parameters'] == CLASSES**2 + CLASSES


def test_who_mixes_up_the_classes_is_refused(tmp_path, fresh_runners):
    runner = class_runner(tmp_path, [20.0, -20.0, 20.0])
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[1\] \(mentor_1\) is no better'):
        check(runner)
    log = log_of(runner)
    assert 'Mentor check' in log  # all of them are in the table, also who comes after
    for name in ('mentor_0', 'mentor_1', 'mentor_2', 'accuracy/top1', '100.0000'):
        assert name in log


def test_untrained_mentors_do_not_pass_by_luck(tmp_path, fresh_runners):
    """Each beats a single score on shuffled images as often as not."""
    passed = 0
    for seed in range(6):
        fresh_runners()
        folder = tmp_path / str(seed)
        folder.mkdir()
        torch.manual_seed(seed)
        runner = class_runner(folder, [None], images=60)
        noise = np.random.default_rng(seed)
        for path in sorted((folder / 'data').rglob('*.png')):  # there is nothing to be known
            colour = noise.integers(0, 256, 3, dtype=np.uint8)
            cv2.imwrite(str(path), np.broadcast_to(colour, (36, 36, 3)))
        head = runner.model.mentors[0].model.head  # outputs that vary
        for layer in head.modules():
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, 30.0)
        try:
            check(runner)
            passed += 1
        except ClassroomError:
            pass
    assert passed == 0


@pytest.mark.parametrize('metric', ['PCKAccuracy', 'CocoMetric'])
def test_who_sees_the_joints_passes_and_who_does_not_is_named(metric, tmp_path, fresh_runners):
    evaluator = dict(type='PCKAccuracy', thr=0.1)
    if metric == 'CocoMetric':
        evaluator = dict(type='CocoMetric', ann_file=str(tmp_path / 'data' / 'train.json'))
    runner = pose_runner(tmp_path, ['good', 'random'], evaluator)
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[1\] \(random_1\) is no better'):
        check(runner)
    runner.model.mentors.mentors.pop()
    (row,) = check(runner)
    assert row['metric'] == dict(PCKAccuracy='PCK', CocoMetric='coco/AP')[metric]
    assert row['score'] > 0.9 and max(row['chance']) < 0.5
    log = log_of(runner)
    assert 'Evaluating' not in log and log.count('Mentor check') == 2


def test_a_metric_may_warn_but_not_chat(tmp_path, fresh_runners, capsys):
    logger = MMLogger.get_instance('quiet', log_file=str(tmp_path / 'log'))
    with _quiet():
        logger.info('Evaluating CocoMetric...')
        print('AVER Precision')
        logger.warning('no person was found')
    logger.info('trained on')
    assert [line.split(' - ')[-1] for line in (tmp_path / 'log').read_text().splitlines()] == [
        'no person was found',
        'trained on',
    ]
    assert 'AVER Precision' not in capsys.readouterr().out


def test_ap_counts_the_images_that_are_shown(tmp_path, fresh_runners):
    evaluator = dict(type='CocoMetric', ann_file=str(tmp_path / 'data' / 'train.json'))
    runner = pose_runner(tmp_path, ['good'], evaluator)
    (row,) = check(runner, num_samples=4)
    assert row['score'] > 0.9  # a third of it if the 8 images not shown were misses


def test_nothing_is_changed_by_the_check(tmp_path, fresh_runners):
    runner = class_runner(tmp_path, [20.0])
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    modes = [module.training for module in runner.model.modules()]
    check(runner)
    assert all(torch.equal(before[k], v) for k, v in runner.model.state_dict().items())
    assert [module.training for module in runner.model.modules()] == modes
    assert not any(module.training for module in runner.model.mentors[0].model.modules())


def test_the_metric_and_its_direction_may_be_named(tmp_path, fresh_runners):
    runner = class_runner(tmp_path, [20.0])
    assert check(runner, metric='accuracy/top1')[0]['metric'] == 'accuracy/top1'
    message = r"metric is 'accuracy/top' \(did you mean 'accuracy/top1'\?\): the evaluator reports"
    with pytest.raises(ClassroomError, match=message):
        check(runner, metric='accuracy/top')
    with pytest.raises(ClassroomError, match='no better than chance'):
        check(runner, rule='less')


def test_it_needs_validation_data(tmp_path, fresh_runners):
    runner = class_runner(tmp_path, [20.0])
    runner.cfg.val_evaluator = None
    with pytest.raises(ClassroomError, match='needs val_dataloader and val_evaluator'):
        check(runner)


def test_each_process_needs_two_samples(tmp_path, fresh_runners, monkeypatch):
    """A single one cannot be exchanged for another."""
    monkeypatch.setattr('mmkd_classroom.hooks.mentor_check.get_world_size', lambda: 8)
    runner = class_runner(tmp_path, [20.0])
    with pytest.raises(ClassroomError, match='mentor_check has 15 samples: it needs two for each'):
        check(runner, num_samples=15)


@pytest.mark.parametrize(
    'options, message',
    [(dict(num_samples=1), 'num_samples is 1'), (dict(rule='more'), "rule is 'more'")],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ClassroomError, match=rf'mentor_check\.{message}'):
        MentorCheck(**options)


def test_the_hook_checks_before_training(tmp_path, fresh_runners):
    folder = tmp_path / 'good'
    folder.mkdir()
    runner = class_runner(folder, [-20.0])
    (hook,) = [hook for hook in runner.hooks if type(hook).__name__ == 'MentoringHook']
    hook.mentor_check = MentorCheck()
    with pytest.raises(ClassroomError, match=r'model\.mentors\[0\]'):
        runner.train()
    assert runner.iter == 0 and not list(folder.rglob('epoch_*.pth'))


@given(st.integers(2, 300), st.integers(1, 80))
def test_no_sample_is_left_alone_in_a_batch(samples, wanted):
    size = _batch_size(samples, wanted)
    assert samples % size != 1
    assert size >= wanted
    assert size >= 6  # its own images and five shuffles
    assert size <= max(6, wanted) + 3


@pytest.mark.parametrize(
    'count, expected', [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (50, range(10))]
)
def test_samples_are_spread_over_the_data(count, expected):
    assert spread(range(10), count) == list(expected)
