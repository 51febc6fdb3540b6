"""What a stock pose estimator's heatmaps mean, in whose space they are scored, and its own loss."""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import nn
from toys import (
    HEATMAP_SIZE,
    INPUT_SIZE,
    JOINTS,
    build,
    classifier,
    codec,
    estimator,
    packed,
    person,
    pose_batch,
)

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import kl_divergence, oks
from mmkd_classroom.rankers import OKSRanker, PCKRanker, TrueClassRanker
from mmkd_classroom.rankers.keypoints import dataset_sigmas
from mmkd_classroom.structures import Prediction
from mmkd_classroom.tasks import HeatmapTask, SimCCTask
from mmkd_classroom.tasks.forms import HeatmapForm

CODECS = ['msra', 'dark', 'udp']
CPU = torch.device('cpu')
LOSSES = dict(
    mse=dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=2.0),
    mse_unweighted=dict(type='KeypointMSELoss', use_target_weight=False),
    mse_skip_empty=dict(type='KeypointMSELoss', use_target_weight=True, skip_empty_channel=True),
    ohkm=dict(type='KeypointOHKMMSELoss', use_target_weight=True, topk=8),
    adaptive_wing=dict(type='AdaptiveWingLoss', use_target_weight=True),
)


@pytest.fixture(scope='module')
def task():
    return HeatmapTask(OKSRanker())


def mentored(task, mentor, inputs):
    """The prediction of a mentor that is like its student."""
    reader = task.reader(mentor, mentor, 'model.mentors[0]', Config())
    return reader(mentor(inputs, None, mode='tensor'))


def quiet(model):
    """Without the stock accuracy, which has nothing to do with the loss."""
    model.train_cfg = dict(compute_acc=False)
    return model


@MODELS.register_module()
class TwoStages(nn.Module):
    """A backbone with a list of outputs, as Hourglass and CPM have."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(3, 8, 4, stride=4) for _ in range(2))

    def forward(self, inputs):
        return [stage(inputs) for stage in self.stages]


# --- the student's own loss ---------------------------------------------------------------------


@pytest.mark.parametrize('per_sample', [False, True])
@pytest.mark.parametrize('loss', LOSSES)
def test_capture_gives_the_stock_loss_and_gradient(task, loss, per_sample):
    student = quiet(build(estimator(loss=LOSSES[loss])))
    stock = copy.deepcopy(student)
    inputs, samples = pose_batch(4)
    expected = stock.loss(inputs, samples)
    prediction, losses = task.capture(student, inputs, samples, per_sample)
    assert losses.keys() == expected.keys() == {'loss_kpt'}
    assert losses['loss_kpt'].shape == ((4,) if per_sample else ())
    torch.testing.assert_close(losses['loss_kpt'].mean(), expected['loss_kpt'])
    losses['loss_kpt'].mean().backward()
    expected['loss_kpt'].backward()
    for ours, theirs in zip(student.parameters(), stock.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(student.buffers(), stock.buffers()):
        assert torch.equal(ours, theirs)
    assert prediction.values.shape == (4, JOINTS, *HEATMAP_SIZE[::-1])
    assert prediction.values.requires_grad and prediction.form.codec is student.head.decoder
    assert torch.equal(prediction.values, stock(inputs, None, mode='tensor'))


@pytest.mark.parametrize('loss', LOSSES)
def test_losses_per_sample_are_those_of_the_samples_alone(task, loss):
    student = quiet(build(estimator(loss=LOSSES[loss]))).eval()
    inputs, samples = pose_batch(4)
    losses = task.capture(student, inputs, samples, per_sample=True)[1]['loss_kpt']
    alone = [student.loss(inputs[[i]], samples[i : i + 1])['loss_kpt'] for i in range(4)]
    torch.testing.assert_close(losses, torch.stack(alone))
    assert losses.std() > 1e-3


@pytest.mark.parametrize('per_sample', [False, True])
@pytest.mark.parametrize('losses', ['one', 'one a stage'])
def test_of_several_stages_the_last_one_counts(task, per_sample, losses):
    """Hourglass and CPM return a list of heatmaps; MMPose decodes the last of them."""
    mse = dict(type='KeypointMSELoss', use_target_weight=True)
    config = estimator()
    config['backbone'] = dict(type='TwoStages')
    config['head'] = dict(
        type='CPMHead', in_channels=8, out_channels=JOINTS, num_stages=2, deconv_out_channels=None,
        decoder=codec(),
        loss=mse if losses == 'one' else [mse, dict(mse, loss_weight=0.5)],
    )  # fmt: skip
    student = quiet(build(config)).eval()
    task.check_student(student)
    inputs, samples = pose_batch(3)
    prediction, captured = task.capture(student, inputs, samples, per_sample)
    stages = student(inputs, None, mode='tensor')
    assert len(stages) == 2 and not torch.equal(*stages)
    assert torch.equal(prediction.values, stages[-1])
    with torch.no_grad():
        assert torch.equal(mentored(task, student, inputs).values, stages[-1])
    alone = [student.loss(inputs[[i]], samples[i : i + 1])['loss_kpt'] for i in range(3)]
    expected = torch.stack(alone) if per_sample else torch.stack(alone).mean()
    torch.testing.assert_close(captured['loss_kpt'], expected)


def test_capture_runs_backbone_and_head_once_and_leaves_no_trace(task):
    student = quiet(build(estimator()))
    calls = []
    for module in (student.backbone, student.head.final_layer):
        module.register_forward_hook(lambda *_: calls.append(1))
    before = [set(vars(module)) for module in student.modules()]
    for per_sample in (False, True):
        task.capture(student, *pose_batch(2), per_sample)
        assert len(calls) == 2
        calls.clear()
    assert [set(vars(module)) for module in student.modules()] == before


def test_the_stock_accuracy_is_off_unless_asked_for(task):
    """It is computed in NumPy: the device would stop in each step."""
    student = build(estimator())
    task.check_student(student)
    assert student.train_cfg['compute_acc'] is False
    assert task.capture(student, *pose_batch(2), False)[1].keys() == {'loss_kpt'}
    student = build(dict(estimator(), train_cfg=dict(compute_acc=True)))
    task.check_student(student)
    assert task.capture(student, *pose_batch(2), False)[1].keys() == {'loss_kpt', 'acc_pose'}


# --- a head that predicts visibility, too -------------------------------------------------------


def with_visibility(weighted=True, **options):
    config = estimator(**options)
    bce = dict(type='BCELoss', use_target_weight=weighted, use_sigmoid=True, loss_weight=0.3)
    config['head'] = dict(type='VisPredictHead', pose_cfg=config['head'], loss=bce)
    return build(config)


@pytest.mark.parametrize('weighted', [True, False])
@pytest.mark.parametrize('kind', ['msra', 'simcc'])
def test_a_student_keeps_the_loss_of_its_visibility(kind, weighted):
    task = (SimCCTask if kind == 'simcc' else HeatmapTask)(OKSRanker())
    student = with_visibility(weighted, codec_name=kind)
    stock = copy.deepcopy(student)
    task.check_student(student)
    inputs, samples = pose_batch(4, codec_name=kind)
    expected = stock.loss(inputs, samples)
    prediction, losses = task.capture(student, inputs, samples, per_sample=False)
    for name in ('loss_kpt', 'loss_vis', 'acc_vis'):
        assert torch.equal(losses[name], expected[name])
    if kind == 'msra':  # MMPose's SimCC heads always compute their accuracy
        assert losses.keys() == expected.keys() - {'acc_pose'}
    for result in (losses, expected):
        (result['loss_kpt'] + result['loss_vis']).backward()
    for ours, theirs in zip(student.parameters(), stock.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad)
    pose, visibility = stock(inputs, None, mode='tensor')
    assert visibility.shape == (4, JOINTS)
    for ours, theirs in zip(task.logits(prediction), task.logits(task.as_prediction(stock, pose))):
        assert torch.equal(ours, theirs) and ours.requires_grad


@pytest.mark.parametrize('weighted', [True, False])
@pytest.mark.parametrize('kind', ['msra', 'simcc'])
def test_the_loss_of_visibility_has_a_part_of_each_sample(kind, weighted):
    task = (SimCCTask if kind == 'simcc' else HeatmapTask)(OKSRanker())
    student = with_visibility(weighted, codec_name=kind).eval()
    before = [set(vars(module)) for module in student.modules()]
    inputs, samples = pose_batch(4, codec_name=kind)
    losses = task.capture(student, inputs, samples, per_sample=True)[1]
    alone = [student.loss(inputs[[i]], samples[i : i + 1]) for i in range(4)]
    for name in ('loss_kpt', 'loss_vis'):
        expected = torch.stack([one[name] for one in alone])
        if (kind, name) == ('simcc', 'loss_kpt'):
            expected *= len(alone)  # MMPose sums it over the batch
        torch.testing.assert_close(losses[name], expected)
        assert losses[name].std() > 1e-4
    assert [set(vars(module)) for module in student.modules()] == before


def test_a_mentor_teaches_its_joints_beside_its_visibility(task):
    mentor, student = with_visibility(width=16).eval(), quiet(build(estimator()))
    inputs, _ = pose_batch(3)
    reader = task.reader(mentor, student, 'model.mentors[0]', Config())
    with torch.no_grad():
        pose, _ = output = mentor(inputs, None, mode='tensor')
    assert torch.equal(reader(output).values, pose) and reader(output).valid.all()
    assert task.input_size(mentor, 'model.mentors[0]') == INPUT_SIZE


# --- joints from heatmaps -----------------------------------------------------------------------


def drawn(name, count, seed=0, margin=0.0):
    """A codec, and heatmaps it drew of joints anywhere in the input, with their truth."""
    coder = KEYPOINT_CODECS.build(codec(name))
    generator = np.random.default_rng(seed)
    size = np.array(INPUT_SIZE) - 1
    joints = generator.uniform(margin, 1 - margin, (count, JOINTS, 2)) * size
    maps = np.stack([coder.encode(one[None].astype(np.float32))['heatmaps'] for one in joints])
    maps = maps * generator.uniform(0.2, 1, (count, JOINTS, 1, 1))
    return coder, maps.astype(np.float32), joints


def stock_decode(coder, maps):
    """MMPose's decoding, in the space of the joints that it encodes."""
    joints = np.stack([coder.decode(one)[0][0] for one in maps])
    if type(coder).__name__ == 'UDPHeatmap':
        # It encodes from [0, W - 1] and decodes to [0, W].
        joints = joints * (np.array(INPUT_SIZE) - 1) / np.array(INPUT_SIZE)
    return joints


def test_msra_is_decoded_to_the_bit():
    coder, maps, _ = drawn('msra', 40)
    for level in (0.0, 0.05, 1.0):
        noisy = maps + level * np.random.default_rng(1).normal(size=maps.shape)
        noisy = noisy.astype(np.float32)
        ours = HeatmapForm(coder).joints(torch.from_numpy(noisy)).numpy()
        np.testing.assert_array_equal(ours, stock_decode(coder, noisy).astype(np.float32))


@pytest.mark.parametrize('name, tolerance', [('dark', 0.05), ('udp', 0.01)])
def test_dark_and_udp_are_decoded_as_by_mmpose(name, tolerance):
    """In pixels; near the border stock DARK does not refine, and UDP's steps are unbounded."""
    coder, maps, _ = drawn(name, 40, margin=0.15)
    noisy = maps + 0.002 * np.random.default_rng(1).normal(size=maps.shape)
    noisy = noisy.astype(np.float32)
    ours = HeatmapForm(coder).joints(torch.from_numpy(noisy)).numpy()
    assert np.abs(ours - stock_decode(coder, noisy)).max() < tolerance
    coder, maps, _ = drawn(name, 40)  # anywhere: at most two cells of 4 pixels
    ours = HeatmapForm(coder).joints(torch.from_numpy(maps)).numpy()
    difference = ours - stock_decode(coder, maps)
    assert np.abs(difference).max() < 8 and np.median(np.abs(difference)) < tolerance


@pytest.mark.parametrize('name, precision', [('msra', 3.1), ('dark', 0.05), ('udp', 0.05)])
def test_decoding_undoes_encoding(name, precision):
    """In pixels; MSRA's plain coding is good to the quarter of a cell at best."""
    coder, maps, joints = drawn(name, 40, margin=0.4)
    ours = HeatmapForm(coder).joints(torch.from_numpy(maps)).numpy()
    assert np.abs(ours - joints).max() < precision
    bias = (ours - joints).mean(axis=(0, 1))
    assert np.abs(bias).max() < (0.01 if name != 'msra' else 0.5)


@pytest.mark.parametrize('name', CODECS)
def test_a_map_without_a_positive_value_shows_no_joint(name):
    coder, maps, _ = drawn(name, 1)
    maps[0, 3] = -maps[0, 3] - 0.1
    maps[0, 5] = 0
    ours = HeatmapForm(coder).joints(torch.from_numpy(maps)).numpy()[0]
    for joint in (3, 5):
        np.testing.assert_allclose(ours[joint], -coder.scale_factor)
    others = np.delete(ours, [3, 5], axis=0)
    assert (others > -1).all()
    if name == 'msra':
        np.testing.assert_array_equal(ours, stock_decode(coder, maps)[0].astype(np.float32))


# --- truth and scores ---------------------------------------------------------------------------


@pytest.mark.parametrize('name', CODECS)
@pytest.mark.parametrize('seed', range(3))
def test_the_truth_is_in_the_student_s_input_space(task, name, seed):
    np.random.seed(seed)
    samples = [packed(person(10 * seed + i), name, augment=True)['data_samples'] for i in range(8)]
    assert any(sample.get('flip') for sample in samples)
    truth = task.truth(samples, CPU)
    for i, sample in enumerate(samples):
        instances = sample.gt_instances
        np.testing.assert_array_equal(truth.joints[i], instances.transformed_keypoints[0])
        visible = instances.keypoints_visible[0]
        inside = (truth.joints[i].numpy() >= 0).all(-1) & (
            truth.joints[i].numpy() <= np.array(INPUT_SIZE) - 1).all(-1)  # fmt: skip
        weights = truth.weights[i].numpy()
        assert (weights[visible == 0] == 0).all() and (weights[(visible > 0) & inside] > 0).all()
        assert weights.sum() == pytest.approx(1)
        zoom = INPUT_SIZE[0] / sample.metainfo['input_scale'][0]
        assert zoom == pytest.approx(INPUT_SIZE[1] / sample.metainfo['input_scale'][1], rel=1e-5)
        assert truth.area[i].item() == pytest.approx(
            sample.metainfo['raw_ann_info']['area'] * zoom**2, rel=1e-5
        )
        x1, y1, x2, y2 = instances.bboxes[0]
        assert truth.bbox_size[i].item() == pytest.approx(max(x2 - x1, y2 - y1) * zoom, rel=1e-5)
    assert truth.head_size is None and truth.metainfo == 'coco'


def test_without_an_area_a_body_fills_its_box_by_half(task):
    """The rule of xtcocotools with ``use_area=False``."""
    record = person(1)
    with_area = task.truth([packed(dict(record))['data_samples']], CPU)
    x1, y1, x2, y2 = record['bbox'][0]
    for annotation in (None, {}, dict(area=None)):
        changed = {**record, 'raw_ann_info': annotation}
        truth = task.truth([packed(changed)['data_samples']], CPU)
        share = 0.53 * (x2 - x1) * (y2 - y1) / record['raw_ann_info']['area']
        assert (truth.area / with_area.area).item() == pytest.approx(share, rel=1e-5)


def test_mpii_s_head_size_is_scaled_to_the_input(task):
    record = dict(person(1), head_size=np.array([31.0], np.float32))
    sample = packed(record)['data_samples']
    zoom = INPUT_SIZE[0] / sample.metainfo['input_scale'][0]
    assert task.truth([sample], CPU).head_size.tolist() == pytest.approx([31 * zoom], rel=1e-5)


def test_a_sample_without_labels_has_no_weight(task):
    truth = task.truth(pose_batch(4)[1], CPU)
    assert truth.weights.sum(-1).tolist() == pytest.approx([1, 1, 1, 0])


@pytest.mark.parametrize('name', CODECS)
def test_who_draws_the_training_targets_scores_one(name):
    task = HeatmapTask(OKSRanker())
    _, samples = pose_batch(8, codec_name=name, unlabelled=0)
    maps = torch.stack([sample.gt_fields.heatmaps for sample in samples])
    form = HeatmapForm(KEYPOINT_CODECS.build(codec(name)))
    truth = task.truth(samples, CPU)
    perfect, shifted = Prediction(maps, form), Prediction(maps.roll(2, dims=-1), form)
    score = (task.scores([perfect, shifted], truth) * truth.weights).sum(-1)
    assert (score[0] > (0.8 if name == 'msra' else 0.97)).all()
    assert (score[1] < score[0] - 0.2).all()
    assert PCKRanker(0.2).score(task.judged(perfect), truth)[truth.weights > 0].eq(1).all()


@pytest.mark.parametrize('name', CODECS)
def test_scores_in_input_space_are_those_of_the_stock_evaluation(name):
    """The stock way: decode, go back to the image, compare with the annotation there."""
    task = HeatmapTask(OKSRanker())
    records = [person(seed) for seed in range(8)]
    coder = KEYPOINT_CODECS.build(codec(name))
    generator = np.random.default_rng(0)
    samples, maps, image = [], [], []
    for record in records:
        sample = packed(copy.deepcopy(record), name)['data_samples']
        joints = sample.gt_instances.transformed_keypoints
        drawn = (joints + 3 * generator.normal(size=joints.shape)).clip(
            12, np.array(INPUT_SIZE) - 13
        )
        maps.append(coder.encode(drawn.astype(np.float32))['heatmaps'])
        meta = sample.metainfo
        back = coder.decode(maps[-1])[0] / meta['input_size'] * meta['input_scale']
        image.append(back + meta['input_center'] - 0.5 * meta['input_scale'])
        samples.append(sample)
    truth = task.truth(samples, CPU)
    member = Prediction(torch.from_numpy(np.stack(maps)), HeatmapForm(coder))
    ours = (task.scores([member], truth) * truth.weights).sum(-1)[0]
    labelled = torch.cat([s.gt_instance_labels.keypoint_weights for s in samples])
    expected = oks(
        torch.from_numpy(np.concatenate(image)).float(),
        torch.from_numpy(np.concatenate([record['keypoints'] for record in records])),
        labelled,
        torch.tensor([record['raw_ann_info']['area'] for record in records]),
        dataset_sigmas('coco'),
    )
    assert 0.1 < expected.mean() < 0.95
    # UDP stretches the person by W / (W - 1), which the area does not follow.
    tolerance = dict(msra=1e-4, dark=3e-3, udp=1.5e-2)[name]
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)


# --- divergence, peaks, broken mentors ----------------------------------------------------------


def predictions(samples=3):
    form = HeatmapForm(KEYPOINT_CODECS.build(codec()))
    return [Prediction(torch.rand(samples, JOINTS, *HEATMAP_SIZE[::-1]), form) for _ in range(2)]


def test_the_divergence_is_over_the_cells_of_each_joint():
    student, mentor = predictions()
    tau = 1 + torch.rand(3, 1)
    value = HeatmapTask(OKSRanker(), sharpness=7.0).divergence(student, mentor, tau)
    assert value.shape == (3, JOINTS)
    for i, j in [(0, 0), (2, 5), (1, 16)]:
        expected = kl_divergence(
            7 * student.values[i, j].flatten(), 7 * mentor.values[i, j].flatten(), tau[i, 0]
        )
        torch.testing.assert_close(value[i, j] * student.values[i, j].numel(), expected)
    peak = HeatmapTask(OKSRanker(), sharpness=7.0).peak(student)
    torch.testing.assert_close(peak, 7 * student.values.amax(dim=(-2, -1)))


def test_the_other_distance_is_the_mse_of_each_joint():
    student, mentor = predictions()
    value = HeatmapTask(OKSRanker(), distance='mse').divergence(student, mentor, torch.ones(3, 1))
    expected = ((student.values - mentor.values) ** 2).mean(dim=(2, 3))
    torch.testing.assert_close(value, expected)


def test_a_mentor_s_values_that_are_not_finite_are_marked_and_removed(task):
    mentor = build(estimator()).eval()
    inputs, samples = pose_batch(4, unlabelled=0)
    expected = mentor(inputs, None, mode='tensor').detach()

    def poison(module, args, output):
        output[1, 3, 2, 2] = float('nan')
        output[2, 0, 0, 0] = float('inf')

    mentor.head.final_layer.register_forward_hook(poison)
    with torch.no_grad():
        prediction = mentored(task, mentor, inputs)
    assert prediction.valid[:, 0].tolist() == [True, False, False, True]
    assert torch.equal(prediction.values[[0, 3]], expected[[0, 3]])
    assert prediction.values[[1, 2]].eq(0).all()
    scores = task.scores([prediction, prediction], task.truth(samples, CPU))
    assert scores[:, [1, 2]].eq(0).all() and scores[:, [0, 3]].sum() > 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_heatmaps_are_decoded_in_float32(task, dtype):
    student, _ = predictions()
    half = Prediction(student.values.to(dtype), student.form)
    joints = task.judged(half)
    assert joints.dtype == torch.float32
    assert torch.equal(joints, task.judged(Prediction(half.values.float(), student.form)))


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    'model, message',
    [
        (classifier(), 'is a ImageClassifier, but model.task is for poses'),
        (estimator(decoder=None), r'\.head is a HeatmapHead with the codec NoneType'),
        (
            estimator(decoder=dict(codec('udp'), heatmap_type='combined')),
            r"codec UDPHeatmap and heatmap_type='combined'.*heatmap_type='gaussian'",
        ),
        (
            estimator(decoder=dict(
                type='MegviiHeatmap', input_size=INPUT_SIZE, heatmap_size=HEATMAP_SIZE,
                kernel_size=5)),
            'codec MegviiHeatmap',
        ),
    ],
    ids=['classifier', 'no codec', 'combined', 'megvii'],
)  # fmt: skip
def test_other_models_are_refused(task, model, message):
    with pytest.raises(ClassroomError, match='^model.student.*' + message):
        task.check_student(build(model))


def test_a_bottom_up_model_is_refused(task):
    from mmpose.models import BottomupPoseEstimator

    config = estimator()
    model = BottomupPoseEstimator(config['backbone'], head=config['head'])
    with pytest.raises(
        ClassroomError, match=r'model\.mentors\[1\] is a BottomupPoseEstimator, but'
    ):
        task.input_size(model, 'model.mentors[1]')


def of_another_size():
    head = dict(decoder=dict(codec(), heatmap_size=(32, 48)))
    return build(estimator(**head))


def test_a_head_of_another_size_than_its_codec_s_is_named_before_training(task):
    """Found on a copy without values: the model is as it was."""
    wrong, right = of_another_size(), build(estimator())
    before = {name: value.clone() for name, value in wrong.state_dict().items()}
    message = (
        r'head gives 16 x 24 cells .* codec MSRAHeatmap is for 32 x 48, from an input of 64 x 96'
        r'.*Correct input_size or heatmap_size of '
    )
    with pytest.raises(ClassroomError, match=r'^model\.student\.' + message + 'model.student.head'):
        task.check_student(wrong)
    with pytest.raises(ClassroomError, match=r'^model\.mentors\[2\]\.' + message):
        task.reader(wrong, right, 'model.mentors[2]', Config())
    assert wrong.training and all(p.requires_grad for p in wrong.parameters())
    assert all(torch.equal(value, before[name]) for name, value in wrong.state_dict().items())


def test_a_size_that_only_training_shows_is_named_there(task):
    """The pipeline feeds another size than the codec's, or a model needs values to be run."""
    student = quiet(build(estimator()))
    inputs, samples = pose_batch(2)
    maps = student(inputs, None, mode='tensor')
    with pytest.raises(ClassroomError, match=r'model\.student\.head gives 16 x 12 cells'):
        task.as_prediction(student, maps[..., ::2, :])
    reader = task.reader(build(estimator(16)), student, 'model.mentors[2]', Config())
    with pytest.raises(ClassroomError, match=r'model\.mentors\[2\]\.head gives 8 x 24 cells'):
        reader(maps[..., ::2])


def test_a_ranker_of_classes_is_refused():
    with pytest.raises(ClassroomError, match=r'TrueClassRanker.*needs a ranker of keypoints'):
        HeatmapTask(TrueClassRanker())


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(distance='l1'), r"model\.task\.distance is 'l1'"),
        (dict(sharpness=0), r'model\.task\.sharpness is 0'),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ClassroomError, match=message):
        HeatmapTask(OKSRanker(), **options)


def test_samples_need_the_joints_in_input_space(task):
    task.check_samples([packed(person())['data_samples']])
    with pytest.raises(ClassroomError, match='pack_transformed=True.*train_dataloader'):
        task.check_samples([packed(person(), pack_transformed=False)['data_samples']])


def test_samples_need_visibility(task):
    sample = packed(person())['data_samples']
    sample.gt_instances.pop('keypoints_visible')
    with pytest.raises(ClassroomError, match='no keypoints_visible'):
        task.check_samples([sample])
