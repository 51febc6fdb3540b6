"""What rankers say of the outputs of stock heads: nothing is lost between codec and score."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
from mmengine.config import Config
from scores import oks
from toys import (
    CLASSES,
    INPUT_SIZE,
    JOINTS,
    build,
    class_batch,
    classifier,
    estimator,
    packed,
    person,
    pose_batch,
)

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.heads import build_adapter, mentor_adapter
from mmkd_classroom.parts import build_ranker
from mmkd_classroom.rankers import ConfidenceRanker, OKSRanker, PCKRanker, TrueClassRanker
from mmkd_classroom.rankers.keypoints import dataset_sigmas

CPU = torch.device('cpu')
CODECS = ['msra', 'dark', 'udp']


@cache
def adapter_of(kind):
    return build_adapter(build(estimator(codec_name=kind)))


def oks_ranker(samples):
    ranker = OKSRanker()
    ranker.prepare(JOINTS, 'coco', samples[0])
    return ranker


def labels_of(kind, samples):
    """What a head gives that has learned the training labels by heart."""
    if kind in CODECS:
        return torch.stack([sample.gt_fields.heatmaps for sample in samples])
    labels = [sample.gt_instance_labels for sample in samples]
    return tuple(torch.cat([label[f'keypoint_{axis}_labels'] for label in labels]) for axis in 'xy')


@pytest.mark.parametrize('kind', [*CODECS, 'simcc', 'smoothed'])
def test_who_gives_the_training_labels_scores_one(kind):
    _, samples = pose_batch(8, codec_name=kind, unlabelled=0)
    perfect = labels_of(kind, samples)
    if kind in CODECS:
        shifted = perfect.roll(2, dims=-1)
    else:
        shifted = tuple(axis.roll(20, dims=-1) for axis in perfect)
    members = [adapter_of(kind).student_prediction(output) for output in (perfect, shifted)]
    targets = adapter_of(kind).targets(samples, CPU)
    score = oks_ranker(samples)(members, targets).sample
    assert (score[0] > (0.8 if kind == 'msra' else 0.97)).all()
    assert (score[1] < score[0] - 0.2).all()
    assert PCKRanker(0.2)(members, targets).item[0, targets.weights > 0].eq(1).all()
    if kind in CODECS:  # the codec draws every peak to nearly 1
        sure = ConfidenceRanker()(members, targets).item[0, targets.weights > 0]
        assert (sure > 0.85).all() and (sure <= 1).all()


@pytest.mark.parametrize('kind', CODECS)
def test_scores_in_input_space_are_those_of_the_stock_evaluation(kind):
    """The stock way: decode, go back to the image, compare with the annotation there."""
    records = [person(seed) for seed in range(8)]
    coder = adapter_of(kind).codec
    generator = np.random.default_rng(0)
    samples, maps, image = [], [], []
    for record in records:
        sample = packed(copy.deepcopy(record), kind)['data_samples']
        joints = sample.gt_instances.transformed_keypoints
        drawn = joints + 3 * generator.normal(size=joints.shape)
        drawn = drawn.clip(12, np.array(INPUT_SIZE) - 13).astype(np.float32)
        maps.append(coder.encode(drawn)['heatmaps'])
        meta = sample.metainfo
        back = coder.decode(maps[-1])[0] / meta['input_size'] * meta['input_scale']
        image.append(back + meta['input_center'] - 0.5 * meta['input_scale'])
        samples.append(sample)
    member = adapter_of(kind).student_prediction(torch.from_numpy(np.stack(maps)))
    ours = oks_ranker(samples)([member], adapter_of(kind).targets(samples, CPU)).sample[0]
    expected = oks(
        torch.from_numpy(np.concatenate(image)).float(),
        torch.from_numpy(np.concatenate([record['keypoints'] for record in records])),
        torch.cat([s.gt_instance_labels.keypoint_weights for s in samples]),
        torch.tensor([record['raw_ann_info']['area'] for record in records]),
        dataset_sigmas('coco'),
    )
    assert 0.1 < expected.mean() < 0.95
    # UDP stretches the person by W / (W - 1), which the area does not follow.
    tolerance = dict(msra=1e-4, dark=3e-3, udp=1.5e-2)[kind]
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize('kind', ['classes', 'keypoints'])
def test_values_that_are_not_finite_score_zero_and_no_score_has_a_gradient(kind):
    if kind == 'classes':
        _, samples = class_batch(6)
        adapter, ranker = build_adapter(build(classifier())), TrueClassRanker()
        output = torch.randn(6, CLASSES, requires_grad=True)
        student = adapter.prediction(*adapter.read(output))
    else:
        _, samples = pose_batch(6, unlabelled=0)
        adapter, ranker = adapter_of('msra'), oks_ranker(samples)
        output = labels_of('msra', samples).requires_grad_()
        student = adapter.student_prediction(output)
    sick = output.detach().clone()
    sick[1].view(-1)[0], sick[4].view(-1)[2] = torch.nan, torch.inf
    mentor = adapter.output_adapter(adapter, None)(sick)
    scores = ranker([student, mentor], adapter.targets(samples, CPU))
    assert scores.sample.shape == (2, 6) and (scores.sample[0] > 0).all()
    assert (scores.sample[1] > 0).tolist() == [True, False, True, True, False, True]
    assert (scores.item[1, [1, 4]] == 0).all() and (scores.batch > 0).all()
    assert student.logits[0].requires_grad
    assert not any(value.requires_grad for value in vars(scores).values())


def test_a_mentor_is_scored_on_the_labelled_joints_that_it_knows():
    """AI Challenger's joints are COCO's without the face."""
    student = adapter_of('simcc')
    mentor = build(estimator(16, out_channels=14)).eval()
    theirs = mentor_adapter(mentor, student, 'model.mentors[0]', Config(), metainfo='aic')
    inputs, samples = pose_batch(2, codec_name='simcc', unlabelled=0)
    convert = student.output_adapter(theirs)
    convert.prepare('coco')
    with torch.no_grad():
        prediction = convert(mentor(inputs, None, mode='tensor'))
    targets = student.targets(samples, CPU)
    scores = oks_ranker(samples)([prediction], targets)
    assert scores.item[..., :5].eq(0).all()
    labelled = (targets.weights > 0) & (torch.arange(JOINTS) >= 5)
    expected = (scores.item[0] * labelled).sum(-1) / labelled.sum(-1)
    torch.testing.assert_close(scores.sample[0], expected)


@pytest.mark.parametrize(
    'student, ranker, message',
    [
        (classifier(), 'OKSRanker', r'ranks keypoints.*choose a ranker of classes'),
        (estimator(), 'TrueClassRanker', r'ranks classes.*choose a ranker of keypoints'),
    ],
)
def test_a_ranker_of_another_kind_is_refused(student, ranker, message):
    with pytest.raises(ClassroomError, match=rf'^model\.ranker is a {ranker}, which {message}'):
        build_ranker(dict(type=ranker), build_adapter(build(student)))
