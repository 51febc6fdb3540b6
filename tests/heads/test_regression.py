"""Heads that regress joints, and UDP's offset maps: what their outputs mean and how they teach."""

import copy
import math
from functools import cache
from pathlib import Path

import mmpose
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import MODELS
from toys import INPUT_SIZE, JOINTS, build, estimator, packed, person, pose_batch

from mmkd_classroom.divergences import KLDivergence
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import (
    IntegralAdapter,
    OffsetAdapter,
    RegressionAdapter,
    RLEAdapter,
    build_adapter,
    mentor_adapter,
)
from mmkd_classroom.mentors.input_adapter import letterbox

STOCK = Path(mmpose.__file__).parent / '.mim/configs'
ADAPTERS = dict(
    RegressionHead=RegressionAdapter,
    RLEHead=RLEAdapter,
    IntegralRegressionHead=IntegralAdapter,
    DSNTHead=IntegralAdapter,
    HeatmapHead=OffsetAdapter,
)
KINDS = ['point', 'rle', 'integral', 'dsnt', 'offsets']
HEADS = [*KINDS, 'msra', 'dark', 'udp', 'simcc', 'smoothed']
SIZE = torch.tensor(INPUT_SIZE)


def stock_configs():
    patterns = ('td-reg_*.py', 'ipr_*.py', '*udp-regress*.py')
    return sorted(path.relative_to(STOCK) for p in patterns for path in STOCK.rglob(p))


@cache
def model_of(kind, size=INPUT_SIZE):
    return build(estimator(codec_name=kind, input_size=size)).eval()


@cache
def adapter_of(kind, size=INPUT_SIZE):
    return build_adapter(model_of(kind, size))


def output_of(kind, samples=3, seed=0, joints=JOINTS, cells=(16, 24)):
    """A random output of a head."""
    generator = torch.Generator().manual_seed(seed)
    columns, rows = cells
    if kind == 'offsets':
        return torch.rand(samples, 3 * joints, rows, columns, generator=generator)
    if kind in ('integral', 'dsnt'):
        logits = 3 * torch.randn(samples, joints, rows * columns, generator=generator)
        maps = logits.softmax(dim=-1).unflatten(-1, (rows, columns))
        x, y = torch.arange(columns) / columns, torch.arange(rows) / rows
        mean = torch.stack([(maps.sum(-2) * x).sum(-1), (maps.sum(-1) * y).sum(-1)], dim=-1)
        return mean, maps
    coordinates = torch.rand(samples, joints, 2, generator=generator)
    if kind == 'point':
        return coordinates
    return torch.cat([coordinates, torch.randn(coordinates.shape, generator=generator) - 3], -1)


def random_joints(samples=20, size=INPUT_SIZE, edge=0.2):
    generator = torch.Generator().manual_seed(0)
    share = edge + (1 - 2 * edge) * torch.rand(samples, JOINTS, 2, generator=generator)
    return share * torch.tensor(size)


# --- what an output means ------------------------------------------------------------------------


@pytest.mark.parametrize('path', stock_configs(), ids=lambda path: path.stem)
def test_joints_and_confidences_are_those_of_the_stock_head(path):
    """Of each stock config, with a small backbone: ``predict`` of its head decodes alike."""
    head = Config.fromfile(STOCK / path).model.head
    model = estimator(6)  # no stock head fits it, so nothing but the output given below is read
    model['head'] = dict(head, type=f'mmpose.{head.type}')
    model = MODELS.build(model)
    adapter = build_adapter(model)
    assert type(adapter) is ADAPTERS[head.type]
    kind = dict(RegressionHead='point', RLEHead='rle', HeatmapHead='offsets').get(head.type, 'dsnt')
    output = output_of(kind, joints=adapter.num_items, cells=adapter.cells)
    joints, confidences = adapter.decode(adapter.read(output))
    model.head.forward = lambda feats: copy.deepcopy(output)
    for ours, scores, stock in zip(joints, confidences, model.head.predict(None, [])):
        ours = adapter.stock_joints(ours)
        np.testing.assert_allclose(ours[None], stock.keypoints, rtol=2e-5, atol=1e-4)
        np.testing.assert_allclose(scores[None], stock.keypoint_scores, rtol=2e-5, atol=1e-6)


def test_there_are_stock_configs_of_each_kind():
    assert len(stock_configs()) == 22


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_decoded_in_float32(kind, dtype):
    adapter = adapter_of(kind)
    values = tuple(value.to(dtype) for value in adapter.read(output_of(kind)))
    joints, _ = adapter.decode(values)
    assert joints.dtype == torch.float32
    assert torch.equal(joints, adapter.decode(tuple(value.float() for value in values))[0])


def test_a_disc_needs_three_maps():
    model = build(estimator(codec_name='offsets', out_channels=JOINTS))
    with pytest.raises(
        ClassroomError, match=r'student\.head\.out_channels is 17.*3 maps per joint'
    ):
        build_adapter(model)


# --- what is encoded -----------------------------------------------------------------------------


def encoded(adapter, joints):
    """Labels of the stock codec, ``(N, ...)`` each, by name."""
    visible = np.ones((1, JOINTS), np.float32)
    each = [adapter.codec.encode(one[None].numpy(), visible) for one in joints]
    return {name: torch.from_numpy(np.stack([e[name] for e in each])) for name in each[0]}


def whole_cells(adapter, joints):
    """The joints at the nearest cells, for codecs round them."""
    spacing = torch.tensor(adapter.spacing)
    return (joints / spacing).round() * spacing


@pytest.mark.parametrize('kind', ['msra', 'dark', 'udp', 'offsets'])
def test_maps_are_encoded_as_the_codec_encodes_labels(kind):
    adapter = adapter_of(kind)
    joints = whole_cells(adapter, random_joints())
    labels = encoded(adapter, joints)['heatmaps']
    (maps,) = adapter.encode(joints)
    if kind == 'offsets':
        differ = maps != labels[:, ::3]
        assert differ.float().mean() < 1e-3  # cells on the very edge of a disc
        return
    patch = labels > 0  # codecs draw three deviations of it
    assert (maps - labels)[patch].abs().max() < 1e-3
    assert torch.where(patch, 0.0, maps).max() < 0.02


@pytest.mark.parametrize('kind', ['simcc', 'smoothed'])
def test_axes_are_encoded_as_the_labels_of_simcc(kind):
    adapter = adapter_of(kind)
    joints = whole_cells(adapter, random_joints())
    labels = encoded(adapter, joints)
    for axis, name in zip(adapter.encode(joints), ('keypoint_x_labels', 'keypoint_y_labels')):
        label = labels[name][:, 0]
        expected = (10 * label).softmax(-1) if kind == 'simcc' else label
        torch.testing.assert_close(
            (adapter.unit * axis).softmax(-1), expected, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize('kind', ['integral', 'dsnt'])
def test_axes_of_integral_regression_are_marginals_of_dsnt_s_labels(kind):
    adapter = adapter_of(kind)
    joints = whole_cells(adapter, random_joints())
    maps = encoded(adapter, joints)['heatmaps']
    maps = maps / maps.sum(dim=(-2, -1), keepdim=True)  # the head's codec does it
    x, y = adapter.encode(joints)
    torch.testing.assert_close(x.softmax(-1), maps.sum(-2), rtol=0, atol=5e-3)
    torch.testing.assert_close(y.softmax(-1), maps.sum(-1), rtol=0, atol=5e-3)


# --- divergences ---------------------------------------------------------------------------------


def divergence(ours, theirs, temperature=1.0):
    return KLDivergence()(ours, theirs, None, temperature)


def prediction_at(adapter, joints):
    return adapter.prediction(adapter.encode(joints), joints, torch.ones_like(joints[..., 0]))


def test_points_diverge_by_the_head_s_own_loss():
    """With the mentor's joints as the labels, wherever both are."""
    adapter = adapter_of('point')
    student, mentor = output_of('point', seed=1), output_of('point', seed=2)
    student.requires_grad_()
    ours = adapter.student_prediction(student)
    theirs = prediction_at(adapter, mentor * SIZE)
    found = divergence(ours, theirs).mean()
    expected = F.smooth_l1_loss(student, mentor)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
    (gradient,) = torch.autograd.grad(found, student)
    (of_loss,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(gradient, of_loss, rtol=1e-2, atol=1e-6)


coordinate = st.floats(-0.1, 1.1)


@settings(max_examples=60, deadline=None)
@given(coordinate, coordinate, st.floats(0.5, 8.0))
def test_a_point_moves_towards_the_mentor_s(ours, theirs, temperature):
    """Even beyond the border; the temperature is a factor of the weight."""
    adapter = adapter_of('point')
    student = torch.full((1, JOINTS, 2), ours, requires_grad=True)
    mentor = prediction_at(adapter, torch.full((1, JOINTS, 2), theirs) * SIZE)
    value = divergence(adapter.student_prediction(student), mentor, temperature).sum()
    value.backward()
    gradient = student.grad[0, 0, 0].item()
    assert value >= -1e-5 and student.grad.isfinite().all()
    if abs(ours - theirs) > 0.01:
        assert gradient * (ours - theirs) > 0
    inside = all(0.1 < place < 0.9 for place in (ours, theirs))
    if inside and temperature <= 2:
        expected = 0.5 * temperature * (ours - theirs) ** 2 * JOINTS
        assert value.item() == pytest.approx(expected, rel=0.02, abs=1e-4)


@pytest.mark.parametrize('kind', ['point_wing', 'point_soft_wing', 'integral', 'dsnt'])
def test_the_divergence_is_as_large_as_the_head_s_own_loss(kind):
    """At a distance of a twentieth of the input along an axis, whatever the loss is."""
    kind, _, name = kind.partition('_')
    losses = dict(wing='WingLoss', soft_wing='SoftWingLoss')
    loss = dict(loss=dict(type=losses[name], use_target_weight=True)) if name else {}
    model = build(estimator(codec_name=kind, **loss)).eval()
    adapter = build_adapter(model)
    label = torch.full((1, JOINTS, 2), 0.5)
    label[..., 1] = 0.4
    moved = label + torch.tensor([0.05, 0.0])
    found = divergence(*(prediction_at(adapter, p * SIZE) for p in (moved, label))).mean()
    weights = torch.ones(1, JOINTS)
    if kind == 'dsnt':
        x, y = (axis.softmax(-1) for axis in adapter.encode(moved * SIZE))
        u, v = (axis.softmax(-1) for axis in adapter.encode(label * SIZE))
        maps = [b[..., :, None] * a[..., None, :] for a, b in ((x, y), (u, v))]
        own = sum(model.head.loss_module([moved, maps[0]], [label, maps[1]], weights))
    elif kind == 'integral':
        own = model.head.loss_module(moved, label, weights)
    else:
        own = model.head.loss_module(moved, label, weights[..., None])
    torch.testing.assert_close(found, own, rtol=0.02, atol=0)


def laplace_divergence(mentor, student):
    """Of (location, scale) each, by its formula."""
    (m, a), (s, b) = mentor, student
    distance = abs(m - s)
    return np.log(b / a) + distance / b + a / b * np.exp(-distance / a) - 1


@pytest.mark.parametrize('ours', [(0.5, 0.05), (0.42, 0.03), (0.6, 0.1)])
def test_rle_diverges_as_laplace_distributions_do(ours):
    adapter = adapter_of('rle')
    theirs = (0.47, 0.04)
    predictions = []
    for place, scale in (ours, theirs):
        output = torch.full((1, JOINTS, 4), place)
        output[..., 2:] = torch.logit(torch.tensor(scale))
        predictions.append(adapter.student_prediction(output))
    expected = JOINTS * 2 * laplace_divergence(theirs, ours)
    assert divergence(*predictions).mean().item() == pytest.approx(expected, rel=0.05)


def test_rle_learns_location_and_scale_from_another_rle():
    adapter = adapter_of('rle')
    student, mentor = output_of('rle', seed=1), output_of('rle', seed=2)
    theirs = adapter.output_adapter(adapter)(mentor)
    student.requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.02)
    for _ in range(600):
        optimizer.zero_grad()
        divergence(adapter.student_prediction(student), theirs).sum().backward()
        optimizer.step()
    located = (student - mentor)[..., :2].abs()
    assert located.max() < 0.02 and (student - mentor)[..., 2:].abs().median() < 0.2


# --- every head teaches every head ---------------------------------------------------------------


def shown(adapter, joints):
    """An output of a mentor of this kind that knows the joints, in pixels of its input."""
    size = torch.tensor(adapter.input_size)
    if isinstance(adapter, RLEAdapter):
        return torch.cat([joints / size, torch.full_like(joints, -4.0)], dim=-1)
    if isinstance(adapter, IntegralAdapter):
        x, y = (axis.softmax(-1) for axis in adapter.encode(joints))
        return joints / size, y[..., :, None] * x[..., None, :]
    if isinstance(adapter, RegressionAdapter):
        return joints / size
    if isinstance(adapter, OffsetAdapter):
        return encoded(adapter, joints)['heatmaps']
    values = adapter.encode(joints)
    return values if len(values) > 1 else values[0]


def place(prediction, adapter):
    """Where a prediction has its mass, ``(N, K, 2)`` in pixels of the student's input."""
    if len(prediction.logits) == 1:
        p = prediction.logits[0].softmax(-1).unflatten(-1, adapter.cells[::-1])
        axes = p.sum(-2), p.sum(-1)
    else:
        axes = [logits.softmax(-1) for logits in prediction.logits]
    cells = [(p * torch.arange(p.shape[-1])).sum(-1) for p in axes]
    pixels = [c * s + o for c, s, o in zip(cells, adapter.spacing, adapter.origin)]
    return torch.stack(pixels, dim=-1)


@pytest.mark.parametrize('size', [INPUT_SIZE, (96, 128)])
@pytest.mark.parametrize(
    'mentor, student',
    [(m, s) for m in HEADS for s in HEADS if m in KINDS or s in KINDS],
)
def test_the_joint_stays_where_it_is(mentor, student, size):
    ours, joints = adapter_of(student), random_joints(4, edge=0.3)
    theirs = mentor_adapter(model_of(mentor, size), ours, 'model.mentors[0]', Config())
    box = letterbox(INPUT_SIZE, size)[1]
    seen = joints * torch.tensor(box.scale) + torch.tensor(box.offset)
    convert = ours.output_adapter(theirs, box)
    prediction = convert(shown(theirs, seen.float()))
    assert prediction.valid.all()
    errors = (prediction.joints - joints).abs(), (place(prediction, ours) - joints).abs()
    # Decoding: SimCC's bins, a quarter of MSRA's cell. The label-smoothed axes keep some mass
    # everywhere, and a cell is four pixels.
    assert errors[0].max() < 1.7
    assert errors[1].mean() < (7.0 if 'smoothed' in (mentor, student) else 1.5)


@pytest.mark.parametrize('kind', KINDS)
def test_a_sample_that_is_not_finite_teaches_nothing(kind):
    adapter = adapter_of(kind)
    output = output_of(kind, 3)
    (output[0] if isinstance(output, tuple) else output)[1, 4] = torch.nan
    for student in ('point', 'rle', 'dsnt', 'offsets', 'msra', 'simcc'):
        prediction = adapter_of(student).output_adapter(adapter)(output)
        assert prediction.valid.tolist() == [[valid] * JOINTS for valid in (True, False, True)]
        assert all(logits.isfinite().all() for logits in prediction.logits)
        assert prediction.joints.isfinite().all()


@pytest.mark.parametrize('student', ['point', 'integral', 'offsets'])
def test_a_joint_that_a_mentor_does_not_find_is_not_encoded(student):
    """MMPose decodes an empty map to cell (-1, -1)."""
    maps = shown(adapter_of('udp'), random_joints(2))
    maps[0, 3] = 0.0
    prediction = adapter_of(student).output_adapter(adapter_of('udp'))(maps)
    assert not prediction.valid[0, 3] and prediction.valid.sum() == 2 * JOINTS - 1


@pytest.mark.parametrize('scale', [0.02, 0.1, 0.3])
@pytest.mark.parametrize('student', ['msra', 'udp', 'simcc'])
def test_a_student_of_maps_learns_the_scale_of_a_mentor(student, scale):
    """The expected heatmap, or the density, by numerical integration on a fine grid."""
    mentor, student = adapter_of('rle'), adapter_of(student)
    place = torch.tensor([0.4, 0.6])
    logit = math.log(scale / (1 - scale))
    output = torch.cat([place, torch.full((2,), logit)]).expand(1, JOINTS, 4)
    values = student.output_adapter(mentor)(output).values
    axes = []
    for axis in (0, 1):
        grid = torch.linspace(-0.125, 1.125, 20001, dtype=torch.float64)  # the cells of the mentor
        p = (-(grid - place[axis]).abs() / scale).exp()
        cells = torch.arange(student.cells[axis], dtype=torch.float64) * student.spacing[axis]
        cells = (cells + student.origin[axis]) / INPUT_SIZE[axis]
        if len(values) == 2:
            log_p = -(cells - place[axis]).abs() / scale
            found = (values[axis][0, 0] * student.unit).log_softmax(-1)
            torch.testing.assert_close(found.double(), log_p.log_softmax(-1), rtol=0, atol=0.05)
        else:
            width = student.sigma * student.spacing[axis] / INPUT_SIZE[axis]
            peaks = (-(((cells[:, None] - grid) / width) ** 2) / 2).exp()
            axes.append((peaks * p).sum(1) / p.sum())
    if axes:
        expected = axes[1][:, None] * axes[0][None]
        torch.testing.assert_close(values[0][0, 0].double(), expected, rtol=0.02, atol=0.005)


@pytest.mark.parametrize('kind', ['point', 'rle', 'integral', 'dsnt'])
def test_the_stock_accuracy_is_off_unless_asked_for(kind):
    """It is computed in NumPy: the device would stop in each step."""
    for wanted in (False, True):
        config = estimator(codec_name=kind)
        student = build(dict(config, train_cfg=dict(compute_acc=True)) if wanted else config)
        adapter = build_adapter(student)
        adapter.configure_student(student)
        losses = adapter.loss(student, student.loss, *pose_batch(2, codec_name=kind))[1]
        assert losses.keys() == ({'loss_kpt', 'acc_pose'} if wanted else {'loss_kpt'})


def test_dtkd_is_refused_for_points():
    strategy = dict(type='mmkd_classroom.ClassroomKD', temperature_mode='dtkd')
    for kind, refused in (('point', True), ('rle', False)):
        config = dict(
            type='mmkd_classroom.MultiMentorDistiller',
            student=build(estimator(codec_name=kind)),
            mentors=[dict(config=dict(model=estimator()), checkpoint=None)],
            strategy=strategy,
        )
        if not refused:
            MODELS.build(config)
            continue
        with pytest.raises(ClassroomError, match=r"temperature_mode is 'dtkd'.*coordinates"):
            MODELS.build(config)


@pytest.mark.parametrize('kind', ['js', 'maps off'])
def test_dsnt_s_own_loss_is_the_stock_one_to_the_bit(kind):
    """JSDiscretLoss has no finite gradient for a joint without a label, so all have one."""
    losses = [
        dict(type='SmoothL1Loss', use_target_weight=True),
        dict(type='JSDiscretLoss', use_target_weight=True),
    ]
    options = dict(loss=dict(type='MultipleLossWrapper', losses=losses))
    student = build(estimator(codec_name='dsnt', **options))
    student.head.lambda_t = 3 if kind == 'maps off' else -1
    adapter = build_adapter(student)
    adapter.configure_student(student)
    records = [packed(person(seed, missing=0), 'dsnt') for seed in range(2)]
    inputs = torch.stack([(record['inputs'].float() - 127) / 60 for record in records])
    samples = [record['data_samples'] for record in records]
    from mmengine.logging import MessageHub

    hub = MessageHub.get_current_instance()
    try:
        for epoch in (2, 3):
            hub.update_info('epoch', epoch)
            own = adapter.loss(student, student.loss, inputs, samples)[1]['loss_kpt']
            assert torch.equal(own, student.loss(inputs, samples)['loss_kpt'])
    finally:
        hub.runtime_info.pop('epoch')
