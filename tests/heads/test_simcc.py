"""SimCC students: their stock loss, what is distilled, and mentors of every other form."""

import copy
import itertools

import pytest
import torch
from mmengine.config import Config
from mmpose.registry import KEYPOINT_CODECS
from toys import INPUT_SIZE, JOINTS, build, classifier, codec, estimator, pose_batch

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import kl_divergence
from mmkd_classroom.mentors.view import fit
from mmkd_classroom.metainfo import joint_names, read_metainfo
from mmkd_classroom.rankers import OKSRanker
from mmkd_classroom.structures import Prediction
from mmkd_classroom.tasks import HeatmapTask, SimCCTask
from mmkd_classroom.tasks.forms import SimCCForm, form_of

CPU = torch.device('cpu')
KINDS = ['simcc', 'smoothed']


@pytest.fixture(scope='module')
def task():
    return SimCCTask(OKSRanker())


def student_of(kind, **head):
    student = build(estimator(codec_name=kind, **head))
    SimCCTask(OKSRanker()).check_student(student)
    return student


# --- the student's own loss ---------------------------------------------------------------------


@pytest.mark.parametrize('accuracy', [False, True])
@pytest.mark.parametrize('per_sample', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_capture_gives_the_stock_loss_and_gradient(task, kind, per_sample, accuracy):
    student = student_of(kind)
    student.train_cfg['compute_acc'] = accuracy
    stock = copy.deepcopy(student)
    inputs, samples = pose_batch(4, codec_name=kind)
    expected = stock.loss(inputs, samples)
    prediction, losses = task.capture(student, inputs, samples, per_sample)
    assert losses.keys() == ({'loss_kpt', 'acc_pose'} if accuracy else {'loss_kpt'})
    assert losses['loss_kpt'].shape == ((4,) if per_sample else ())
    torch.testing.assert_close(losses['loss_kpt'].mean(), expected['loss_kpt'])
    losses['loss_kpt'].mean().backward()
    expected['loss_kpt'].backward()
    for ours, theirs in zip(student.parameters(), stock.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    x, y = prediction.values
    assert x.shape == (4, JOINTS, 2 * INPUT_SIZE[0]) and y.shape == (4, JOINTS, 2 * INPUT_SIZE[1])
    for ours, theirs in zip((x, y), stock(inputs, None, mode='tensor')):
        assert ours.requires_grad and torch.equal(ours, theirs)


@pytest.mark.parametrize('kind', KINDS)
def test_losses_per_sample_are_those_of_the_samples_alone(task, kind):
    student = student_of(kind).eval()
    inputs, samples = pose_batch(4, codec_name=kind)
    losses = task.capture(student, inputs, samples, per_sample=True)[1]['loss_kpt']
    alone = [student.loss(inputs[[i]], samples[i : i + 1])['loss_kpt'] for i in range(4)]
    torch.testing.assert_close(losses, 4 * torch.stack(alone))  # the stock loss is a sum


# --- what is distilled --------------------------------------------------------------------------


def predictions(beta=10.0, samples=3):
    form = SimCCForm(KEYPOINT_CODECS.build(codec('simcc')), beta)
    return [
        Prediction(tuple(torch.rand(samples, JOINTS, 2 * size) for size in INPUT_SIZE), form)
        for _ in range(2)
    ]


def test_the_divergence_is_the_sum_over_the_axes_with_the_head_s_beta(task):
    student, mentor = predictions()
    tau = 1 + torch.rand(3, 1)
    value = task.divergence(student, mentor, tau)
    assert value.shape == (3, JOINTS)
    for i, j in [(0, 0), (2, 5), (1, 16)]:
        expected = sum(
            3 / len(ours[i, j]) * kl_divergence(10 * ours[i, j], 10 * theirs[i, j], tau[i, 0])
            for ours, theirs in zip(student.values, mentor.values)
        )
        torch.testing.assert_close(value[i, j], expected)
    peaks = [10 * (axis.amax(-1) - axis.amin(-1)) for axis in student.values]
    torch.testing.assert_close(task.peak(student), sum(peaks) / 2)


def test_an_item_s_divergence_is_a_stock_loss_of_that_target(task):
    """With the mentor's own distribution as labels, KLDiscretLoss gives the same number."""
    from mmpose.models.losses import KLDiscretLoss

    student, mentor = predictions()
    stock = KLDiscretLoss(beta=10.0, use_target_weight=False)
    targets = tuple((10 * axis).softmax(-1) for axis in mentor.values)
    expected = stock(student.values, targets, None)
    ours = task.divergence(student, mentor, torch.ones(3, 1)).mean(-1).mean()
    torch.testing.assert_close(ours, expected)


def test_a_divergence_from_probabilities_is_the_same(task):
    student, mentor = predictions()
    tau = torch.full((3, 1), 2.5)
    target = task.probabilities(mentor, tau)
    torch.testing.assert_close(
        task.divergence_from(target, student, tau), task.divergence(student, mentor, tau)
    )


@pytest.mark.parametrize('kind', KINDS)
def test_who_gives_the_training_labels_scores_one(task, kind):
    _, samples = pose_batch(8, codec_name=kind, unlabelled=0)
    labels = [sample.gt_instance_labels for sample in samples]
    form = SimCCForm(KEYPOINT_CODECS.build(codec(kind)))
    perfect = tuple(
        torch.cat([label[f'keypoint_{axis}_labels'] for label in labels]) for axis in 'xy'
    )
    shifted = tuple(axis.roll(20, dims=-1) for axis in perfect)
    truth = task.truth(samples, CPU)
    score = task.sample_scores([Prediction(perfect, form), Prediction(shifted, form)], truth)
    assert (score[0] > 0.97).all() and (score[1] < score[0] - 0.2).all()


# --- every form teaches every form --------------------------------------------------------------

FORMS = ['msra', 'dark', 'udp', 'simcc', 'smoothed']
SIZES = [INPUT_SIZE, (96, 128), (64, 64)]


def task_of(kind):
    return (SimCCTask if kind in KINDS else HeatmapTask)(OKSRanker())


def read(task, mentor, student, output, geometry=None):
    reader = task.reader(mentor, student, 'model.mentors[0]', Config(), geometry)
    reader.bind(None)
    return reader(output)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('mentor, student', itertools.product(FORMS, repeat=2))
def test_a_mentor_s_word_has_the_student_s_shape_and_teaches(mentor, student, size):
    task = task_of(student)
    teacher = build(estimator(16, mentor, size), seed=1).eval()
    pupil = build(estimator(codec_name=student))
    task.check_student(pupil)
    inputs, samples = pose_batch(3, codec_name=student)
    prediction, _ = task.capture(pupil, inputs, samples, False)
    content, geometry = fit(INPUT_SIZE, size)
    with torch.no_grad():
        output = teacher(torch.randn(3, 3, size[1], size[0]), None, mode='tensor')
    word = read(task, teacher, pupil, output, geometry)
    for ours, theirs in zip(task.logits(prediction), task.logits(word)):
        assert ours.shape == theirs.shape and theirs.isfinite().all()
    divergence = task.divergence(prediction, word, torch.full((3, 1), 2.0))
    assert divergence.shape == (3, JOINTS) and (divergence > -1e-5).all()
    divergence.sum().backward()
    assert all(p.grad.isfinite().all() for p in pupil.parameters() if p.grad is not None)
    assert word.joints.shape == (3, JOINTS, 2) and word.valid.all()
    assert task.scores([prediction, word], task.truth(samples, CPU)).isfinite().all()


@pytest.mark.parametrize('kind', KINDS)
def test_values_that_are_not_finite_are_marked_and_removed(task, kind):
    teacher = build(estimator(16, kind)).eval()
    inputs, samples = pose_batch(4, codec_name=kind, unlabelled=0)
    with torch.no_grad():
        x, y = teacher(inputs, None, mode='tensor')
    y[1, 3, 2] = float('nan')
    x[2, 0, 0] = float('inf')
    word = read(task, teacher, teacher, (x, y))
    assert word.valid[:, 0].tolist() == [True, False, False, True]
    assert all(axis[[1, 2]].eq(0).all() and axis.isfinite().all() for axis in word.values)
    assert task.scores([word], task.truth(samples, CPU))[0, [1, 2]].eq(0).all()


def test_the_joints_of_other_sets_are_matched(task):
    """An AIC mentor of a COCO student: 12 limbs in another order, and nothing of the face."""
    teacher = build(estimator(16, 'msra', out_channels=14)).eval()
    pupil = student_of('simcc')
    inputs, samples = pose_batch(2, codec_name='simcc', unlabelled=0)
    config = Config(dict(val_dataloader=dict(dataset=dict(type='AicDataset'))))
    reader = task.reader(teacher, pupil, 'model.mentors[0]', config)
    reader.bind(task.item_names(samples))
    with torch.no_grad():
        maps = teacher(inputs, None, mode='tensor')
    word = reader(maps)
    own = HeatmapTask(OKSRanker()).judged(Prediction(maps, reader._mentor))
    # COCO: 5 left shoulder, 10 right wrist. AIC: 3 left shoulder, 2 right wrist.
    assert torch.equal(word.joints[:, 5], own[:, 3]) and torch.equal(word.joints[:, 10], own[:, 2])
    has = [False] * 5 + [True] * 12
    assert word.valid.tolist() == [has, has]
    truth = task.truth(samples, CPU)
    scores = task.scores([word, word], truth)
    assert scores[..., :5].eq(0).all()
    labelled = (truth.weights > 0) & torch.tensor(has)
    expected = (scores[0] * labelled).sum(-1) / labelled.sum(-1)
    torch.testing.assert_close(task.sample_scores([word, word], truth)[0], expected)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    'kind, model, message',
    [
        ('simcc', estimator(), 'codec MSRAHeatmap, but model.task is a SimCCTask'),
        (
            'msra',
            estimator(codec_name='simcc'),
            'codec SimCCLabel, but model.task is a HeatmapTask',
        ),
        ('simcc', classifier(), 'is a ImageClassifier, but model.task is for poses'),
    ],
)
def test_other_students_are_refused(kind, model, message):
    with pytest.raises(ClassroomError, match='^model.student.*' + message):
        task_of(kind).check_student(build(model))


def reader_for(task, joints, config=None, **options):
    mentor = build(estimator(16, out_channels=joints))
    return task.reader(
        mentor, student_of('simcc'), 'model.mentors[1]', Config(config or {}), **options
    )


def test_a_mentor_whose_joints_nobody_names_is_refused(task):
    with pytest.raises(ClassroomError, match=r'model\.mentors\[1\] has 14 joints, the student 17'):
        reader_for(task, 14)
    with pytest.raises(ClassroomError, match=r'give model\.mentors\[1\]\.metainfo'):
        reader_for(task, 17, keypoint_map={'nose': 'nose'})


def test_a_metainfo_of_other_joints_is_refused(task):
    with pytest.raises(ClassroomError, match=r'14 joints, but the data set of its config 17'):
        reader_for(task, 14, metainfo='coco')


def test_a_data_set_without_names_is_refused_when_they_are_needed(task):
    reader = reader_for(task, 14, metainfo='aic')
    with pytest.raises(ClassroomError, match=r'give model\.task\.metainfo'):
        reader.bind(None)
    with pytest.raises(ClassroomError, match=r'The student has 17 joints, its data set 2'):
        reader.bind(('a', 'b'))
    reader_for(task, 17, metainfo='coco').bind(None)  # in the order that both have, with a warning


def test_joints_are_matched_anew_for_other_data(task):
    reader = reader_for(task, 17, metainfo='coco')
    names = [f'joint {index}' for index in range(16)]
    reader.bind(('nose', *names))
    assert reader._has.sum() == 1
    reader.bind(task_names := joint_names('coco', 'x'))
    assert reader._has.all() and reader._index is None and len(task_names) == 17


def test_the_data_set_itself_names_the_joints():
    """A data set that MMPose does not define, by the metainfo that it carries."""
    task = SimCCTask(OKSRanker())
    _, samples = pose_batch(1, codec_name='simcc')
    samples[0].set_metainfo(dict(dataset_name='robots'))
    assert task.item_names(samples) is None
    task.check_samples(samples, read_metainfo('coco', 'x'))
    assert task.item_names(samples)[:2] == ('nose', 'left_eye')
    assert task.truth(samples, CPU).metainfo['num_keypoints'] == 17


@pytest.mark.parametrize('kind', ['dark', 'udp'])
def test_joints_are_decoded_in_full_precision_under_amp(kind):
    form = form_of(build(estimator(codec_name=kind)), 'x')
    maps = torch.rand(2, 3, 24, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        joints = form.joints(maps)
    torch.testing.assert_close(joints, form.joints(maps), rtol=0, atol=1e-4)


def test_a_joint_that_a_mentor_does_not_know_is_none_that_it_missed(task):
    teacher = build(estimator(16, 'msra', out_channels=14)).eval()
    pupil = student_of('simcc')
    inputs, samples = pose_batch(2, codec_name='simcc', unlabelled=0)
    reader = task.reader(teacher, pupil, 'model.mentors[0]', Config(), metainfo='aic')
    reader.bind(task.item_names(samples))
    before = [sample.gt_instances.keypoints_visible.copy() for sample in samples]
    with torch.no_grad():
        written = task.write(reader(teacher(inputs, None, mode='tensor')), samples, pupil)
    for sample, visible, original in zip(written, before, samples):
        assert not sample.gt_instances.keypoints_visible[0, :5].any()
        assert (sample.gt_instances.keypoints_visible[0, 5:] == visible[0, 5:]).all()
        assert (original.gt_instances.keypoints_visible == visible).all()
        assert sample.pred_instances.keypoints.shape == (1, JOINTS, 2)


def test_the_student_s_joints_may_be_named_in_the_config():
    task = SimCCTask(OKSRanker(), metainfo='coco')
    assert len(task.names) == 17
    with pytest.raises(ClassroomError, match=r"model\.mentors\[1\]\.keypoint_map names 'tail'"):
        reader_for(task, 14, metainfo='aic', keypoint_map={'tail': 'nose'})
    with pytest.raises(ClassroomError, match=r"model\.task\.metainfo = 'coko'"):
        SimCCTask(OKSRanker(), metainfo='coko')
