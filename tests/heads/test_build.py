"""Which models an adapter takes, and what the others are told."""

import re

import pytest
from mmengine.config import Config
from mmengine.model import BaseModel
from toys import CLASSES, INPUT_SIZE, build, classifier, codec, estimator

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import (
    ClassificationAdapter,
    HeatmapAdapter,
    IntegralAdapter,
    OffsetAdapter,
    RegressionAdapter,
    RLEAdapter,
    SimCCAdapter,
    build_adapter,
    mentor_adapter,
)

INTEGRAL = ['integral', 'dsnt']


@pytest.mark.parametrize(
    'model, kind, summary',
    [
        (classifier(), ClassificationAdapter, '4 classes'),
        *((estimator(codec_name=n), HeatmapAdapter, 'heatmap 16x24') for n in ('msra', 'udp')),
        (estimator(codec_name='offsets'), OffsetAdapter, 'discs 16x24 with offsets'),
        (estimator(codec_name='point'), RegressionAdapter, 'coordinates'),
        (estimator(codec_name='rle'), RLEAdapter, 'coordinates with scales'),
        *((estimator(codec_name=n), IntegralAdapter, 'integral of 16x24') for n in INTEGRAL),
        *((estimator(codec_name=n), SimCCAdapter, 'SimCC 128x192') for n in ('simcc', 'smoothed')),
    ],
)
def test_the_head_decides(model, kind, summary):
    model = build(model)
    student = build_adapter(model)
    mentor = mentor_adapter(model, student, 'model.mentors[0]', Config())
    assert type(student) is type(mentor) is kind and student.summary == summary
    assert student.input_size == (None if kind is ClassificationAdapter else INPUT_SIZE)
    named = build_adapter(model, dict(type=f'mmkd_classroom.{kind.__name__}'))
    assert type(named) is kind


def bottom_up():
    from mmpose.models import BottomupPoseEstimator

    config = estimator()
    return BottomupPoseEstimator(config['backbone'], head=config['head'])


def headless():
    model = build(classifier())
    model.head = None
    return model


@pytest.mark.parametrize(
    'model, message',
    [
        (headless, 'is a ImageClassifier without a head'),
        (bottom_up, r"is a BottomupPoseEstimator.* MMPose's TopdownPoseEstimator"),
        (lambda: build(estimator(decoder=None)), r'with a HeatmapHead\. A classroom takes'),
        (
            lambda: build(estimator(decoder=dict(type='RegressionLabel', input_size=INPUT_SIZE))),
            'and the codec RegressionLabel',
        ),
    ],
    ids=['no head', 'bottom-up', 'no codec', 'regression'],
)
@pytest.mark.parametrize('key', ['model.student', 'model.mentors[1]'])
def test_other_models_are_refused_by_name(model, message, key):
    model = model()
    with pytest.raises(ClassroomError, match=message) as caught:
        if key == 'model.student':
            build_adapter(model)
        else:
            mentor_adapter(model, build_adapter(build(classifier())), key, Config())
    assert str(caught.value).startswith(key)


@pytest.mark.parametrize('key', ['model.student', 'model.mentors[1]'])
def test_a_codec_that_needs_more_maps_is_told(key):
    model = build(estimator(decoder=dict(codec('udp'), heatmap_type='combined')))
    message = re.escape(key) + r'\.head\.out_channels is 17, but its codec needs 3 maps per joint'
    with pytest.raises(ClassroomError, match=message):
        if key == 'model.student':
            build_adapter(model)
        else:
            mentor_adapter(model, build_adapter(build(estimator())), key, Config())


@pytest.mark.parametrize(
    'student, mentor, kinds',
    [
        (classifier(), estimator(), ('keypoints', 'classes')),
        (estimator(codec_name='simcc'), classifier(), ('classes', 'keypoints')),
    ],
)
def test_a_mentor_of_another_task_is_refused(student, mentor, kinds):
    message = r'^model\.mentors\[1\] is a {}.*predicts {}, but the student predicts {}'
    message = message.format(mentor['type'].removeprefix('mm').partition('.')[2], *kinds)
    with pytest.raises(ClassroomError, match=message):
        mentor_adapter(build(mentor), build_adapter(build(student)), 'model.mentors[1]', Config())


@pytest.mark.parametrize(
    'place, kind',
    [
        ('mmpretrain.models.retrievers.image2image', 'an image retriever'),
        ('mmpretrain.models.selfsup.mae', 'a model of self-supervised learning'),
        ('mmpretrain.models.multimodal.clip.clip', 'a multimodal model'),
    ],
)
def test_what_is_no_classifier_is_told_what_it_is(place, kind):
    model = type('Other', (BaseModel,), dict(__module__=place, forward=None))()
    with pytest.raises(
        ClassroomError, match=rf'model\.student is a Other \({kind}\)\. A classroom'
    ):
        build_adapter(model)


@pytest.mark.parametrize(
    'head, sizes',
    [
        ('MultiLabelClsHead', {}),
        ('MultiLabelLinearClsHead', dict(num_classes=CLASSES, in_channels=64)),
        ('CSRAClsHead', dict(num_classes=CLASSES, in_channels=64, num_heads=1, lam=0.1)),
        ('MultiTaskHead', dict(task_heads=dict.fromkeys('ab', classifier()['head']))),
    ],
)
def test_heads_of_several_labels_are_told_so(head, sizes):
    model = build(dict(classifier(), head=dict(type=head, **sizes)))
    message = rf'head is a {head}, which gives a sample several labels: a classroom needs one label'
    with pytest.raises(ClassroomError, match=r'^model\.student\.' + message):
        build_adapter(model)
    student = build_adapter(build(classifier()))
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[1\]\.' + message):
        mentor_adapter(model, student, 'model.mentors[1]', Config())


@pytest.mark.parametrize(
    'adapter, message',
    [
        (dict(sharpness=0), r'model\.adapter\.sharpness is 0: it must be positive'),
        (dict(sharpness=-1.5), r'model\.adapter\.sharpness is -1\.5'),
        (dict(sharpnes=2), r"model\.adapter has no option 'sharpnes'.*sharpness"),
        (dict(metainfo='coko'), r"model\.adapter\.metainfo = 'coko'.*such as 'coco'"),
        (dict(type='HeatMapAdapter'), r"model\.adapter\.type is 'HeatMapAdapter'.*HeatmapAdapter"),
        ('HeatmapAdapter', r"model\.adapter is 'HeatmapAdapter': write dict\("),
    ],
)
def test_impossible_options_are_named(adapter, message):
    with pytest.raises(ClassroomError, match=message):
        build_adapter(build(estimator()), adapter)


@pytest.mark.parametrize('kind', ['ClassificationAdapter', 'HeatmapAdapter', 'SimCCAdapter'])
@pytest.mark.parametrize('model', [classifier(), estimator(), estimator(codec_name='simcc')])
def test_an_adapter_that_is_not_the_head_s_is_refused(kind, model):
    model = build(model)
    if type(build_adapter(model)).__name__ == kind:
        return
    with pytest.raises(ClassroomError, match=r'^model\.(adapter|student)'):
        build_adapter(model, dict(type=kind))


@pytest.mark.parametrize('name', ['point', 'integral', 'dsnt'])
def test_heads_to_which_no_heatmap_is_converted_take_no_sharpness(name):
    student = build(estimator(codec_name=name))
    with pytest.raises(ClassroomError, match=r"model\.adapter has no option 'sharpness'"):
        build_adapter(student, dict(sharpness=20.0))
    assert build_adapter(build(estimator(codec_name='rle')), dict(sharpness=20.0)).sharpness == 20
