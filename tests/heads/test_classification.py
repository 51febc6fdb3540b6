"""What a stock classifier's output means: logits, labels, predictions and other sets of classes."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample
from torch import nn
from toys import CLASSES, build, class_batch, classifier, on_meta

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import ClassificationAdapter, build_adapter, mentor_adapter
from mmkd_classroom.heads import class_map as class_map_module
from mmkd_classroom.heads.class_map import class_indices

CPU = torch.device('cpu')
KEY = 'model.mentors[0]'


@pytest.fixture(scope='module')
def adapter():
    return build_adapter(build(classifier()))


def output_adapter(student, mentor, config=None, key=KEY, **options):
    theirs = mentor_adapter(mentor, student, key, Config(config or {}))
    return student.output_adapter(theirs, None, **options)


# --- targets ------------------------------------------------------------------------------------


def test_the_targets_are_the_label_or_the_soft_label(adapter):
    _, samples = class_batch(5)
    targets = adapter.targets(samples, CPU)
    assert targets.labels.tolist() == [sample.gt_label.item() for sample in samples]
    assert targets.weights.shape == (5, 1) and targets.weights.eq(1).all()
    _, samples = class_batch(5, soft=True)
    targets = adapter.targets(samples, CPU)
    assert torch.equal(targets.labels, torch.stack([sample.gt_score for sample in samples]))


def test_mixup_of_the_stock_preprocessor_is_understood(adapter):
    mixup = dict(batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)))
    config = classifier()
    config['data_preprocessor'].update(mixup)
    student = build(config)
    inputs, samples = class_batch(6)
    data = dict(inputs=list(inputs), data_samples=samples)
    mixed = student.data_preprocessor(data, training=True)['data_samples']
    adapter.check_samples(mixed)
    labels = adapter.targets(mixed, CPU).labels
    assert labels.shape == (6, CLASSES) and torch.allclose(labels.sum(-1), torch.ones(6))
    assert (labels.amax(-1) < 1).any()
    assert build_adapter(student).soft_labels and not adapter.soft_labels


@pytest.mark.parametrize('found', [None, 1000])
def test_one_hot_labels_need_the_number_of_classes(found):
    def check(known, **preprocessor):
        cfg = classifier()
        cfg['data_preprocessor'].update(num_classes=known, **preprocessor)
        student = build(cfg)
        build_adapter(student).check_student(student, per_sample=False)

    check(found)  # which makes none
    message = rf'^data_preprocessor\.num_classes is {found}, but.*4 classes.*num_classes=4'
    mixup = dict(batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)))
    for option in (mixup, dict(to_onehot=True)):
        with pytest.raises(ClassroomError, match=message):
            check(found, **option)
        check(CLASSES, **option)


def test_samples_must_have_one_label(adapter):
    assert adapter.check_samples(class_batch(2)[1]) is None
    with pytest.raises(ClassroomError, match='no gt_label.*train_dataloader'):
        adapter.check_samples([DataSample()])
    with pytest.raises(ClassroomError, match=r'has 2 labels \(gt_label\).*one label a sample'):
        adapter.check_samples([DataSample().set_gt_label([0, 2])])


# --- predictions --------------------------------------------------------------------------------


def test_logits_are_those_of_the_head(adapter):
    logits = 2 * torch.randn(4, CLASSES)
    prediction = adapter.prediction(*adapter.read(logits))
    assert torch.equal(prediction.logits[0], logits[:, None])
    assert torch.equal(prediction.peaks, logits.amax(dim=1, keepdim=True))
    assert prediction.scale == 1 and prediction.valid.tolist() == [[True]] * 4


def test_a_prediction_is_written_as_the_student_writes_its_own(adapter):
    student = build(classifier()).eval()
    inputs, samples = class_batch(5)
    prediction = adapter.prediction(*adapter.read(student(inputs)))
    written = adapter.write(prediction, samples, student)
    for ours, theirs in zip(written, student.predict(inputs, copy.deepcopy(samples)), strict=True):
        assert torch.equal(ours.pred_label, theirs.pred_label)
        torch.testing.assert_close(ours.pred_score, theirs.pred_score)
        assert torch.equal(ours.gt_label, theirs.gt_label)
    assert not any('pred_label' in sample for sample in samples)


def test_a_mentor_s_values_that_are_not_finite_are_marked_and_removed(adapter):
    output = torch.randn(6, CLASSES)
    expected = output.clone()
    for index, value in {1: torch.nan, 3: torch.inf, 4: -torch.inf}.items():
        output[index, 2] = value
    output[5] = torch.tensor([torch.inf, -torch.inf, 0, 0])  # whose sum is NaN
    prediction = output_adapter(adapter, build(classifier()))(output)
    (values,) = prediction.values
    assert prediction.valid[:, 0].tolist() == [True, False, True, False, False, False]
    assert torch.equal(values[[0, 2], 0], expected[[0, 2]])
    assert values[~prediction.valid[:, 0]].eq(0).all()


def test_an_output_that_is_no_logits_is_refused(adapter):
    convert = output_adapter(adapter, build(classifier()), key='model.mentors[4]')
    with pytest.raises(ClassroomError, match=r'model\.mentors\[4\] returned a list instead of'):
        convert([torch.randn(2, CLASSES)] * 2)
    with pytest.raises(ClassroomError, match=r'logits of 3 classes, but its last layer has 4'):
        convert(torch.randn(2, 3))


def test_a_classifier_without_a_last_layer_is_named():
    model = build(dict(classifier(), head=dict(type='ClsHead')))
    with pytest.raises(ClassroomError, match='does not tell how many classes.*ClsHead.*no layer'):
        build_adapter(model)


# --- networks of all kinds ----------------------------------------------------------------------


@MODELS.register_module()
class TwoBranches(nn.Module):
    """A neck that gives Conformer's head the features of two branches."""

    def forward(self, features):
        pooled = features[-1].mean(dim=(2, 3))
        return ([pooled, pooled.flip(1)],)


@pytest.mark.parametrize('per_sample', [False, True])
def test_conformer_s_two_logits_are_summed_as_it_predicts(per_sample):
    head = dict(type='ConformerHead', in_channels=[64, 64], num_classes=CLASSES)
    config = dict(classifier(), neck=dict(type='mmengine.TwoBranches'), head=head)
    student = build(config).eval()
    adapter = build_adapter(student)
    adapter.check_student(student, per_sample)
    inputs, samples = class_batch(CLASSES)
    prediction, losses = adapter.loss(student, student.loss, inputs, samples, per_sample)
    torch.testing.assert_close(losses['loss'].mean(), student.loss(inputs, samples)['loss'])
    predicted = torch.stack([sample.pred_score for sample in student.predict(inputs)])
    as_mentor = output_adapter(adapter, student)(student(inputs))
    for one in (prediction, as_mentor):
        torch.testing.assert_close(one.logits[0][:, 0].softmax(dim=1), predicted)


def test_a_network_that_ends_in_a_plain_head_teaches_and_learns():
    """LeNet's head says no number of classes, and its images have one channel."""
    cfg = dict(
        type='mmpretrain.ImageClassifier', backbone=dict(type='LeNet5', num_classes=CLASSES),
        head=dict(type='ClsHead'),
        data_preprocessor=dict(mean=[33.46], std=[78.87], num_classes=CLASSES),
    )  # fmt: skip
    room = MultiMentorDistiller(
        student=build(cfg),
        mentors=[dict(config=dict(model=cfg, default_scope='mmpretrain'), checkpoint=None)],
        strategy=dict(type='ClassroomKD', filter=False, task_weight='score'),
    )
    inputs, samples = torch.randn(6, 1, 32, 32), class_batch(6)[1]
    room.prepare(samples)
    losses = room.loss(inputs, samples)
    assert losses['loss_student'].shape == (6,) and losses['loss_mentors'] > 0
    (prediction,) = room.mentors.predict(inputs)
    assert torch.equal(prediction.values[0][:, 0], room.mentors[0].model(inputs))


STOCK = dict(
    vgg='vgg/vgg11_8xb32_in1k.py',
    vgg_with_batchnorm='vgg/vgg16bn_8xb32_in1k.py',
    inception='inception_v3/inception-v3_8xb32_in1k.py',
    inception_with_auxiliary_output='inception_v3/inception-v3_8xb32_in1k.py',
    vig='vig/vig-tiny_8xb128_in1k.py',
    pyramid_vig='vig/pvig-tiny_8xb128_in1k.py',
    conformer='conformer/conformer-tiny-p16_8xb128_in1k.py',
    mixup_in_a_multi_label_head='resnet/resnet50_8xb32-mixup_in1k.py',
    binary='resnet/resnet50_8xb256-rsb-a3-100e_in1k.py',
)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', STOCK)
def test_stock_students_of_all_heads_learn(name):
    """By shapes, on the meta device."""
    init_default_scope('mmpretrain')
    cfg = get_config(f'mmpretrain::{STOCK[name]}')
    if 'auxiliary' in name:
        cfg.model.backbone.aux_logits = True  # which it has in training alone
    with on_meta():
        student = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    student.to('meta').train()
    adapter = build_adapter(student)
    adapter.check_student(student, per_sample=True)
    samples = class_batch(3)[1]
    for sample in samples:
        sample.set_gt_score(torch.full((1000,), 1e-3))
    samples = [sample.to('meta') for sample in samples]
    width, height = ClassificationAdapter(student, KEY, cfg).usual_size
    inputs = torch.zeros(3, 3, height, width, device='meta')
    prediction, losses = adapter.loss(student, student.loss, inputs, samples, per_sample=True)
    assert prediction.values[0].shape == (3, 1, 1000) and losses['loss'].shape == (3,)
    assert adapter.num_classes == 1000


# --- other classes ------------------------------------------------------------------------------


def test_a_mentor_of_other_classes_is_refused(adapter):
    with pytest.raises(ClassroomError, match=r'model\.mentors\[2\] knows 7 classes.*student 4'):
        output_adapter(adapter, build(classifier(num_classes=7)), key='model.mentors[2]')


def test_a_superset_of_classes_is_mapped(adapter, tmp_path):
    path = tmp_path / 'map.json'
    path.write_text('[6, 0, 3, 2]')
    mentor, logits = build(classifier(num_classes=7)), torch.randn(3, 7)
    for class_map in ([6, 0, 3, 2], {3: 2, 1: 0, 0: 6, 2: 3}, str(path)):
        prediction = output_adapter(adapter, mentor, class_map=class_map)(logits)
        assert torch.equal(prediction.values[0][:, 0], logits[:, [6, 0, 3, 2]])


def test_a_mentor_s_classes_may_be_named(adapter):
    """By the data set in its config: CIFAR-10's here."""
    config = dict(train_dataloader=dict(dataset=dict(type='CIFAR10', data_root='data/cifar10')))
    mentor, logits = build(classifier(num_classes=10)), torch.randn(3, 10)
    convert = output_adapter(adapter, mentor, config, class_map=['cat', 'truck', 0, 'bird'])
    assert torch.equal(convert(logits).values[0][:, 0], logits[:, [3, 9, 0, 2]])
    with pytest.raises(ClassroomError, match=r"class_map\[0\] is 'cat'"):  # not trained on CIFAR-10
        seven = build(classifier(num_classes=7))
        output_adapter(adapter, seven, config, class_map=['cat', 1, 2, 3])


@pytest.mark.parametrize(
    'class_map, message',
    [
        ([0, 1, 2], r'leaves out the classes \[3\]'),
        ([0, 1, 2, 3, 4], r'names \[4\], which it does not have'),
        ([0, 1, 2, 7], r"\[3\] is 7, which is none of the mentor's 7 classes"),
        ([0, 1, 2, 'cat'], r"\[3\] is 'cat'"),
        ([0, 1, 2, 'crane'], r"\[3\] is 'crane', a name of several"),
        ([0, 1, 2, 2], r"gives the mentor's class 2 to 2 and to 3"),
        ('nowhere.json', r"= 'nowhere.json' cannot be read"),
        (3, 'is 3: give a list'),
    ],
)
def test_a_wrong_class_map_is_named(class_map, message):
    names = ('crane', 'dog', 'crane', 'd', 'e', 'f', 'g')
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[0\]\.class_map.*' + message):
        class_indices(class_map, 4, 7, names, KEY)


# --- names of classes ---------------------------------------------------------------------------


def named(*classes):
    """A mentor whose config names its classes, with the head of :func:`classifier`."""
    data = dict(train_dataloader=dict(dataset=dict(metainfo=dict(classes=classes))))
    return build(classifier()), data


def compare(adapter, ours, theirs, **options):
    mentor, config = named(*theirs)
    output_adapter(adapter, mentor, config, **options).prepare(dict(classes=ours))


def test_classes_in_another_order_are_refused(adapter):
    theirs = ('bird', 'cat', 'deer', 'dog')
    compare(adapter, theirs, theirs)
    with pytest.raises(ClassroomError, match=r"class 0 is 'dog' here and 'bird' there.*class_map"):
        compare(adapter, theirs[::-1], theirs)
    with pytest.raises(ClassroomError, match='the order differs'):  # though two have other names
        compare(adapter, ['cat', 'bird', 'a', 'b'], theirs)
    compare(adapter, theirs[::-1], theirs, class_map=[3, 2, 1, 0])


def test_classes_of_other_names_are_warned_of(adapter, monkeypatch):
    said = []
    monkeypatch.setattr(class_map_module, 'print_log', lambda text, *_: said.append(text))
    compare(adapter, ['n01', 'n02', 'n03', 'dog'], ['bird', 'cat', 'deer', 'dog'])
    assert "3 of 4 classes have another name in model.mentors[0]'s data set" in said[0]
    # ImageNet has two cranes.
    compare(adapter, ['crane', 'bird', 'crane', 'a'], ['crane', 'bird', 'crane', 'b'])
    assert len(said) == 2


@pytest.mark.parametrize('per_sample', [False, True])
def test_a_margin_of_the_loss_is_not_in_the_prediction(per_sample):
    """ArcFace lowers the logit of the true class while it trains."""
    head = dict(type='ArcFaceClsHead', scale=16.0, margins=0.5)
    student = build(classifier(**head)).eval()
    inputs, samples = class_batch(4)
    ours = build_adapter(student)
    prediction, losses = ours.loss(student, student.loss, inputs, samples, per_sample)
    torch.testing.assert_close(prediction.values[0][:, 0], student(inputs, mode='tensor'))
    expected = student.loss(inputs, samples)['loss']
    torch.testing.assert_close(losses['loss'].mean(), expected)


def test_a_sample_of_two_labels_is_refused_when_it_comes(adapter):
    _, samples = class_batch(4)
    samples[2].set_gt_label([0, 1])
    with pytest.raises(ClassroomError, match='A training sample has 2 labels'):
        adapter.targets(samples, CPU)
