"""What heads of joints share: their targets, what is written, and mentors with any other head."""

import copy
import itertools
from functools import cache

import numpy as np
import pytest
import torch
from mmengine.config import Config
from toys import INPUT_SIZE, JOINTS, build, estimator, packed, person, pose_batch

from mmkd_classroom.divergences import KLDivergence
from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import build_adapter, mentor_adapter
from mmkd_classroom.mentors.input_adapter import letterbox
from mmkd_classroom.metainfo import joint_names, read_metainfo

CPU = torch.device('cpu')
CODECS = ['msra', 'dark', 'udp']
KINDS = [*CODECS, 'simcc', 'smoothed']
COCO = joint_names('coco', 'x')


@cache
def student_of(kind):
    return build(estimator(codec_name=kind)).eval()


@cache
def adapter_of(kind='msra', **options):
    return build_adapter(student_of(kind), options)


@cache
def mentor_of(kind='msra', joints=JOINTS, size=INPUT_SIZE):
    return build(estimator(16, kind, size, out_channels=joints), seed=1).eval()


@torch.no_grad()
def output_of(mentor, samples=3):
    width, height = mentor.head.decoder.input_size
    return mentor(torch.randn(samples, 3, height, width), None, mode='tensor')


def output_adapter(student, mentor, config=None, metainfo=None, **options):
    config = Config(config or {})
    theirs = mentor_adapter(mentor, student, 'model.mentors[1]', config, metainfo=metainfo)
    return student.output_adapter(theirs, **options)


# --- samples and targets ------------------------------------------------------------------------


@pytest.mark.parametrize('name', CODECS)
@pytest.mark.parametrize('seed', range(3))
def test_the_targets_are_in_the_student_s_input_space(name, seed):
    np.random.seed(seed)
    samples = [packed(person(10 * seed + i), name, augment=True)['data_samples'] for i in range(8)]
    assert any(sample.get('flip') for sample in samples)
    targets = adapter_of(name).targets(samples, CPU)
    for i, sample in enumerate(samples):
        instances = sample.gt_instances
        joints, weights = targets.joints[i].numpy(), targets.weights[i].numpy()
        np.testing.assert_array_equal(joints, instances.transformed_keypoints[0])
        visible = instances.keypoints_visible[0] > 0
        inside = ((joints >= 0) & (joints <= np.array(INPUT_SIZE) - 1)).all(-1)
        assert (weights[~visible] == 0).all() and (weights[visible & inside] > 0).all()
        assert weights.sum() == pytest.approx(1)
        zoom = INPUT_SIZE[0] / sample.metainfo['input_scale'][0]
        assert zoom == pytest.approx(INPUT_SIZE[1] / sample.metainfo['input_scale'][1], rel=1e-5)
        area = sample.metainfo['raw_ann_info']['area'] * zoom**2
        assert targets.area[i].item() == pytest.approx(area, rel=1e-5)
        x1, y1, x2, y2 = instances.bboxes[0]
        side = max(x2 - x1, y2 - y1) * zoom
        assert targets.bbox_size[i].item() == pytest.approx(side, rel=1e-5)
    assert targets.head_size.eq(0).all()


def test_without_an_area_a_body_fills_its_box_by_half():
    """The rule of xtcocotools with ``use_area=False``."""
    record = person(1)
    with_area = adapter_of().targets([packed(dict(record))['data_samples']], CPU)
    x1, y1, x2, y2 = record['bbox'][0]
    for annotation in (None, {}, dict(area=None)):
        changed = {**record, 'raw_ann_info': annotation}
        targets = adapter_of().targets([packed(changed)['data_samples']], CPU)
        share = 0.53 * (x2 - x1) * (y2 - y1) / record['raw_ann_info']['area']
        assert (targets.area / with_area.area).item() == pytest.approx(share, rel=1e-5)


def test_mpii_s_head_size_is_scaled_to_the_input():
    sample = packed(dict(person(1), head_size=np.array([31.0], np.float32)))['data_samples']
    zoom = INPUT_SIZE[0] / sample.metainfo['input_scale'][0]
    targets = adapter_of().targets([sample], CPU)
    assert targets.head_size.tolist() == pytest.approx([31 * zoom], rel=1e-5)


def test_a_sample_without_labels_has_no_weight():
    targets = adapter_of().targets(pose_batch(4)[1], CPU)
    assert targets.weights.sum(-1).tolist() == pytest.approx([1, 1, 1, 0])


def test_samples_need_visibility_and_the_joints_in_input_space():
    sample = packed(person())['data_samples']
    adapter_of().check_samples([sample])
    sample.gt_instances.pop('keypoints_visible')
    with pytest.raises(ClassroomError, match='no keypoints_visible'):
        adapter_of().check_samples([sample])
    with pytest.raises(ClassroomError, match='pack_transformed=True.*train_dataloader'):
        adapter_of().check_samples([packed(person(), pack_transformed=False)['data_samples']])


def test_the_definition_of_the_joints_is_the_config_s_the_data_set_s_or_what_samples_name():
    """A data set that MMPose does not define brings its own."""
    _, samples = pose_batch(1)
    assert adapter_of().check_samples(samples) == 'coco'
    samples[0].set_metainfo(dict(dataset_name='robots'))
    assert adapter_of().check_samples(samples) == 'robots'
    assert adapter_of().check_samples(samples, dict(classes=['person'])) == 'robots'
    carried = read_metainfo('aic', 'x')
    assert adapter_of().check_samples(samples, carried) is carried
    assert adapter_of(metainfo='coco').check_samples(samples, carried) == 'coco'


# --- what is written ----------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_a_prediction_is_written_as_the_student_writes_its_own(kind):
    student, adapter = student_of(kind), adapter_of(kind)
    _, samples = pose_batch(4, codec_name=kind, unlabelled=0)
    output = output_of(student, 4)
    if kind in CODECS:  # of flat maps, what is refined is noise
        output = torch.stack([sample.gt_fields.heatmaps for sample in samples]) * 0.8
    written = adapter.write(adapter.student_prediction(output), samples, student)
    own = student.add_pred_to_datasample(student.head.decode(output), None, copy.deepcopy(samples))
    for ours, theirs, sample in zip(written, own, samples, strict=True):
        assert 'pred_instances' not in sample
        ours, theirs = ours.pred_instances, theirs.pred_instances
        assert ours.keypoints.shape == (1, JOINTS, 2)
        np.testing.assert_allclose(ours.keypoint_scores, theirs.keypoint_scores, rtol=1e-5)
        compared = np.ones(JOINTS, bool)
        if kind in ('dark', 'udp'):  # which MMPose refines to NaN of empty maps, else to the border
            joints = sample.gt_instances.transformed_keypoints[0]
            compared = ((joints > 14) & (joints < np.array(INPUT_SIZE) - 14)).all(-1)
            compared &= theirs.keypoint_scores[0] > 0
            assert compared.any()
        np.testing.assert_allclose(
            ours.keypoints[0, compared], theirs.keypoints[0, compared], atol=0.1
        )


def test_a_joint_that_a_mentor_does_not_know_is_none_that_it_missed():
    mentor = mentor_of(joints=14)
    _, samples = pose_batch(2, codec_name='simcc', unlabelled=0)
    convert = output_adapter(adapter_of('simcc', metainfo='coco'), mentor, metainfo='aic')
    before = [sample.gt_instances.keypoints_visible.copy() for sample in samples]
    prediction = convert(output_of(mentor, 2))
    written = adapter_of('simcc').write(prediction, samples, student_of('simcc'))
    for sample, visible, original in zip(written, before, samples):
        assert not sample.gt_instances.keypoints_visible[0, :5].any()
        assert (sample.gt_instances.keypoints_visible[0, 5:] == visible[0, 5:]).all()
        assert (original.gt_instances.keypoints_visible == visible).all()
        scores = sample.pred_instances.keypoint_scores[0]
        assert (scores[:5] == 0).all() and (scores[5:] != 0).all()


# --- every head teaches every head --------------------------------------------------------------


@pytest.mark.parametrize('size', [INPUT_SIZE, (96, 128), (64, 64)])
@pytest.mark.parametrize('mentor, student', [*itertools.product(KINDS, repeat=2)])
def test_a_mentor_s_prediction_has_the_student_s_form_and_teaches(mentor, student, size):
    mentor, pupil = mentor_of(mentor, size=size), build(estimator(codec_name=student))
    adapter = build_adapter(pupil)
    adapter.check_student(pupil, per_sample=False)
    adapter.configure_student(pupil)
    inputs, samples = pose_batch(3, codec_name=student)
    ours, _ = adapter.loss(pupil, pupil.loss, inputs, samples)
    convert = output_adapter(adapter, mentor, letterbox=letterbox(INPUT_SIZE, size)[1])
    output = output_of(mentor)
    theirs = convert(output)
    for a, b in zip(ours.logits, theirs.logits, strict=True):
        assert a.shape == b.shape and b.isfinite().all()
    targets = adapter.targets(samples, CPU)
    divergence = KLDivergence()(ours, theirs, targets, torch.full((3, 1), 2.0))
    assert divergence.shape == (3, JOINTS) and (divergence > -1e-5).all()
    divergence.sum().backward()
    assert all(p.grad.isfinite().all() for p in pupil.parameters() if p.grad is not None)
    assert theirs.joints.shape == (3, JOINTS, 2) and theirs.valid.all()
    own = mentor_adapter(mentor, adapter, 'x', Config())
    confidences = own.decode(own.read(output))[1]  # as sure as it is in its own format
    assert torch.equal(theirs.confidences, confidences)


@pytest.mark.parametrize('kind', ['msra', 'simcc', 'smoothed'])
def test_values_that_are_not_finite_are_marked_and_removed(kind):
    output = output_of(mentor_of(kind), 4)
    values = output if isinstance(output, tuple) else (output,)
    clean = [value.clone() for value in values]
    values[-1].view(4, -1)[1, 70] = torch.nan
    values[0].view(4, -1)[2, 0] = torch.inf
    prediction = output_adapter(adapter_of(kind), mentor_of(kind))(output)
    assert prediction.valid.tolist() == [[valid] * JOINTS for valid in (True, False, False, True)]
    for value, before in zip(prediction.values, clean, strict=True):
        assert value[[1, 2]].eq(0).all() and torch.equal(value[[0, 3]], before[[0, 3]])
    assert prediction.joints.isfinite().all() and prediction.confidences.isfinite().all()


def test_a_mentor_teaches_its_joints_beside_its_visibility():
    config = estimator(16)
    bce = dict(type='BCELoss', use_target_weight=True, use_sigmoid=True)
    config['head'] = dict(type='VisPredictHead', pose_cfg=config['head'], loss=bce)
    mentor = build(config).eval()
    with torch.no_grad():
        output = mentor(pose_batch(3)[0], None, mode='tensor')
    prediction = output_adapter(adapter_of(), mentor)(output)
    assert torch.equal(prediction.values[0], output[0]) and prediction.valid.all()
    theirs = mentor_adapter(mentor, adapter_of(), 'model.mentors[1]', Config())
    assert theirs.input_size == INPUT_SIZE


# --- other sets of joints -----------------------------------------------------------------------


def test_the_joints_of_other_sets_are_matched():
    """An AIC mentor of a COCO student: 12 limbs in another order, and nothing of the face."""
    mentor, student = mentor_of(joints=14), adapter_of('simcc')
    config = dict(val_dataloader=dict(dataset=dict(type='AicDataset')))
    convert = output_adapter(student, mentor, config)
    _, samples = pose_batch(2, codec_name='simcc', unlabelled=0)
    convert.prepare(student.check_samples(samples))
    output = output_of(mentor, 2)
    prediction = convert(output)
    own = mentor_adapter(mentor, student, 'x', Config(config))
    joints, confidences = own.decode(own.read(output))
    # COCO: 5 left shoulder, 10 right wrist. AIC: 3 left shoulder, 2 right wrist.
    assert torch.equal(prediction.joints[:, [5, 10]], joints[:, [3, 2]])
    assert torch.equal(prediction.confidences[:, [5, 10]], confidences[:, [3, 2]])
    assert prediction.valid.tolist() == [[False] * 5 + [True] * 12] * 2
    assert tuple(convert.untaught) == COCO[:5]
    assert convert.summary == '12 of 17 joints, heatmap 16x24 -> SimCC 128x192'


def test_a_mentor_whose_joints_nobody_names_is_refused():
    with pytest.raises(ClassroomError, match=r'model\.mentors\[1\] has 14 joints, the student 17'):
        output_adapter(adapter_of(), mentor_of(joints=14))
    with pytest.raises(ClassroomError, match=r'give model\.mentors\[1\]\.metainfo'):
        output_adapter(adapter_of(), mentor_of(), keypoint_map={'nose': 'nose'})


def test_a_metainfo_of_other_joints_is_refused():
    with pytest.raises(ClassroomError, match=r'14 joints, but the data set of its config 17'):
        output_adapter(adapter_of(), mentor_of(joints=14), metainfo='coco')
    with pytest.raises(ClassroomError, match=r"model\.mentors\[1\]\.metainfo = 'coko'"):
        output_adapter(adapter_of(), mentor_of(joints=14), metainfo='coko')


def test_a_data_set_without_names_is_refused_when_they_are_needed():
    convert = output_adapter(adapter_of(), mentor_of(joints=14), metainfo='aic')
    for nameless in (None, 'robots'):
        with pytest.raises(ClassroomError, match=r'give model\.adapter\.metainfo'):
            convert.prepare(nameless)
    with pytest.raises(ClassroomError, match=r'The student has 17 joints, its data set 14'):
        convert.prepare('aic')
    same = output_adapter(adapter_of(), mentor_of(), metainfo='coco')
    same.prepare(None)  # in the order that both have, with a warning
    assert not same.untaught


def test_joints_are_matched_anew_for_other_data():
    """A classroom that trains again, on another data set."""
    convert = output_adapter(adapter_of(), mentor_of(), metainfo='coco')
    output = output_of(mentor_of())
    expected = convert(output)
    convert.prepare('h36m')
    assert 0 < len(convert.untaught) < 17
    convert.prepare('coco')
    assert not convert.untaught
    assert convert(output).valid.all() and torch.equal(convert(output).joints, expected.joints)


def test_the_student_s_joints_may_be_named_in_the_config():
    student, mentor = adapter_of(metainfo='coco'), mentor_of(joints=14)
    assert student.names == COCO
    convert = output_adapter(student, mentor, metainfo='aic', keypoint_map={'head_top': 'nose'})
    assert tuple(convert.untaught) == COCO[1:5]  # before any sample was seen
    with pytest.raises(ClassroomError, match=r"model\.mentors\[1\]\.keypoint_map names 'tail'"):
        output_adapter(student, mentor, metainfo='aic', keypoint_map={'tail': 'nose'})


def test_joints_that_match_by_the_table_are_listed():
    mentor = mentor_of(joints=14)
    convert = output_adapter(adapter_of(), mentor, metainfo='crowdpose')
    convert.prepare('posetrack18')  # 17 joints, with the top of the head
    assert convert.by_table == [('top_head', 'head_top')]
    top = joint_names('posetrack18', 'x').index('head_top')
    assert convert(output_of(mentor)).valid[:, top].all()
    convert.prepare('coco')
    assert convert.by_table == []


def test_predictions_go_into_samples_with_weights_beside_the_visibility():
    """``KeypointConverter`` gives ``keypoints_visible`` ``(1, K, 2)``."""
    student = build(estimator())
    adapter = build_adapter(student)
    _, samples = pose_batch(2)
    for sample in samples:
        visible = sample.gt_instances.keypoints_visible
        sample.gt_instances.keypoints_visible = np.stack([visible, np.ones_like(visible)], -1)
    maps = torch.rand(2, 17, 24, 16)
    valid = torch.ones(2, 17, dtype=torch.bool)
    valid[1, 3] = False
    predicted = adapter.prediction((maps,), *adapter.decode((maps,)), valid)
    written = adapter.write(predicted, samples, student)
    samples[1].gt_instances.keypoints_visible[0, 3] = 0
    for ours, theirs in zip(written, samples):
        visible = ours.gt_instances.keypoints_visible
        assert np.array_equal(visible, theirs.gt_instances.keypoints_visible) and visible.any()
