"""Mentors of any head, input size, joint set and precision in one classroom, by the real Runner."""

import itertools

import pytest
import torch
from fixtures import write_pose_config, write_pose_dataset
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from runs import assert_unchanged, snapshot
from toys import INPUT_SIZE, codec, estimator

from mmkd_classroom.errors import ClassroomError


def data_of(name):
    return dict(val_dataloader=dict(dataset=dict(type=name)))


def mentor(name, width=16, kind='msra', size=INPUT_SIZE, data=None, joints=17, **entry):
    head = {} if joints == 17 else dict(out_channels=joints)
    config = dict(model=estimator(width, kind, size, **head), **(data or {}))
    return dict(name=name, config=config, checkpoint=None, **entry)


def every_kind():
    """All heads, larger, smaller and squarer inputs, and three other sets of joints."""
    return [
        mentor('msra'),
        mentor('dark-large', kind='dark', size=(96, 128)),
        mentor('udp-half', kind='udp', precision='bf16', channels_last=True),
        mentor('simcc-square', kind='simcc', size=(96, 96)),
        mentor('smoothed', kind='smoothed', size=(64, 64)),
        mentor('point', kind='point'),
        mentor('rle-large', kind='rle', size=(96, 128), precision='bf16'),
        mentor('dsnt-square', kind='dsnt', size=(96, 96)),
        mentor('offsets', kind='offsets'),
        mentor('aic', joints=14, data=data_of('AicDataset')),
        mentor('wholebody', joints=133, kind='simcc', metainfo='coco_wholebody'),
        mentor('crowdpose', joints=14, metainfo='crowdpose', keypoint_map={'top_head': 'nose'}),
    ]


def classroom(folder, student, mentors, **strategy):
    """The config of a student of one form: two epochs of two steps."""
    base = write_pose_config(folder / 'student.py', write_pose_dataset(folder / 'data'))
    cfg = Config.fromfile(base)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for transform in loader.dataset.pipeline:
            if transform['type'] == 'TopdownAffine':
                transform.update(input_size=INPUT_SIZE, use_udp=student in ('udp', 'offsets'))
            if transform['type'] == 'GenerateTarget':
                transform.encoder = codec(student)
    cfg.model = dict(
        type='mmkd_classroom.MultiMentorDistiller',
        student=estimator(codec_name=student),
        mentors=mentors,
        strategy=dict(dict(type='mmkd_classroom.ClassroomKD', filter=False), **strategy),
    )
    cfg.custom_hooks = [dict(type='mmkd_classroom.MentoringHook', interval=1)]
    cfg.work_dir = str(folder / 'work')
    cfg.experiment_name = folder.name
    return cfg


# Students that heatmaps teach by what is encoded from their joints.
ENCODED = ('point', 'integral', 'dsnt', 'offsets')


@pytest.mark.parametrize(
    'student, granularity',
    [
        *itertools.product(['msra', 'udp', 'simcc', 'smoothed'], ['sample', 'keypoint']),
        *((student, 'keypoint') for student in ('point', 'rle', 'integral', 'dsnt', 'offsets')),
    ],
)
def test_every_kind_of_mentor_teaches(student, granularity, tmp_path):
    runner = Runner.from_cfg(classroom(tmp_path, student, every_kind(), granularity=granularity))
    bank = runner.model.mentors
    before = snapshot(bank)
    start = [parameter.clone() for parameter in runner.model.parameters()]
    runner.train()
    assert_unchanged(bank, before)
    scalars = runner.message_hub.log_scalars
    for member in bank:
        share = scalars[f'mentor/{member.name}/share'].current()
        assert 0 < share < 1, member.name
        assert scalars[f'mentor/{member.name}/invalid'].current() == 0
    # Mentors teach the joints that they have: all 17, or 12 (13 with the map) of them.
    active = {m.name: scalars[f'mentor/{m.name}/active'].current() for m in bank}
    if student in ENCODED:
        # Maps of untrained mentors without a positive value have no joint to draw.
        assert 0 < active['msra'] <= 1 and 0 < active['wholebody'] <= 1
    else:
        assert active['msra'] == active['wholebody'] == pytest.approx(1)
        assert 0.6 < active['aic'] <= active['crowdpose'] < 0.85
    ends = list(runner.model.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(start, ends))
    assert all(parameter.isfinite().all() for parameter in ends)
    weights = torch.load(tmp_path / 'work/epoch_2.pth', weights_only=False)['state_dict']
    MODELS.build(estimator(codec_name=student)).load_state_dict(weights, strict=True)


OTHERS = dict(
    entropy=dict(type='mmkd_classroom.EBKD'),
    confidence=dict(type='mmkd_classroom.CAMKD', student_stage='layer3', mentor_stages='layer4'),
    amtml=dict(
        type='mmkd_classroom.AMTML',
        hints=[
            dict(student='layer3', mentor=name, stage='layer3')
            for name in ('udp-half', 'simcc-square', 'dark-large')
        ],
    ),
)


@pytest.mark.parametrize(
    'student, strategy',
    [
        ('simcc', 'amtml'),
        ('msra', 'amtml'),
        ('point', 'amtml'),
        ('rle', 'entropy'),
        ('simcc', 'confidence'),
        ('msra', 'entropy'),
    ],
)
def test_every_kind_of_mentor_teaches_by_every_strategy(student, strategy, tmp_path):
    cfg = classroom(tmp_path, student, every_kind())
    cfg.model.strategy = OTHERS[strategy]
    cfg.train_cfg.update(max_epochs=1, val_interval=2)
    runner = Runner.from_cfg(cfg)
    before = snapshot(runner.model.mentors)
    start = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    assert_unchanged(runner.model.mentors, before)
    scalars = runner.message_hub.log_scalars
    for member in runner.model.mentors:
        assert 0 < scalars[f'mentor/{member.name}/weight'].current() <= 1, member.name
        assert scalars[f'mentor/{member.name}/invalid'].current() == 0
    for name, parameter in runner.model.named_parameters():
        assert parameter.isfinite().all()
        if name.startswith('strategy.'):
            assert not torch.equal(parameter, start[name]), name
        elif name.startswith('student.head'):
            assert not torch.equal(parameter, start[name]), name


def test_the_mentor_check_reads_every_kind(tmp_path):
    cfg = classroom(tmp_path, 'udp', every_kind())
    cfg.custom_hooks[0].mentor_check = dict(num_samples=8)
    with pytest.raises(ClassroomError, match=r'model\.mentors\[\d\].*is no better than chance'):
        Runner.from_cfg(cfg).train()
    log = next((tmp_path / 'work').rglob('*.log')).read_text()
    assert all(f'\n{entry["name"]} ' in log for entry in every_kind())


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(metainfo='mpii'), r'model\.mentors\[0\] has 14 joints, but the data set .* 16'),
        (dict(metainfo='aic', keypoint_map={'wing': 'nose'}), r"keypoint_map names 'wing'"),
        (dict(metainfo='aic', keypoint_map={'neck': 'wing'}), r"keypoint_map names 'wing'"),
        (
            dict(metainfo='aic', keypoint_map={'neck': 'nose', 'head_top': 'nose'}),
            r"keypoint_map gives two joints of the mentor, 'neck' and 'head_top'",
        ),
        (dict(), r'model\.mentors\[0\] has 14 joints, the student 17.*metainfo'),
        (dict(precision='int8'), r"model\.mentors\[0\]\.precision is 'int8'"),
        (dict(input_size=96), r'model\.mentors\[0\]\.input_size is 96'),
        (
            dict(input_size=(96, 96)),
            r'mentors\[0\]\.input_size is \(96, 96\), but its codec',
        ),
        (dict(class_map=[0]), r"the unknown key 'class_map'"),
    ],
)
def test_a_wrong_entry_is_named_before_training(change, message, tmp_path):
    cfg = classroom(tmp_path, 'msra', [mentor('aic', joints=14, **change)])
    with pytest.raises(ClassroomError, match=message):
        Runner.from_cfg(cfg).train()
    assert not list(tmp_path.rglob('epoch_*.pth'))


@pytest.mark.parametrize('precision', ['fp16', 'bf16', 'fp32'])
@pytest.mark.parametrize('student_amp', [False, True])
def test_a_mentor_keeps_its_own_precision(precision, student_amp, tmp_path):
    cfg = classroom(tmp_path, 'msra', [mentor('one', precision=precision), mentor('two')])
    distiller = MODELS.build(cfg.model).to('cpu').float()
    dtype = dict(fp16=torch.float16, bf16=torch.bfloat16, fp32=torch.float32)[precision]
    seen = []
    for member in distiller.mentors:
        member.model.head.final_layer.register_forward_hook(lambda *a: seen.append(a[2].dtype))
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=student_amp):
        predictions = distiller.mentors.predict(torch.randn(2, 3, *INPUT_SIZE[::-1]))
    assert seen == [dtype, torch.bfloat16 if student_amp else torch.float32]
    assert all(prediction.values[0].isfinite().all() for prediction in predictions)
