"""What a stock classifier's output means, and that its own loss is left alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from toys import CLASSES, build, class_batch, classifier, estimator, on_meta

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import kl_divergence
from mmkd_classroom.rankers import OKSRanker, TrueClassRanker
from mmkd_classroom.structures import Prediction
from mmkd_classroom.tasks import ClassificationTask
from mmkd_classroom.tasks.classification import ClassReader, class_indices
from mmkd_classroom.tasks.classifiers import num_classes

LOSSES = dict(
    cross_entropy=dict(type='CrossEntropyLoss', loss_weight=0.7),
    class_weights=dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0, 0.5, 3.0]),
    soft=dict(type='CrossEntropyLoss', use_soft=True),
    smooth=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=CLASSES),
    smooth_of_soft=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=CLASSES),
    smooth_classy_vision=dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='classy_vision', num_classes=CLASSES
    ),
    smooth_multi_label_of_soft=dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='multi_label', use_sigmoid=True
    ),
    smooth_binary=dict(type='LabelSmoothLoss', label_smooth_val=0.1, use_sigmoid=True),  # rsb-a1
    binary_of_soft=dict(type='CrossEntropyLoss', use_sigmoid=True),  # rsb-a3
    weighted_binary_of_soft=dict(
        type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.7,
        class_weight=[1.0, 2.0, 0.5, 3.0], pos_weight=[2.0, 1.0, 4.0, 0.5],
    ),
    focal=dict(type='FocalLoss'),
    focal_of_soft=dict(type='FocalLoss', gamma=1.5),
    asymmetric=dict(type='AsymmetricLoss', use_sigmoid=False),
    asymmetric_of_soft=dict(type='AsymmetricLoss', gamma_pos=1.0),
    seesaw=dict(type='SeesawLoss', num_classes=CLASSES),
)  # fmt: skip


@pytest.fixture(scope='module')
def task():
    return ClassificationTask(TrueClassRanker())


@pytest.mark.parametrize('size', [6, CLASSES])
@pytest.mark.parametrize('per_sample', [False, True])
@pytest.mark.parametrize('loss', LOSSES)
def test_capture_gives_the_stock_loss_and_gradient(task, loss, per_sample, size):
    student = build(classifier(loss=LOSSES[loss], cal_acc=loss == 'cross_entropy'))
    stock = copy.deepcopy(student)
    inputs, samples = class_batch(size, soft='soft' in loss)
    task.check_per_sample(student)
    expected = stock.loss(inputs, samples)
    prediction, losses = task.capture(student, inputs, samples, per_sample)
    assert losses.keys() == expected.keys()
    assert losses['loss'].shape == ((size,) if per_sample else ())
    torch.testing.assert_close(losses['loss'].mean(), expected['loss'])
    losses['loss'].mean().backward()
    expected['loss'].backward()
    for ours, theirs in zip(student.parameters(), stock.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(student.buffers(), stock.buffers()):  # BatchNorm saw the batch once
        assert torch.equal(ours, theirs)
    assert prediction.values.requires_grad and prediction.valid.all()
    assert torch.equal(prediction.values, stock(inputs, mode='tensor'))


@pytest.mark.parametrize('loss', sorted(set(LOSSES) - {'seesaw'}))  # which counts what it saw
def test_losses_per_sample_are_those_of_the_samples_alone(task, loss):
    student = build(classifier(loss=LOSSES[loss])).eval()
    inputs, samples = class_batch(6, soft='soft' in loss)
    losses = task.capture(student, inputs, samples, per_sample=True)[1]['loss']
    alone = [student.loss(inputs[[i]], samples[i : i + 1])['loss'] for i in range(6)]
    torch.testing.assert_close(losses, torch.stack(alone))
    assert losses.std() > 1e-3


@MODELS.register_module()
class SummedLoss(nn.Module):
    """A foreign loss: it gives one number, whatever it is asked for."""

    def forward(self, scores, labels, avg_factor=None, reduction_override=None):
        return F.cross_entropy(scores, labels)


@pytest.mark.parametrize(
    'loss, name',
    [
        (dict(type='mmengine.SummedLoss'), 'SummedLoss'),
        (dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='none'), 'CrossEntropyLoss'),
    ],
)
def test_a_loss_that_cannot_be_split_is_refused_where_it_would_be(loss, name):
    student = build(classifier(loss=loss))
    distiller([dict(classifier(16))], copy.deepcopy(student))
    message = rf"model\.student\.head\.loss is a {name} that cannot be split.*task_weight='one'"
    with pytest.raises(ClassroomError, match=message):
        distiller([dict(classifier(16))], student, task_weight='score')


def test_capture_runs_backbone_and_head_once_and_leaves_no_trace(task):
    student = build(classifier())
    calls = []
    for module in (student.backbone, student.head.fc):
        module.register_forward_hook(lambda *_: calls.append(1))
    before = [set(vars(module)) for module in student.modules()]
    for per_sample in (False, True):
        task.capture(student, *class_batch(4), per_sample)
        assert len(calls) == 2
        calls.clear()
    student.head.loss_module.forward = failing = lambda *_, **__: 1 / 0
    for per_sample in (False, True):
        with pytest.raises(ZeroDivisionError):
            task.capture(student, *class_batch(4), per_sample)
    assert vars(student.head.loss_module).pop('forward') is failing  # what was there comes back
    assert [set(vars(module)) for module in student.modules()] == before


def test_the_truth_is_the_label_or_the_soft_label(task):
    _, samples = class_batch(5)
    truth = task.truth(samples, torch.device('cpu'))
    assert truth.labels.tolist() == [sample.gt_label.item() for sample in samples]
    assert truth.weights.shape == (5, 1) and truth.weights.eq(1).all()
    _, samples = class_batch(5, soft=True)
    truth = task.truth(samples, torch.device('cpu'))
    assert torch.equal(truth.labels, torch.stack([sample.gt_score for sample in samples]))


def test_mixup_of_the_stock_preprocessor_is_understood(task):
    from mmpretrain.registry import MODELS

    preprocessor = MODELS.build(
        dict(
            type='ClsDataPreprocessor', num_classes=CLASSES,
            batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)),
        )
    )  # fmt: skip
    inputs, samples = class_batch(6)
    data = preprocessor(dict(inputs=list(inputs), data_samples=samples), training=True)
    truth = task.truth(data['data_samples'], torch.device('cpu'))
    assert truth.labels.shape == (6, CLASSES)
    assert torch.allclose(truth.labels.sum(-1), torch.ones(6))
    assert (truth.labels.amax(-1) < 1).any()
    task.check_samples(data['data_samples'])


def test_a_mentor_s_values_that_are_not_finite_are_marked_and_removed(task):
    mentor = build(classifier()).eval()
    inputs, _ = class_batch(6)
    expected = mentor(inputs, mode='tensor').detach()
    sick = {1: float('nan'), 3: float('inf'), 4: -float('inf')}

    def poison(module, args, output):
        for index, value in sick.items():
            output[index, 2] = value
        output[5] = torch.tensor([float('inf'), -float('inf'), 0, 0])  # whose sum is NaN

    mentor.head.fc.register_forward_hook(poison)
    with torch.no_grad():
        reader = task.reader(mentor, mentor, 'model.mentors[0]', Config())
        prediction = reader(mentor(inputs, None, mode='tensor'))
    assert prediction.valid[:, 0].tolist() == [True, False, True, False, False, False]
    assert torch.equal(prediction.values[[0, 2]], expected[[0, 2]])
    assert prediction.values[~prediction.valid[:, 0]].eq(0).all()
    truth = task.truth(class_batch(6)[1], torch.device('cpu'))
    scores = task.scores([Prediction(expected), prediction], truth)
    assert scores.shape == (2, 6, 1)
    assert scores[0].gt(0).all() and torch.equal(scores[1] > 0, prediction.valid)


def test_divergence_and_peak(task):
    student, mentor = torch.randn(2, 4, CLASSES)
    tau = 1 + torch.rand(4, 1)
    value = task.divergence(Prediction(student), Prediction(mentor), tau)
    assert value.shape == (4, 1)
    torch.testing.assert_close(value[:, 0], kl_divergence(student, mentor, tau[:, 0]))
    whole = task.divergence(Prediction(student), Prediction(mentor), torch.full((1, 1), 2.0))
    torch.testing.assert_close(whole[:, 0], kl_divergence(student, mentor, torch.full((4,), 2.0)))
    assert torch.equal(task.peak(Prediction(student))[:, 0], student.max(dim=1).values)


def test_scores_have_no_gradient(task):
    logits = torch.randn(4, CLASSES, requires_grad=True)
    truth = task.truth(class_batch(4)[1], torch.device('cpu'))
    members = [Prediction(logits), Prediction(logits)]
    for scores in (task.scores(members, truth), task.batch_scores(members, truth)):
        assert not scores.requires_grad


def test_members_that_do_not_fit_are_refused(task):
    student = build(classifier())
    task.check_student(student)
    task.reader(build(classifier(16)), student, 'model.mentors[0]', Config())
    with pytest.raises(ClassroomError, match=r'model\.mentors\[2\] knows 7 classes.*student 4'):
        task.reader(build(classifier(num_classes=7)), student, 'model.mentors[2]', Config())
    with pytest.raises(ClassroomError, match=r'model\.mentors\[1\] is a TopdownPoseEstimator'):
        task.reader(build(estimator()), student, 'model.mentors[1]', Config())
    with pytest.raises(ClassroomError, match=r'model\.student is a TopdownPoseEstimator'):
        task.check_student(build(estimator()))
    headless = build(classifier())
    headless.head = None
    with pytest.raises(ClassroomError, match=r'model\.student is a ImageClassifier'):
        task.check_student(headless)


def test_a_ranker_of_joints_is_refused():
    with pytest.raises(ClassroomError, match=r'model\.ranker is a OKSRanker.*ranker of classes'):
        ClassificationTask(OKSRanker())


def test_samples_must_have_a_label(task):
    from mmpretrain.structures import DataSample

    task.check_samples(class_batch(2)[1])
    with pytest.raises(ClassroomError, match='no gt_label.*train_dataloader'):
        task.check_samples([DataSample()])


def test_samples_must_have_one_label(task):
    from mmpretrain.structures import DataSample

    with pytest.raises(ClassroomError, match=r'has 2 labels \(gt_label\).*one label a sample'):
        task.check_samples([DataSample().set_gt_label([0, 2])])


@pytest.mark.parametrize('found', [None, 1000])
def test_one_hot_labels_need_the_number_of_classes(task, found):
    def student(known, **preprocessor):
        cfg = classifier()
        cfg['data_preprocessor'].update(num_classes=known, **preprocessor)
        return build(cfg)

    task.check_student(student(found))  # which makes none
    message = rf'^data_preprocessor\.num_classes is {found}, but.*4 classes.*num_classes=4'
    mixup = dict(batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)))
    for option in (mixup, dict(to_onehot=True)):
        with pytest.raises(ClassroomError, match=message):
            task.check_student(student(found, **option))
        task.check_student(student(CLASSES, **option))


# --- heads of all kinds -------------------------------------------------------------------------


def distiller(mentors, student=None, **strategy):
    return MultiMentorDistiller(
        student=student or build(classifier()),
        mentors=[
            dict(config=dict(model=mentor, default_scope='mmpretrain'), checkpoint=None)
            for mentor in mentors
        ],
        task=dict(type='mmkd_classroom.ClassificationTask'),
        ranker=dict(type='mmkd_classroom.TrueClassRanker'),
        strategy=dict(dict(type='mmkd_classroom.ClassroomKD', filter=False), **strategy),
    )


@MODELS.register_module()
class TwoBranches(nn.Module):
    """A neck that gives Conformer's head the features of two branches."""

    def forward(self, features):
        pooled = features[-1].mean(dim=(2, 3))
        return ([pooled, pooled.flip(1)],)


def conformer(**head):
    head = dict(type='ConformerHead', in_channels=[64, 64], num_classes=CLASSES, **head)
    return dict(classifier(), neck=dict(type='mmengine.TwoBranches'), head=head)


@pytest.mark.parametrize('per_sample', [False, True])
def test_conformer_s_two_logits_are_summed_as_it_predicts(task, per_sample):
    student = build(conformer()).eval()
    inputs, samples = class_batch(CLASSES)
    prediction, losses = task.capture(student, inputs, samples, per_sample)
    torch.testing.assert_close(losses['loss'].mean(), student.loss(inputs, samples)['loss'])
    predicted = torch.stack([sample.pred_score for sample in student.predict(inputs)])
    torch.testing.assert_close(prediction.values.softmax(dim=1), predicted)
    member = distiller([conformer()], student).bank[0]
    predicted = torch.stack([sample.pred_score for sample in member.model.predict(inputs)])
    torch.testing.assert_close(member.predict(inputs).values.softmax(dim=1), predicted)


def test_a_network_that_ends_in_a_plain_head_teaches_and_learns():
    """LeNet's head says no number of classes, and its images have one channel."""
    cfg = dict(
        type='ImageClassifier', backbone=dict(type='LeNet5', num_classes=CLASSES),
        head=dict(type='ClsHead'),
        data_preprocessor=dict(mean=[33.46], std=[78.87], num_classes=CLASSES),
    )  # fmt: skip
    student = build(dict(cfg, type='mmpretrain.ImageClassifier'))
    room = distiller([cfg], student, task_weight='score')
    inputs, samples = torch.randn(6, 1, 32, 32), class_batch(6)[1]
    losses = room.loss(inputs, samples)
    assert losses['loss_student'].shape == (6,) and losses['loss_mentors'] > 0
    assert torch.equal(room.bank.predict(inputs)[0].values, room.bank[0].model(inputs))


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
def test_stock_students_of_all_heads_learn(task, name):
    """By shapes, on the meta device."""
    init_default_scope('mmpretrain')
    cfg = get_config(f'mmpretrain::{STOCK[name]}')
    if 'auxiliary' in name:
        cfg.model.backbone.aux_logits = True  # which it has in training alone
    with on_meta():
        student = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    student.to('meta').train()
    task.check_student(student)
    task.check_per_sample(student)
    width, height = task.usual_size(student, cfg)
    samples = class_batch(3)[1]
    for sample in samples:
        sample.set_gt_score(torch.full((1000,), 1e-3))
    samples = [sample.to('meta') for sample in samples]
    inputs = torch.zeros(3, 3, height, width, device='meta')
    prediction, losses = task.capture(student, inputs, samples, per_sample=True)
    assert prediction.values.shape == (3, 1000) and losses['loss'].shape == (3,)
    assert num_classes(student, 'model.student') == 1000


@pytest.mark.parametrize(
    'head, sizes',
    [
        ('MultiLabelClsHead', {}),
        ('MultiLabelLinearClsHead', dict(num_classes=CLASSES, in_channels=64)),
        ('CSRAClsHead', dict(num_classes=CLASSES, in_channels=64, num_heads=1, lam=0.1)),
    ],
)
def test_heads_of_several_labels_are_told_so(task, head, sizes):
    model = build(dict(classifier(), head=dict(type=head, **sizes)))
    message = rf'head is a {head}, which gives a sample several labels: a classroom needs one label'
    with pytest.raises(ClassroomError, match=r'^model\.student\.' + message):
        task.check_student(model)
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[1\]\.' + message):
        task.input_size(model, 'model.mentors[1]')


def test_a_head_of_several_tasks_is_told_so(task):
    tasks = dict(first=classifier()['head'], second=classifier()['head'])
    model = build(dict(classifier(), head=dict(type='MultiTaskHead', task_heads=tasks)))
    with pytest.raises(ClassroomError, match='MultiTaskHead, which gives a sample several labels'):
        task.check_student(model)


@pytest.mark.parametrize(
    'place, kind',
    [
        ('mmpretrain.models.retrievers.image2image', 'an image retriever'),
        ('mmpretrain.models.selfsup.mae', 'a model of self-supervised learning'),
        ('mmpretrain.models.multimodal.clip.clip', 'a multimodal model'),
    ],
)
def test_what_is_no_classifier_is_told_what_it_is(task, place, kind):
    model = type('Other', (BaseModel,), dict(__module__=place, forward=None))()
    with pytest.raises(ClassroomError, match=rf'model\.student is a Other \({kind}\), but model'):
        task.check_student(model)


def test_a_classifier_whose_logits_are_not_its_last_layer_s_is_named():
    model = dict(classifier(), head=dict(type='ClsHead'))
    with pytest.raises(ClassroomError, match='does not tell how many classes.*ClsHead.*no layer'):
        distiller([model])
    with pytest.raises(ClassroomError, match=r'logits of 3 classes, but its last layer has 4'):
        ClassReader(None, 'model.mentors[0]', classes=4)(torch.randn(2, 3))


# --- other classes ------------------------------------------------------------------------------


def classroom(class_map, num_classes=7, config=None):
    mentor = dict(config=dict(model=classifier(16, num_classes=num_classes)), checkpoint=None)
    return MultiMentorDistiller(
        student=build(classifier()),
        mentors=[dict(mentor, class_map=class_map)],
        task=dict(type='mmkd_classroom.ClassificationTask'),
        ranker=dict(type='mmkd_classroom.TrueClassRanker'),
        strategy=dict(type='mmkd_classroom.ClassroomKD'),
    )


def test_a_superset_of_classes_is_mapped(tmp_path):
    inputs = torch.randn(3, 3, 16, 16)
    path = tmp_path / 'map.json'
    path.write_text('[6, 0, 3, 2]')
    for class_map in ([6, 0, 3, 2], {3: 2, 1: 0, 0: 6, 2: 3}, str(path)):
        room = classroom(class_map)
        logits = room.bank[0].model(inputs, None, mode='tensor')
        assert torch.equal(room.bank.predict(inputs)[0].values, logits[:, [6, 0, 3, 2]])


@pytest.mark.parametrize(
    'class_map, message',
    [
        ([0, 1, 2], r'leaves out the classes \[3\]'),
        ([0, 1, 2, 3, 4], r'names \[4\], which it does not have'),
        ([0, 1, 2, 7], r"\[3\] is 7, which is none of the mentor's 7 classes"),
        ([0, 1, 2, 'cat'], r"\[3\] is 'cat'"),
        ([0, 1, 2, 2], r"gives the mentor's class 2 to 2 and to 3"),
        ('nowhere.json', r"= 'nowhere.json' cannot be read"),
    ],
)
def test_a_wrong_class_map_is_named(class_map, message):
    assert CLASSES == 4
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[0\]\.class_map.*' + message):
        classroom(class_map)


def test_a_name_of_two_classes_is_refused():
    with pytest.raises(ClassroomError, match=r"class_map\[0\] is 'crane', a name of several"):
        class_indices(['crane'], 1, 3, ('crane', 'cat', 'crane'), 'model.mentors[0]')


def test_a_head_with_two_outputs_is_refused():
    with pytest.raises(ClassroomError, match=r'model\.mentors\[4\] returned a list instead of'):
        ClassReader(None, 'model.mentors[4]')([torch.randn(2, 3)] * 2)


def test_a_mentor_s_classes_may_be_named():
    """By the data set in its config: CIFAR-10's here."""
    mentor = dict(model=classifier(16, num_classes=10))
    mentor['train_dataloader'] = dict(dataset=dict(type='CIFAR10', data_root='data/cifar10'))
    room = MultiMentorDistiller(
        student=build(classifier()),
        mentors=[
            dict(config=mentor, checkpoint=None, class_map=['cat', 'truck', 0, 'bird']),
        ],
        task=dict(type='mmkd_classroom.ClassificationTask'),
        ranker=dict(type='mmkd_classroom.TrueClassRanker'),
        strategy=dict(type='mmkd_classroom.ClassroomKD'),
    )
    inputs = torch.randn(3, 3, 16, 16)
    logits = room.bank[0].model(inputs, None, mode='tensor')
    assert torch.equal(room.bank.predict(inputs)[0].values, logits[:, [3, 9, 0, 2]])
