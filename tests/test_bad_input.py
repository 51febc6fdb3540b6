"""Whatever a user can get wrong is said by name before the first step of training."""

import functools
import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import TRANSFORMS
from mmengine.runner import Runner
from runs import config

from mmkd_classroom.errors import ClassroomError


@pytest.fixture
def refused(tmp_path, fresh_runners, monkeypatch):
    """``refused(kind, change, message)``: it is refused with a message before the first update."""

    def no_update(*_, **__):
        pytest.fail('the student was updated')

    def check(kind, change, message):
        cfg = config(kind, tmp_path, epochs=1)
        change(cfg)
        monkeypatch.setattr(OptimWrapper, 'update_params', no_update)
        with pytest.raises(ClassroomError) as caught:
            Runner.from_cfg(cfg).train()
        assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)

    return check


def entry(cfg, index=1):
    return cfg.model.mentors[index]


# --- mentors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name, message',
    [
        ('no_such_config.py', 'there is no such file'),
        ('mmpretrain::resnet/no_such.py', 'there is no such config'),
        ('no_package::x.py', "no package 'no_package' is installed"),
    ],
)
def test_an_unknown_mentor_config(name, message, refused):
    def change(cfg):
        entry(cfg).config = name

    refused('classes', change, rf"^model\.mentors\[1\]\.config = '{re.escape(name)}'.* {message}")


def test_a_mentor_config_with_an_error_in_it(refused, tmp_path):
    def change(cfg):
        entry(cfg).config = str(tmp_path / 'broken.py')
        (tmp_path / 'broken.py').write_text('model = dict(type=\n')

    refused('classes', change, r'model\.mentors\[1\]\.config = .*broken\.py')


def test_a_file_is_in_no_zoo(refused):
    def change(cfg):
        entry(cfg).checkpoint = 'zoo'

    refused('classes', change, r"model\.mentors\[1\]\.checkpoint is 'zoo'.*, a file: only configs")


def test_a_missing_checkpoint(refused):
    def change(cfg):
        entry(cfg).checkpoint = 'no_such_file.pth'

    message = r"model\.mentors\[1\]\.checkpoint = 'no_such_file\.pth': there is no such file"
    refused('classes', change, message)


def test_four_missing_checkpoints_are_one_message(refused):
    def change(cfg):
        first = entry(cfg, 0)
        cfg.model.mentors = [dict(first, checkpoint=f'{n}.pth') for n in range(4)]

    parts = [rf"{n + 1}\. model\.mentors\[{n}\]\.checkpoint = '{n}\.pth': there" for n in range(4)]
    refused('classes', change, '.*'.join(['^4 things are wrong:', *parts]))


def test_a_mentor_whose_config_does_not_build(refused, tmp_path):
    def change(cfg):
        resized(cfg, tmp_path, 'type', 'LinearHead')

    message = (
        r'^model\.mentors\[1\]\.config: its model cannot be built \(KeyError: LinearHead is not'
    )
    refused('classes', change, message)


def test_no_checkpoint_named(refused):
    def change(cfg):
        entry(cfg).pop('checkpoint')

    refused('classes', change, r"model\.mentors\[1\] lacks 'checkpoint'")


@pytest.mark.parametrize('kept', [0, 100, 0.5, 0.999])
def test_a_truncated_checkpoint(kept, refused):
    def change(cfg):
        path = Path(entry(cfg).checkpoint)
        content = path.read_bytes()
        size = int(kept * len(content)) if isinstance(kept, float) else kept
        path.write_bytes(content[:size])

    refused('classes', change, r'model\.mentors\[1\]\.checkpoint = .*mentor_1\.pth.*truncated')


@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_the_checkpoint_of_another_width(kind, refused):
    def change(cfg):
        path = Path(entry(cfg).checkpoint)
        weights = torch.load(path)
        name = next(name for name in weights if name.endswith('weight'))
        weights[name] = weights[name][:4]
        torch.save(weights, path)

    refused(kind, change, r'model\.mentors\[1\]\.checkpoint = .*does not fit.*size mismatch')


@pytest.mark.parametrize('surplus', [True, False])
def test_the_checkpoint_of_another_architecture(surplus, refused):
    def change(cfg):
        path = Path(entry(cfg).checkpoint)
        weights = torch.load(path)
        if surplus:
            weights['backbone.layer5.0.conv1.weight'] = torch.zeros(1)
        else:
            weights.pop('backbone.conv1.weight')
        torch.save(weights, path)

    message = 'Unexpected key.*layer5' if surplus else r'Missing key.*backbone\.conv1\.weight'
    refused('classes', change, r'model\.mentors\[1\]\.checkpoint = .*does not fit.*' + message)


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_checkpoint_that_would_run_code(zipped, refused, tmp_path):
    def change(cfg):
        path = Path(entry(cfg).checkpoint)
        content = dict(state_dict=torch.load(path), meta=Bomb(tmp_path / 'exploded'))
        if zipped:
            torch.save(content, path)
        else:
            path.write_bytes(pickle.dumps(dict(meta=Bomb(tmp_path / 'exploded'))))

    refused('classes', change, r'model\.mentors\[1\]\.checkpoint = .*mentor_1\.pth')
    assert not (tmp_path / 'exploded').exists()


def test_a_file_without_weights(refused):
    def change(cfg):
        torch.save(dict(epoch=3), entry(cfg).checkpoint)

    refused('classes', change, r'model\.mentors\[1\]\.checkpoint = .*holds no weights')


def resized(cfg, tmp_path, key, value):
    """Give mentor 1 a config of its own with another size of its head."""
    text = (tmp_path / 'student.py').read_text()
    path = tmp_path / 'other.py'
    path.write_text(f'{text}\nmodel["head"]["{key}"] = {value!r}\n')
    entry(cfg).config = str(path)


def test_another_number_of_classes(refused, tmp_path):
    def change(cfg):
        resized(cfg, tmp_path, 'num_classes', 7)

    refused('classes', change, r'model\.mentors\[1\] knows 7 classes, the student 3')


def test_another_number_of_joints(refused, tmp_path):
    def change(cfg):
        resized(cfg, tmp_path, 'out_channels', 16)

    refused(
        'pose',
        change,
        r'model\.mentors\[1\] has 16 joints, but the data set.* 17: give .*\.metainfo',
    )


def test_a_mentor_that_is_no_dict(refused):
    def change(cfg):
        cfg.model.mentors = dict(cfg.model.mentors[0])  # the brackets are missing

    refused('classes', change, r'^model\.mentors is .*, not a list: write \[dict\(config=')


@pytest.mark.parametrize('mentors', [[], None])
def test_no_mentors(mentors, refused):
    def change(cfg):
        cfg.model.mentors = mentors

    refused('classes', change, r'model\.mentors is empty')


@pytest.mark.parametrize('kind', ['classes', 'pose'])
def test_a_mentor_of_another_task(kind, refused):
    names = dict(
        classes='mmpose::body_2d_keypoint/topdown_heatmap/coco/'
        'td-hm_res50_8xb64-210e_coco-256x192.py',
        pose='mmpretrain::resnet/resnet18_8xb32_in1k.py',
    )

    def change(cfg):
        entry(cfg).config = names[kind]

    message = dict(classes='TopdownPoseEstimator', pose='ImageClassifier')[kind]
    refused(kind, change, rf'model\.mentors\[1\] is a {message}.*choose a mentor of the same task')


# --- task, ranker, strategy ---------------------------------------------------------------------


@pytest.mark.parametrize(
    'kind, ranker',
    [('classes', 'OKSRanker'), ('classes', 'PCKRanker'), ('pose', 'TrueClassRanker')],
)
def test_a_ranker_that_does_not_fit_the_task(kind, ranker, refused):
    def change(cfg):
        cfg.model.ranker = dict(type=f'mmkd_classroom.{ranker}')

    refused(kind, change, rf'model\.ranker is a {ranker}.*the student predicts')


@pytest.mark.parametrize(
    'kind, part, message',
    [
        ('classes', dict(adapter=dict(type='HeatmapAdapter')), 'is an? .*leave the type out'),
        ('pose', dict(adapter=dict(type='ClassificationAdapter')), 'leave the type out'),
        ('pose', dict(adapter=dict(type='OKSRanker')), 'leave the type out'),
        ('pose', dict(adapter=dict(sharpnes=3.0)), r"no option 'sharpnes' \(did you mean 'sharp"),
        ('pose', dict(adapter=dict(key='x')), r"model\.adapter has no option 'key'"),
        ('pose', dict(adapter='HeatmapAdapter'), r'model\.adapter is .*write dict'),
        ('pose', dict(adapter=dict(sharpness=0.0)), r'model\.adapter\.sharpness is 0'),
        (
            'pose',
            dict(ranker=dict(type='PCKRanker', correct_thr=50.0)),
            r'model\.ranker\.correct_thr is 50\.0: it must be between 0 and 1',
        ),
        ('pose', dict(divergence=dict(type='DKD')), r'model\.divergence is DKD.*keypoints'),
        ('classes', dict(divergence=dict(type='MSE')), r'model\.divergence is MSE.*classes'),
        ('classes', dict(divergence=dict(type='DKDD')), r"did you mean 'DKD'"),
        (
            'pose',
            dict(ranker=dict(type='MSE')),
            "'MSE', which is no Ranker that",
        ),
        (
            'pose',
            dict(divergence=dict(type='OKSRanker')),
            "'OKSRanker', which is no Divergence that",
        ),
        ('pose', dict(strategy=dict(type='HeatmapHead')), r'model\.strategy\.type'),
    ],
)
def test_parts_that_do_not_fit_the_student(kind, part, message, refused):
    refused(kind, lambda cfg: cfg.model.update(part), message)


def test_sigmas_for_other_joints(refused):
    def change(cfg):
        cfg.model.ranker = dict(type='OKSRanker', sigmas=[0.1] * 14)

    refused('pose', change, r'model\.ranker\.sigmas has 14 values for 17 joints')


ranked = functools.partial(dict, type='ClassroomKD')


@pytest.mark.parametrize(
    'kind, options, message',
    [
        ('classes', ranked(tau_max=-1.0), r'model\.strategy\.tau_max is -1'),
        (
            'classes',
            ranked(granularity='smaple'),
            r"model\.strategy\.granularity is 'smaple'.*sample",
        ),
        (
            'classes',
            ranked(granularity='keypoint'),
            r"model\.strategy\.granularity is 'keypoint'",
        ),
        (
            'pose',
            ranked(temperature_mode='slow'),
            r"model\.strategy\.temperature_mode is 'slow'",
        ),
        (
            'pose',
            ranked(task_weight='double'),
            r"model\.strategy\.task_weight is 'double'",
        ),
        (
            'pose',
            dict(tau_max=4.0),
            r"strategy has no type, so it is RunningAdvantage, which has no option 'tau_max'",
        ),
        ('pose', dict(weight=-2), r'model\.strategy\.weight is -2'),
        ('pose', dict(temperature=0), r'model\.strategy\.temperature is 0'),
    ],
)
def test_options_of_the_strategy(kind, options, message, refused):
    refused(kind, lambda cfg: cfg.model.update(strategy=options), message)


# --- data ---------------------------------------------------------------------------------------


@TRANSFORMS.register_module()
class Forget:
    """Takes a key out of the results, as a data set that never had it."""

    def __init__(self, key):
        self.key = key

    def __call__(self, results):
        results.pop(self.key)
        return results


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(keypoint_map=['nose']), r"mentors\[1\]\.keypoint_map is \['nose'\]: give a dict"),
        (dict(metainfo=3), r'mentors\[1\]\.metainfo = 3 is no definition of a data set'),
    ],
)
def test_options_of_joints(options, message, refused):
    refused('pose', lambda cfg: entry(cfg).update(options), message)


def test_a_class_map_that_is_none(refused):
    message = r'mentors\[1\]\.class_map is 3: give a list, a dict or the path of a file'
    refused('classes', lambda cfg: entry(cfg).update(class_map=3), message)


def test_two_hooks_for_one_record(refused):
    def change(cfg):
        cfg.custom_hooks = [dict(type='mmkd_classroom.MentoringHook')] * 2

    refused('classes', change, r'custom_hooks has 2 hooks of the kind MentoringHook: keep one')


def test_data_without_visibility_of_the_joints(refused):
    def change(cfg):
        pipeline = cfg.train_dataloader.dataset.pipeline
        pipeline.insert(len(pipeline) - 1, dict(type='Forget', key='keypoints_visible'))

    refused('pose', change, r'keypoints_visible.*train_dataloader\.dataset')


def test_data_without_labels(refused):
    def change(cfg):
        cfg.train_dataloader.dataset.with_label = False
        cfg.train_dataloader.dataset.data_prefix = ''

    refused('classes', change, r'gt_label.*train_dataloader\.dataset')


def test_mentors_that_know_none_of_the_data_s_joints(refused, tmp_path):
    def change(cfg):
        path = tmp_path / 'metainfo.py'
        keypoints = {
            i: dict(name=f'joint_{i}', id=i, color=[0, 0, 0], type='', swap='') for i in range(17)
        }
        path.write_text(
            'dataset_info = dict(dataset_name="robots", skeleton_info={}, '
            f'keypoint_info={json.loads(json.dumps(list(keypoints.values())))!r}, '
            f'joint_weights={[1.0] * 17}, sigmas={[0.05] * 17})\n'
            'dataset_info["keypoint_info"] = dict(enumerate(dataset_info["keypoint_info"]))\n'
        )
        cfg.train_dataloader.dataset.metainfo = dict(from_file=str(path))

    refused('pose', change, r"mentors\[0\] has no joint of the student's.*joint_16.*keypoint_map")
