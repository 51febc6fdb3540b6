"""A classifier sees images of the size that it was made for, whatever the student's are."""

from pathlib import Path

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from toys import CLASSES, build, class_batch, classifier, estimator, on_meta

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.mentors.entry import read_entry
from mmkd_classroom.mentors.mentor import Mentor, build_mentor
from mmkd_classroom.metainfo import image_size
from mmkd_classroom.rankers import TrueClassRanker
from mmkd_classroom.heads import ClassificationTask

CONFIGS = Path(mmpretrain.__file__).parent / '.mim/configs'
FAMILIES = sorted(path.name for path in CONFIGS.iterdir() if path.name != '_base_')
NO_CLASSIFIERS = {  # retrieval, text, and features alone
    'arcface', 'blip', 'blip2', 'chinese_clip', 'dinov2', 'flamingo', 'glip', 'itpn', 'llava',
    'minigpt4', 'ofa', 'otter', 'sam',
}  # fmt: skip
EDGE = dict(type='ResizeEdge', scale=256, edge='short')
MIXER = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(
        type='MlpMixer', patch_size=8, img_size=(24, 32),
        arch=dict(embed_dims=16, num_layers=1, tokens_mlp_dims=8, channels_mlp_dims=8),
    ),
    neck=dict(type='GlobalAveragePooling', dim=1),
    head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=16),
)  # fmt: skip


def loader(*pipeline: dict) -> dict:
    return dict(dataset=dict(type='ImageNet', pipeline=[dict(type='Load'), *pipeline]))


def mentor(model: dict | None = None, config: dict | None = None, **options) -> Mentor:
    task = ClassificationTask(TrueClassRanker())
    config = dict(config or {}, model=model or classifier(16), default_scope='mmpretrain')
    entry = dict(config=config, checkpoint=None, **options)
    entry = read_entry(entry, 'model.mentors[3]', task.mentor_options)
    return build_mentor(entry, build(classifier()), task)


@pytest.mark.parametrize(
    'pipeline, expected',
    [
        ([EDGE, dict(type='CenterCrop', crop_size=224)], (224, 224)),
        ([EDGE, dict(type='CenterCrop', crop_size=(192, 256))], (192, 256)),
        ([dict(type='Resize', scale=(256, 256)), dict(type='CenterCrop', crop_size=224)],
         (224, 224)),
        ([dict(type='mmpretrain.Resize', scale=(384, 288), interpolation='bicubic')], (384, 288)),
        ([dict(type='EfficientNetCenterCrop', crop_size=300, crop_padding=32)], (300, 300)),
        ([dict(type='RandomResizedCrop', scale=(64, 32))], (32, 64)),  # height and width
        ([EDGE], None),
        ([dict(type='Resize', scale=(256, 256), keep_ratio=True)], None),
        ([], None),
    ],
)  # fmt: skip
def test_a_pipeline_says_the_size(pipeline, expected):
    assert image_size(Config(dict(test_dataloader=loader(*pipeline)))) == expected


def test_how_it_is_tested_comes_before_how_it_is_trained():
    train = loader(dict(type='RandomCrop', crop_size=32, padding=4))
    test = loader(EDGE, dict(type='CenterCrop', crop_size=48))
    assert image_size(Config(dict(train_dataloader=train, test_dataloader=test))) == (48, 48)
    test = loader(dict(type='PackInputs'))  # CIFAR's images come as they are
    assert image_size(Config(dict(train_dataloader=train, test_dataloader=test))) == (32, 32)
    wrapped = dict(dataset=dict(type='RepeatDataset', times=2, dataset=train['dataset']))
    assert image_size(Config(dict(train_dataloader=wrapped))) == (32, 32)
    assert image_size(Config(dict(train_dataloader=None))) is None


def test_the_mentor_sees_its_own_size():
    tested = dict(test_dataloader=loader(dict(type='Resize', scale=(40, 24))))
    member, inputs = mentor(config=tested), class_batch(2)[0]
    seen = []
    member.model.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    assert member.predict(inputs).values.shape == (2, CLASSES)
    assert seen == [(2, 3, 24, 40)]
    assert mentor(config=tested, input_size=(16, 20)).view.size == (16, 20)
    # Before what the backbone is made for: some transformers are tested larger than built.
    assert mentor(MIXER, tested).view.size == (40, 24)
    assert mentor(MIXER).view.size == (32, 24)


def test_a_mentor_of_the_student_s_size_sees_the_very_batch():
    same = mentor(config=dict(test_dataloader=loader(dict(type='Resize', scale=16))))
    silent = mentor()
    assert (same.view.size, silent.view.size) == ((16, 16), None)
    inputs = class_batch(2)[0]
    assert same.view(inputs) is inputs and silent.view(inputs) is inputs


def test_features_are_looked_for_at_the_mentor_s_size():
    member = mentor(config=dict(test_dataloader=loader(dict(type='Resize', scale=(40, 24)))))
    seen = []
    member.model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    assert member.watch(['layer1'], 'model.mentors[3]') == dict(layer1=16)
    assert seen == [(1, 3, 24, 40)]


def test_a_network_that_cannot_take_the_batch_is_named_with_what_to_give():
    member = mentor(MIXER, input_size=(48, 48))
    with pytest.raises(ClassroomError) as caught:
        member.predict(class_batch(2)[0])
    assert str(caught.value).startswith(
        'model.mentors[3].input_size: MlpMixer cannot take a batch (2, 3, 48, 48) (AssertionError: '
    )
    member = mentor()  # which says no size, and fails as such networks do
    member.model.backbone.forward = lambda x: x.view(1, -1, 7, 7)
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[3\]\.input_size.*\(2, 3, 16, 16\)'):
        member.predict(class_batch(2)[0])


def test_other_errors_are_left_as_they_are():
    member = mentor()

    for kind in (torch.cuda.OutOfMemoryError, ClassroomError):

        def fail(*_, kind=kind):
            raise kind('what it says')

        member.model.backbone.forward = fail
        with pytest.raises(kind, match='^what it says$'):
            member.predict(class_batch(2)[0])
    pose = Mentor('pose', build(estimator()), member.view, member.output_adapter)
    pose.model.backbone.forward = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        pose.predict(torch.zeros(2, 3, 96, 64))


# --- stock configs ------------------------------------------------------------------------------


def first_classifier(family: str) -> Config | None:
    """The first config of a folder that is a classifier with a head."""
    for path in sorted((CONFIGS / family).rglob('*.py')):
        if 'mask-rcnn' in path.name or path.parent.name in ('deploy', '_base_'):
            continue  # MMDetection's; and LeViT's cannot be built
        try:
            config = Config.fromfile(path)
        except (KeyError, RuntimeError):  # a few are broken as they come
            continue
        model = config.get('model', {})
        if model.get('type') == 'ImageClassifier' and model.get('head'):
            return config
    return None


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('family', FAMILIES)
def test_each_family_teaches_a_student_of_160_pixels(family):
    """Without memory or time: shapes alone, on the meta device."""
    init_default_scope('mmpretrain')
    config = first_classifier(family)
    assert (config is None) == (family in NO_CLASSIFIERS)
    if config is None:
        return
    task = ClassificationTask(TrueClassRanker())
    classes = {'lenet': 10}.get(family) or config.model.head.get('num_classes', 1000)
    entry = dict(config=config.to_dict(), checkpoint=None)
    with on_meta():
        cfg = dict(classifier(num_classes=classes), data_preprocessor=config.data_preprocessor)
        student = MODELS.build(cfg)
        if family == 'csra':
            with pytest.raises(ClassroomError, match='one label a sample'):
                build_mentor(read_entry(entry, 'model.mentors[0]'), student, task)
            return
        member = build_mentor(read_entry(entry, 'model.mentors[0]'), student, task)
    member.apply(lambda tensor: tensor.to('meta'))
    channels = len(config.data_preprocessor.mean)
    prediction = member.predict(torch.zeros(2, channels, 160, 160, device='meta'))
    assert prediction.values.shape == (2, classes)
    task.check_student(member.model)
