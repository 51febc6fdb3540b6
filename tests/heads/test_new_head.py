"""A head that was added as one file: MSPN's and RSN's, whose heatmaps are 255 high."""

import numpy as np
import pytest
import torch
from mmpose.codecs import MegviiHeatmap
from toys import INPUT_SIZE, JOINTS, build, estimator, pose_batch

from mmkd_classroom.errors import ClassroomError
from mmkd_classroom.functional import at_least_float32
from mmkd_classroom.heads import HeatmapAdapter, MegviiAdapter, build_adapter, mentor_adapter
from mmkd_classroom.registry import MODELS

SIZE, CELLS = (192, 256), (48, 64)


def megvii(kernel_size=11, size=SIZE):
    """A stock estimator with one heatmap a joint, coded as MSPN's."""
    model = estimator(input_size=size)
    cells = tuple(pixels // 4 for pixels in size)
    model['head']['decoder'] = dict(
        type='MegviiHeatmap', input_size=size, heatmap_size=cells, kernel_size=kernel_size
    )
    return model


def small():
    return megvii(size=INPUT_SIZE)


def encoded(codec, joints, noise=0.0):
    """The codec's maps ``(N, K, H, W)`` of joints ``(N, K, 2)``."""
    generator = np.random.default_rng(1)
    maps = [codec.encode(person[None], np.ones((1, len(person))))['heatmaps'] for person in joints]
    return np.stack(maps) + noise * generator.random((len(maps), *maps[0].shape))


def random_joints(samples=8, edge=12):
    generator = np.random.default_rng(0)
    high = (SIZE[0] - edge, SIZE[1] - edge)
    return generator.uniform((edge, edge), high, (samples, JOINTS, 2)).astype(np.float32)


@pytest.mark.parametrize('kernel_size', [7, 9, 11, 15])
@pytest.mark.parametrize('edge', [0, 12])
def test_it_decodes_as_the_codec(kernel_size, edge):
    codec = MegviiHeatmap(SIZE, CELLS, kernel_size)
    adapter = build_adapter(build(megvii(kernel_size)))
    assert type(adapter) is MegviiAdapter
    maps = encoded(codec, random_joints(edge=edge), noise=3.0).astype(np.float32)
    joints, scores = adapter.decode((torch.from_numpy(maps),))
    stock = [codec.decode(person) for person in maps]
    differ = np.abs(joints.numpy() - np.concatenate([s[0] for s in stock])) > 1e-3
    assert differ.mean() < 0.005  # where two neighbours are equal but for rounding
    np.testing.assert_allclose(scores, np.concatenate([s[1] for s in stock]), atol=1e-5)


def centroid(adapter, maps):
    """Mean place of each map's bump, ``(N, K, 2)``, in pixels."""
    maps = maps.double() * (maps > 0.05 * maps.amax(dim=(-2, -1), keepdim=True))
    places = []
    for axis, other in ((0, -2), (1, -1)):
        pixels = torch.arange(adapter.cells[axis]) * adapter.spacing[axis] + adapter.origin[axis]
        weights = maps.sum(dim=other)
        places.append((weights * pixels).sum(-1) / weights.sum(-1))
    return torch.stack(places, dim=-1)


@pytest.mark.parametrize('student_is_megvii', [True, False])
def test_joints_stay_where_they_are_in_both_directions(student_is_megvii):
    models = [build(megvii()), build(estimator(input_size=SIZE))]
    student, mentor = models if student_is_megvii else models[::-1]
    ours = build_adapter(student)
    cfg = dict(from_file='configs/_base_/datasets/coco.py')
    theirs = mentor_adapter(mentor, ours, 'model.mentors[0]', None, metainfo=cfg)
    joints = random_joints(edge=24)
    if student_is_megvii:
        maps = [theirs.codec.encode(p[None], np.ones((1, JOINTS)))['heatmaps'] for p in joints]
        maps = np.stack(maps)
    else:
        maps = encoded(theirs.codec, joints)
    output = torch.from_numpy(maps).float()
    prediction = ours.output_adapter(theirs)([output] if student_is_megvii else [[output]])
    assert (prediction.joints - torch.from_numpy(joints)).abs().mean() < 1.5  # of cells of 4 pixels
    # Where the whole bump lies, to a tenth of a pixel.
    moved = centroid(ours, prediction.values[0]) - centroid(theirs, output)
    assert moved.abs().max() < 0.1
    peaks = at_least_float32(prediction.values[0]).amax(dim=(-2, -1))
    assert (peaks / ours.unit - 1).abs().max() < 0.15
    assert prediction.logits[0].amax() == pytest.approx(50, rel=0.15)


def test_it_trains_as_student_and_as_mentor():
    inputs, samples = pose_batch(2)
    for student, mentor in ((estimator, small), (small, estimator), (small, small)):
        model = MODELS.build(
            dict(
                type='mmkd_classroom.MultiMentorDistiller',
                student=build(student()),
                mentors=[dict(config=dict(model=mentor()), checkpoint=None)],
                strategy=dict(type='AVER'),
            )
        )
        model.prepare(samples)
        losses = model(inputs, samples, mode='loss')
        assert losses['loss_mentors'].isfinite() and losses['loss_mentors'] > 0


def test_a_head_without_an_adapter_is_told_what_there_is():
    model = build(estimator())
    model.head.decoder = object()
    with pytest.raises(
        ClassroomError, match=r'codec object(?=.*MSRAHeatmap)(?=.*Megvii).*SimCCLabel'
    ):
        build_adapter(model)


def test_other_heatmaps_keep_their_adapter():
    assert type(build_adapter(build(estimator()))) is HeatmapAdapter
