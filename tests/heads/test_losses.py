"""A student's own loss is the stock one, whether it is asked for whole or for each sample."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn
from toys import CLASSES, JOINTS, build, class_batch, classifier, codec, estimator, pose_batch

from mmkd_classroom.distiller import MultiMentorDistiller
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import build_adapter

CLASS_LOSSES = dict(
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
HEATMAP_LOSSES = dict(
    mse=dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=2.0),
    mse_unweighted=dict(type='KeypointMSELoss', use_target_weight=False),
    mse_skip_empty=dict(type='KeypointMSELoss', use_target_weight=True, skip_empty_channel=True),
    ohkm=dict(type='KeypointOHKMMSELoss', use_target_weight=True, topk=8),
    adaptive_wing=dict(type='AdaptiveWingLoss', use_target_weight=True),
)


def with_visibility(kind, weighted):
    config = estimator(codec_name=kind)
    bce = dict(type='BCELoss', use_target_weight=weighted, use_sigmoid=True, loss_weight=0.3)
    config['head'] = dict(type='VisPredictHead', pose_cfg=config['head'], loss=bce)
    return config


STUDENTS = {
    **{name: classifier(loss=loss) for name, loss in CLASS_LOSSES.items()},
    'accuracy': classifier(cal_acc=True),
    **{name: estimator(loss=loss) for name, loss in HEATMAP_LOSSES.items()},
    'offsets': estimator(codec_name='offsets'),
    'point': estimator(codec_name='point'),
    'point_wing': estimator(codec_name='point', loss=dict(type='WingLoss', use_target_weight=True)),
    'point_soft_wing': estimator(
        codec_name='point', loss=dict(type='SoftWingLoss', use_target_weight=True)
    ),
    'rle': estimator(codec_name='rle'),
    'integral': estimator(codec_name='integral', debias=True, beta=10.0),
    'dsnt': estimator(codec_name='dsnt'),
    'simcc': estimator(codec_name='simcc'),
    'simcc_smoothed': estimator(codec_name='smoothed'),
    'visibility': with_visibility('msra', True),
    'visibility_unweighted': with_visibility('msra', False),
    'simcc_visibility': with_visibility('simcc', True),
    'simcc_visibility_unweighted': with_visibility('simcc', False),
}
ENCODED = ('offsets', 'point', 'rle', 'integral', 'dsnt')
SEVERAL_SIZES = [(name, 6) for name in CLASS_LOSSES]  # and one like the number of classes


def student_of(name):
    """The student of a name, checked, and its adapter."""
    student = build(STUDENTS[name])
    adapter = build_adapter(student)
    adapter.check_student(student, per_sample=True)
    adapter.configure_student(student)
    return student, adapter


def batch_of(name, size=4):
    if name in CLASS_LOSSES or name == 'accuracy':
        return class_batch(size, soft='soft' in name)
    kinds = ('smoothed', 'simcc', 'offsets', 'point', 'rle', 'integral', 'dsnt', '')
    kind = next(kind for kind in kinds if kind in name) or 'msra'
    return pose_batch(size, codec_name=kind)


def parts(losses):
    return {name: value for name, value in losses.items() if name.startswith('loss')}


@pytest.mark.parametrize('per_sample', [False, True])
@pytest.mark.parametrize('name, size', [*((name, 4) for name in STUDENTS), *SEVERAL_SIZES])
def test_the_loss_its_gradient_and_the_output_are_stock(name, size, per_sample):
    student, adapter = student_of(name)
    stock = copy.deepcopy(student)
    inputs, samples = batch_of(name, size)
    expected = stock.loss(inputs, samples)
    prediction, losses = adapter.loss(student, student.loss, inputs, samples, per_sample)
    if not name.startswith('simcc_visibility'):  # whose stock loss cannot do without
        expected.pop('acc_pose', None)
    assert losses.keys() == expected.keys()
    for part, value in parts(losses).items():
        assert value.shape == ((size,) if per_sample else ())
        torch.testing.assert_close(value.mean(), expected[part])
    sum(value.mean() for value in parts(losses).values()).backward()
    sum(parts(expected).values()).backward()
    for ours, theirs in zip(student.parameters(), stock.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(student.buffers(), stock.buffers()):  # BatchNorm saw the batch once
        assert torch.equal(ours, theirs)
    output = stock(inputs, None, mode='tensor')
    output = output[0] if 'visibility' in name else output
    values = adapter.read(output)
    if prediction.joints is not None and name.startswith(ENCODED):  # what is compared is encoded
        values = adapter.student_prediction(output).values
    for ours, theirs in zip(prediction.values, values, strict=True):
        assert ours.requires_grad and torch.equal(ours, theirs)
    assert prediction.valid.all()


@pytest.mark.parametrize('name', sorted(set(STUDENTS) - {'seesaw'}))  # which counts what it saw
def test_losses_per_sample_are_those_of_the_samples_alone(name):
    student, adapter = student_of(name)
    student.eval()
    inputs, samples = batch_of(name)
    losses = parts(adapter.loss(student, student.loss, inputs, samples, per_sample=True)[1])
    alone = [student.loss(inputs[[i]], samples[i : i + 1]) for i in range(4)]
    for part, value in losses.items():
        expected = torch.stack([one[part] for one in alone])
        if 'simcc' in name and part == 'loss_kpt':
            expected *= len(alone)  # MMPose sums it over the batch
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
        assert value.std() > 1e-4


@pytest.mark.parametrize('per_sample', [False, True])
@pytest.mark.parametrize(
    'name, head, layer',
    [
        ('cross_entropy', 'head', 'fc'),
        ('mse', 'head', 'final_layer'),
        ('simcc', 'head', 'final_layer'),
        ('visibility', 'head.pose_head', 'final_layer'),
    ],
)
def test_backbone_and_head_run_once_and_keep_no_trace(name, head, layer, per_sample):
    student, adapter = student_of(name)
    head, calls = student.get_submodule(head), []
    for module in (student.backbone, head.get_submodule(layer)):
        module.register_forward_hook(lambda *_: calls.append(1))
    before = [set(vars(module)) for module in student.modules()]
    adapter.loss(student, student.loss, *batch_of(name), per_sample)
    assert len(calls) == 2
    head.loss_module.forward = failing = lambda *_, **__: 1 / 0
    with pytest.raises(ZeroDivisionError):
        adapter.loss(student, student.loss, *batch_of(name), per_sample)
    assert vars(head.loss_module).pop('forward') is failing  # what was there comes back
    assert [set(vars(module)) for module in student.modules()] == before


@pytest.mark.parametrize('kind', ['msra', 'simcc'])
def test_the_stock_accuracy_is_off_unless_asked_for(kind):
    """It is computed in NumPy: the device would stop in each step."""
    for wanted in (False, True):
        config = estimator(codec_name=kind)
        student = build(dict(config, train_cfg=dict(compute_acc=True)) if wanted else config)
        adapter = build_adapter(student)
        adapter.check_student(student, per_sample=False)
        adapter.configure_student(student)
        assert student.train_cfg['compute_acc'] is wanted
        losses = adapter.loss(student, student.loss, *pose_batch(2, codec_name=kind))[1]
        assert losses.keys() == ({'loss_kpt', 'acc_pose'} if wanted else {'loss_kpt'})


# --- other heads --------------------------------------------------------------------------------


@MODELS.register_module()
class TwoStages(nn.Module):
    """A backbone with a list of outputs, as Hourglass and CPM have."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(3, 8, 4, stride=4) for _ in range(2))

    def forward(self, inputs):
        return [stage(inputs) for stage in self.stages]


@pytest.mark.parametrize('per_sample', [False, True])
@pytest.mark.parametrize('losses', ['one', 'one a stage'])
def test_of_several_stages_the_last_one_counts(per_sample, losses):
    """Hourglass and CPM return a list of heatmaps; MMPose decodes the last of them."""
    mse = dict(type='KeypointMSELoss', use_target_weight=True)
    config = dict(estimator(), backbone=dict(type='mmengine.TwoStages'))
    config['head'] = dict(
        type='CPMHead', in_channels=8, out_channels=JOINTS, num_stages=2, deconv_out_channels=None,
        decoder=codec(),
        loss=mse if losses == 'one' else [mse, dict(mse, loss_weight=0.5)],
    )  # fmt: skip
    student = build(config).eval()
    adapter = build_adapter(student)
    adapter.check_student(student, per_sample)
    adapter.configure_student(student)
    inputs, samples = pose_batch(3)
    prediction, found = adapter.loss(student, student.loss, inputs, samples, per_sample)
    stages = student(inputs, None, mode='tensor')
    assert len(stages) == 2 and not torch.equal(*stages)
    assert torch.equal(prediction.values[0], stages[-1])
    as_mentor = adapter.output_adapter(adapter)([stage.detach() for stage in stages])
    assert torch.equal(as_mentor.values[0], stages[-1])
    alone = [student.loss(inputs[[i]], samples[i : i + 1])['loss_kpt'] for i in range(3)]
    expected = torch.stack(alone) if per_sample else torch.stack(alone).mean()
    torch.testing.assert_close(found['loss_kpt'], expected)


@MODELS.register_module()
class SummedLoss(nn.Module):
    """A foreign loss: it gives one number, whatever it is asked for."""

    def forward(self, scores, labels, avg_factor=None, reduction_override=None):
        return F.cross_entropy(scores, labels)


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='mmengine.SummedLoss'),
        dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='none'),
    ],
)
def test_a_loss_that_cannot_be_split_is_refused_where_it_would_be(loss):
    def classroom(**strategy):
        MultiMentorDistiller(
            student=build(classifier(loss=loss)),
            mentors=[dict(config=dict(model=classifier(16)), checkpoint=None)],
            strategy=dict(type='ClassroomKD', **strategy),
        )

    classroom(task_weight='one')
    name = loss['type'].removeprefix('mmengine.')
    message = rf"model\.student\.head\.loss is a {name} that cannot be split.*task_weight='one'"
    with pytest.raises(ClassroomError, match=message):
        classroom(task_weight='score')
